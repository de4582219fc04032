"""Two processes with one key. One law: who is at the address that the validator set names is the node; others end.

Only a holder of the node's key can answer at its own address, since TLS pins it there: no peer can make this node stop
by telling tales. Each process draws a nonce and serves it; whoever reads another one there is the second.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from aiohttp import web

from ledger.validators import Validator
from node.tls import TransportIdentity
from node.transport import PeerRefusedError, PeerUnreachableError, TransportLimits
from node.transport.client import PeerClient

NONCE_PATH: Final = "/peer/process"
NONCE_BYTES: Final = 16
CHECK_SECONDS: Final = 5.0
ANSWER_SECONDS_MAX: Final = 3.0


class TwinError(Exception):
    """Another process runs with this node's keys."""

    def __init__(self, *, name: str, address: str) -> None:
        super().__init__(
            f"another process with the keys of {name} answers at {address}, the node's own address: one identity must "
            "never run twice, so this process signs nothing and ends. Stop the other one first; if its data directory "
            "is lost or older, start this one with --observe-first"
        )
        self.name = name
        self.address = address


class TwinWatch:
    """Looks who answers at this node's own address."""

    def __init__(self, identity: TransportIdentity, own: Validator | None, address: str) -> None:
        """Settle what to ask.

        Args:
            identity: this node's TLS key.
            own: this node in the validator set; None when it is no validator, then nobody is asked.
            address: where others reach it; empty when it accepts no connections, then nobody is asked either.
        """
        self._identity: Final = identity
        self._own = own
        self._address = address
        self._nonce: Final = secrets.token_bytes(NONCE_BYTES)

    def watch(self, own: Validator | None, address: str) -> None:
        """Ask there from now on; as in `__init__`."""
        self._own, self._address = own, address

    def routes(self) -> list[web.RouteDef]:
        """Return what this process serves to its peers' port."""
        return [web.get(NONCE_PATH, self._tell)]

    async def look(self) -> None:
        """Ask once.

        Raises:
            TwinError: another process answers.
        """
        if self._own is None or not self._address:
            return
        client = PeerClient(self._identity, self._own, TransportLimits())
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                found = await client.request("GET", self._address, NONCE_PATH, bytes_max=NONCE_BYTES)
        except (PeerUnreachableError, PeerRefusedError, TimeoutError):
            return  # nobody there, or nobody with our key
        finally:
            await client.close()
        if found != self._nonce:
            raise TwinError(name=self._own.name, address=self._address)

    async def run(self) -> None:
        """Ask again and again.

        Raises:
            TwinError: another process answers.
        """
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.look()

    async def _tell(self, _: web.Request) -> web.Response:
        return web.Response(body=self._nonce)
