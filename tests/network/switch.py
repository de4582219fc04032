"""A switch between network namespaces, in user space. One law: what a link does is settled for each direction apart.

    python -m tests.network.switch SEED NUMBER:DESCRIPTOR ...

Each descriptor is a TUN device of one namespace, whose address ends in the number. Standard input holds orders, one
JSON object a line; each is answered by a line when it is in force. No module of the kernel is needed for delay and loss
(`tc netem` is missing from some).
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Final

import msgspec

PACKET_BYTES_MAX: Final = 65_535
IPV4: Final = 4
TCP: Final = 6
SYN: Final = 0x02
ACK: Final = 0x10


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to packets in one direction."""

    is_cut: bool = False
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Added to the delay, between nothing and this."""

    loss: float = 0.0
    """How much of it gets lost, between 0 and 1."""


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole state of the network."""

    links: dict[str, Link]
    """By `source>destination`; links that are not named are perfect."""

    closed: tuple[int, ...] = ()
    """Hosts that nobody can open a TCP connection to, as behind a firewall."""


class Switch:
    """Carries packets between TUN devices."""

    def __init__(self, devices: dict[int, int], seed: int) -> None:
        """Begin with a perfect network.

        Args:
            devices: descriptor by host number.
            seed: of losses and jitter.
        """
        self._devices: Final = devices
        self._random: Final = random.Random(seed)
        self._orders = Orders({})
        self._perfect: Final = Link()

    async def run(self) -> None:
        """Carry packets until standard input ends."""
        loop = asyncio.get_running_loop()
        for number, descriptor in self._devices.items():
            os.set_blocking(descriptor, False)
            loop.add_reader(descriptor, self._take, number, descriptor)
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            self._orders = msgspec.json.decode(line, type=Orders)
            sys.stdout.write("in force\n")
            sys.stdout.flush()

    def _take(self, source: int, descriptor: int) -> None:
        try:
            packet = os.read(descriptor, PACKET_BYTES_MAX)
        except BlockingIOError:
            return
        if packet[0] >> 4 != IPV4:
            return
        destination = packet[19]
        link = self._orders.links.get(f"{source}>{destination}", self._perfect)
        if destination not in self._devices or link.is_cut or self._random.random() < link.loss:
            return
        if destination in self._orders.closed and _opens_a_connection(packet):
            return
        delay_ms = link.delay_ms + link.jitter_ms * self._random.random()
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, self._give, destination, packet)
        else:
            self._give(destination, packet)

    def _give(self, destination: int, packet: bytes) -> None:
        try:
            os.write(self._devices[destination], packet)
        except BlockingIOError:
            return  # its queue is full: a switch loses packets then


def _opens_a_connection(packet: bytes) -> bool:
    if packet[9] != TCP:
        return False
    flags = packet[4 * (packet[0] & 0x0F) + 13]
    return bool(flags & SYN) and not flags & ACK


if __name__ == "__main__":
    _, seed, *devices = sys.argv
    pairs = [device.split(":") for device in devices]
    asyncio.run(Switch({int(number): int(descriptor) for number, descriptor in pairs}, int(seed)).run())
