"""Signed requests: how a participant's key opens the writing part of the HTTP API. One law: the body is covered.

A request carries four headers: `Foedus-Key` (hex), `Foedus-Time` (milliseconds), `Foedus-Body` (hex SHA-256 of the
body) and `Foedus-Signature` (hex, domain `http-request`, over the canonical encoding of (method, path with query, time,
body digest)). The signature is checked before the body is read, the body's digest while it is.

A part of a payload may be named by the hashes of its chunks instead, which client and node need anyway: `Foedus-Body`
is `chunks-` and the hex digest of domain `http-body-chunks` over them, joined.

A request is good for `SKEW_MS_MAX` on either side of the server's clock. Within that time it may be replayed: whatever
can be asked this way (submit a transaction, upload bytes under their own digest) does nothing when it is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger.codec import encode
from ledger.digest import Digest, digest
from ledger.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, PublicKey, SigningKey, verify

KEY_HEADER: Final = "Foedus-Key"
TIME_HEADER: Final = "Foedus-Time"
BODY_HEADER: Final = "Foedus-Body"
SIGNATURE_HEADER: Final = "Foedus-Signature"
SKEW_MS_MAX: Final = 60_000
DOMAIN: Final = "http-request"
_DIGEST_BYTES: Final = 32
_OF_CHUNKS: Final = "chunks-"


class UnsignedRequestError(ValueError):
    """A request is not signed as it must be; the message says what was needed and what came."""


@dataclass(frozen=True, slots=True)
class BodyDigest:
    """What a signed request says of its body."""

    value: bytes
    of_chunks: bool = False
    """Of the hashes of a payload's chunks, not of the bytes; no value can be both."""

    @property
    def text(self) -> str:
        """Return how the header says it."""
        return (_OF_CHUNKS if self.of_chunks else "") + self.value.hex()


def digest_of(body: bytes | memoryview) -> BodyDigest:
    """Return the digest of any body."""
    return BodyDigest(sha256(body).digest())


def digest_of_chunks(hashes: Iterable[bytes]) -> BodyDigest:
    """Return the digest of a body of whole chunks of a payload, from their hashes."""
    return BodyDigest(digest("http-body-chunks", b"".join(hashes)), of_chunks=True)


def signed_headers(
    key: SigningKey, chain_id: Digest, method: str, path: str, time_ms: int, body: bytes | BodyDigest
) -> dict[str, str]:
    """Return the headers that sign a request.

    Args:
        key: the participant's.
        chain_id: chain of the node that is asked.
        method: upper case.
        path: path and query, as they stand in the request line.
        time_ms: the client's clock.
        body: the whole body, or its digest.
    """
    said = body if isinstance(body, BodyDigest) else digest_of(body)
    signature = key.sign(DOMAIN, chain_id, _content(method, path, time_ms, said.value))
    return {
        KEY_HEADER: key.public_key.hex(),
        TIME_HEADER: str(time_ms),
        BODY_HEADER: said.text,
        SIGNATURE_HEADER: signature.hex(),
    }


def verify_headers(
    headers: Mapping[str, str], chain_id: Digest, method: str, path: str, now_ms: int
) -> tuple[PublicKey, BodyDigest]:
    """Return who signed a request, and the digest that its body must have.

    Raises:
        UnsignedRequestError: a header is missing or malformed, the time is off, or the signature is wrong.
    """
    key = _hex(headers, KEY_HEADER, PUBLIC_KEY_BYTES)
    body = headers.get(BODY_HEADER, "")
    of_chunks = body.startswith(_OF_CHUNKS)
    body_digest = _hex({BODY_HEADER: body.removeprefix(_OF_CHUNKS)}, BODY_HEADER, _DIGEST_BYTES)
    signature = _hex(headers, SIGNATURE_HEADER, SIGNATURE_BYTES)
    time_ms = _time(headers)
    if abs(time_ms - now_ms) > SKEW_MS_MAX:
        message = f"{TIME_HEADER} must be within {SKEW_MS_MAX} ms of the node's clock {now_ms}, got {time_ms}"
        raise UnsignedRequestError(message)
    if not verify(key, DOMAIN, chain_id, _content(method, path, time_ms, body_digest), signature):
        message = (
            f"{SIGNATURE_HEADER} is not {key.hex()}'s signature of this {method} {path} for chain {chain_id.hex()}"
        )
        raise UnsignedRequestError(message)
    return PublicKey(key), BodyDigest(body_digest, of_chunks)


def _content(method: str, path: str, time_ms: int, body_digest: bytes) -> bytes:
    return encode((method, path, time_ms, body_digest))


def _hex(headers: Mapping[str, str], name: str, length: int) -> bytes:
    text = headers.get(name, "")
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != length or text != value.hex():
        raise UnsignedRequestError(f"{name}: {2 * length} lower-case hex digits are needed, got {text[:160]!r}")
    return value


def _time(headers: Mapping[str, str]) -> int:
    text = headers.get(TIME_HEADER, "")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise UnsignedRequestError(f"{TIME_HEADER}: milliseconds since 1970 are needed, got {text[:32]!r}")
    return int(text)
