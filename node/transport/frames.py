"""Frames on the wire between two nodes. One law: a header has a fixed layout, whoever reads it.

::

    direct     0x0c                                  data      for the receiver alone
    broadcast  0x1c  sequence (8)                    data      for every validator
    relayed    0x2c  sequence (8)  from (32) to (32) data      travels through others; to = 0 means every validator
    control    0x30                                  record    between two neighbours, `Ping` or `Pong`

`c` is the `Channel`; `from` and `to` are transport keys; the sequence number is the origin's, so that a frame that it
sends twice is not taken for the same frame seen twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Annotated, Final

from msgspec import Meta

from ledger.codec import CodecError, Record, decode, encode
from ledger.fields import PublicKeyField, Uint
from ledger.identity import PUBLIC_KEY_BYTES, PublicKey
from ledger.validators import VALIDATORS_MAX
from node.transport.errors import GarbageFrameError
from node.wire import FRAME_BYTES_MAX, Channel

SEQUENCE_BYTES: Final = 8
HEADER_BYTES_MAX: Final = 1 + SEQUENCE_BYTES + 2 * PUBLIC_KEY_BYTES
MESSAGE_BYTES_MAX: Final = FRAME_BYTES_MAX + HEADER_BYTES_MAX
CONTROL_BYTES_MAX: Final = 8_192
EVERYBODY: Final = PublicKey(bytes(PUBLIC_KEY_BYTES))


class Kind(IntEnum):
    """How a frame travels; the upper half of its first byte."""

    DIRECT = 0
    BROADCAST = 1
    RELAYED = 2
    CONTROL = 3


class Ping(Record, tag="ping", frozen=True):
    """Heartbeat; also tells whom the sender is connected with."""

    stamp: Uint
    """The sender's own clock, to be sent back."""

    neighbours: Annotated[tuple[PublicKeyField, ...], Meta(max_length=VALIDATORS_MAX)]


class Pong(Record, tag="pong", frozen=True):
    """Answer to a heartbeat."""

    stamp: Uint
    """From the heartbeat."""

    time_ms: Uint
    """The answerer's time of day: tells whose clock is off."""


Control = Ping | Pong


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was read: what it is about, and the way it goes."""

    kind: Kind
    channel: Channel
    sequence: int
    origin: PublicKey
    """Who sent it first; proven for direct and broadcast frames, hearsay for relayed ones."""

    destination: PublicKey
    """`EVERYBODY`, or one validator."""

    data: bytes

    def account(self, neighbour: PublicKey) -> bytes:
        """Return whose account it is on that came from a neighbour: its own, or its and the origin's together."""
        passed_on = self.kind is Kind.RELAYED and self.origin != neighbour
        return neighbour + self.origin if passed_on else neighbour

    @property
    def identity(self) -> bytes:
        """16 bytes that tell this frame from all others, data included: nobody can pass off another in its place."""
        state = blake2b(digest_size=16)
        state.update(self.sequence.to_bytes(SEQUENCE_BYTES, "big") + bytes([self.channel]))
        state.update(self.origin + self.destination)
        state.update(self.data)
        return state.digest()


def direct(channel: Channel, data: bytes) -> bytes:
    """Return a frame for the receiver alone."""
    return bytes([channel]) + data


def broadcast(channel: Channel, sequence: int, data: bytes) -> bytes:
    """Return a frame for everybody."""
    return bytes([Kind.BROADCAST << 4 | channel]) + sequence.to_bytes(SEQUENCE_BYTES, "big") + data


def relayed(frame: Frame) -> bytes:
    """Return a frame as it goes on to somebody else."""
    head = bytes([Kind.RELAYED << 4 | frame.channel]) + frame.sequence.to_bytes(SEQUENCE_BYTES, "big")
    return b"".join((head, frame.origin, frame.destination, frame.data))


def control(record: Control) -> bytes:
    """Return a control frame."""
    return bytes([Kind.CONTROL << 4]) + encode(record)


def read(message: bytes, sender: PublicKey) -> Frame | Control:
    """Return what a WebSocket message from the neighbour `sender` holds.

    Raises:
        GarbageFrameError: no frame of this protocol.
    """
    if not message:
        raise GarbageFrameError("a frame has at least one byte, got none")
    try:
        kind = Kind(message[0] >> 4)
        if kind is Kind.CONTROL:
            return _read_control(message)
        channel = Channel(message[0] & 15)
    except (ValueError, CodecError) as error:
        raise GarbageFrameError(f"first byte {message[0]:#04x}: {error}") from error
    if kind is Kind.DIRECT:
        return Frame(kind, channel, 0, sender, EVERYBODY, message[1:])
    head = 1 + SEQUENCE_BYTES + (2 * PUBLIC_KEY_BYTES if kind is Kind.RELAYED else 0)
    if len(message) < head:
        raise GarbageFrameError(f"a {kind.name} frame has at least {head} bytes, got {len(message)}")
    sequence = int.from_bytes(message[1:9], "big")
    if kind is Kind.BROADCAST:
        return Frame(kind, channel, sequence, sender, EVERYBODY, message[head:])
    origin, destination = PublicKey(message[9:41]), PublicKey(message[41:73])
    return Frame(kind, channel, sequence, origin, destination, message[head:])


def _read_control(message: bytes) -> Control:
    if message[0] != Kind.CONTROL << 4:
        raise CodecError("a control frame is of no channel")
    return decode(message[1:], Control, bytes_max=CONTROL_BYTES_MAX)  # type: ignore[arg-type]


def require_size(data: bytes) -> None:
    """Check that data fits into a frame.

    Raises:
        ValueError: it does not.
    """
    if len(data) > FRAME_BYTES_MAX:
        message = f"a frame has at most {FRAME_BYTES_MAX} bytes, got {len(data)}"
        raise ValueError(message)
