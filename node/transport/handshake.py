"""What two nodes tell each other on a new socket. One law: both ends learn the same reason when they do not fit.

TLS has proven the keys already, so nothing here is signed.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from aiohttp import ClientWebSocketResponse, WSMsgType, web
from msgspec import Meta

from ledger.certificate import PROTOCOL_VERSION
from ledger.codec import CodecError, Record, decode, encode
from ledger.digest import Digest
from ledger.fields import DigestField, PublicKeyField, Uint
from ledger.validators import VALIDATORS_MAX
from node.transport.errors import HandshakeRefusedError

HELLO_BYTES_MAX: Final = 8_192
REFUSED_CODE: Final = 4_001
"""WebSocket close code: the handshake failed; its reason is text."""

WebSocket = web.WebSocketResponse | ClientWebSocketResponse


class Hello(Record, tag="foedus", frozen=True):
    """First message on each socket, from both ends."""

    protocol_version: Uint
    chain_id: DigestField
    boot_epoch: Uint
    """Counts the starts of a node."""

    neighbours: Annotated[tuple[PublicKeyField, ...], Meta(max_length=VALIDATORS_MAX)]
    """Transport keys of those that the sender is connected with."""


async def shake_hands(socket: WebSocket, mine: Hello, *, timeout_s: float) -> Hello:
    """Send our hello, return the peer's.

    Raises:
        HandshakeRefusedError: no hello in time, or the peer speaks another protocol version or for another chain.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await socket.send_bytes(encode(mine))
            message = await socket.receive()
    except TimeoutError as error:
        raise HandshakeRefusedError(f"no hello came within {timeout_s:g} s") from error
    except ConnectionError as error:
        raise HandshakeRefusedError(f"the connection broke in the handshake: {error}") from error
    if message.type is not WSMsgType.BINARY:
        reason = f": {message.extra}" if message.type is WSMsgType.CLOSE and message.extra else ""
        raise HandshakeRefusedError(f"expected a hello, got {message.type.name} {message.data!r:.100}{reason}")
    try:
        theirs = decode(message.data, Hello, bytes_max=HELLO_BYTES_MAX)
        require_fit(mine, theirs)
    except (CodecError, HandshakeRefusedError) as error:
        await socket.close(code=REFUSED_CODE, message=str(error).encode()[:120])
        raise HandshakeRefusedError(str(error)) from error
    return theirs


def require_fit(mine: Hello, theirs: Hello) -> None:
    """Check that two nodes can work together.

    Raises:
        HandshakeRefusedError: other protocol version, or other chain.
    """
    if theirs.protocol_version != mine.protocol_version:
        message = f"protocol version {mine.protocol_version} here, {theirs.protocol_version} there: run one release"
        raise HandshakeRefusedError(message)
    if theirs.chain_id != mine.chain_id:
        here, there = mine.chain_id.hex()[:16], theirs.chain_id.hex()[:16]
        raise HandshakeRefusedError(f"chain {here} here, {there} there: compare the genesis files")


def hello(chain_id: Digest, boot_epoch: int, neighbours: tuple[PublicKeyField, ...]) -> Hello:
    """Return this node's hello."""
    return Hello(PROTOCOL_VERSION, chain_id, boot_epoch, neighbours)
