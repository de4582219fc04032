"""Dials one peer whenever there is no link to it. One law: quick at first, bounded for ever, never in step."""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog

from ledger.validators import Validator
from node.tls import TransportIdentity
from node.transport.client import PeerClient
from node.transport.errors import HandshakeRefusedError
from node.transport.handshake import shake_hands
from node.transport.link import Link

if TYPE_CHECKING:
    from node.transport.mesh import Transport

_log: Final = structlog.get_logger("node.transport")

STEADY_S: Final = 1.0
"""A link that lasted this long proves that dialing works: the back-off starts anew."""

BACKOFF_FACTOR: Final = 1.6


class Dialer:
    """One peer's task."""

    def __init__(self, mesh: Transport, identity: TransportIdentity, member: Validator) -> None:
        self.client: Final = PeerClient(identity, member, mesh.limits)
        self._mesh: Final = mesh
        self._member = member
        self._attempts = 0
        self._awake: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to dial."""
        self._task = asyncio.create_task(self._run(), name=f"dial {self._member.name}")

    async def stop(self) -> None:
        """End the task and the link that it carries."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()

    def aim(self, member: Validator) -> None:
        """Take the validator's record, whose address may have changed."""
        if member != self._member:
            self._member = self.client.validator = member
            self._attempts = 0
        self.wake()

    def wake(self) -> None:
        """Look again now whether to dial: the link went down, or somebody says that the peer is back."""
        self._awake.set()

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            away_s = self._mesh.penalties.left_s(self._member.transport_key, asyncio.get_running_loop().time())
            if self._mesh.has_link(self._member.transport_key) or not self._mesh.address_of(self._member):
                await self._awake.wait()
            elif away_s > 0:
                await asyncio.sleep(away_s)
            else:
                await self._attempt()
                await self._back_off()

    async def _attempt(self) -> None:
        loop, mesh, key = asyncio.get_running_loop(), self._mesh, self._member.transport_key
        self._attempts += 1
        try:
            socket = await self.client.open_frames(mesh.address_of(self._member))
            try:
                theirs = await shake_hands(socket, mesh.hello(), timeout_s=mesh.limits.connect_ms_max / 1000)
            except BaseException:
                await socket.close()  # also when this task is cancelled: nobody else knows of the socket yet
                raise
        except aiohttp.ClientConnectorCertificateError as error:
            mesh.note_refusal(key, f"another key answers at its address: {error}")
        except (HandshakeRefusedError, aiohttp.WSServerHandshakeError, ssl.SSLError) as error:
            mesh.note_refusal(key, str(error))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _log.debug("peer.dial_failed", peer=self._member.name, attempt=self._attempts, reason=repr(error))
        else:
            link = Link(socket, key, theirs, dialed=True, limits=mesh.limits)
            await mesh.carry(link)
            if loop.time() - link.began_s > STEADY_S:
                self._attempts = 0

    async def _back_off(self) -> None:
        """Wait, or less when somebody says that the peer is back."""
        limits = self._mesh.limits
        longest_ms = min(limits.backoff_ms_min * BACKOFF_FACTOR**self._attempts, limits.backoff_ms_max)
        self._awake.clear()
        try:
            async with asyncio.timeout(longest_ms / 1000 * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter
                await self._awake.wait()
        except TimeoutError:
            return
