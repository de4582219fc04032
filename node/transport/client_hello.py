"""What a TLS client offers before anything is agreed (RFC 8446, 4.1.2). One law: a hint, never a proof.

Only the names of protocols (ALPN, RFC 7301) are looked for, to choose who shakes hands; whatever does not parse, or has
not come whole, offers nothing.
"""

from __future__ import annotations

from typing import Final

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_ALPN: Final = 16
_BEFORE_SESSION: Final = 5 + 4 + 2 + 32
"""Record and message headers, version, random."""


def offered_protocols(hello: bytes) -> list[bytes]:
    """Return the protocol names in the first bytes of a connection, none when they are no whole client hello."""
    if len(hello) < _BEFORE_SESSION or (hello[0], hello[5]) != (_HANDSHAKE, _CLIENT_HELLO):
        return []
    if len(hello) < 5 + int.from_bytes(hello[3:5], "big"):
        return []
    rest = hello[_BEFORE_SESSION:]
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        _, rest = _cut(rest, width)
    extensions, _ = _cut(rest, 2)
    while len(extensions) >= 4:
        kind = int.from_bytes(extensions[:2], "big")
        content, extensions = _cut(extensions[2:], 2)
        if kind == _ALPN:
            return _names(content)
    return []


def _names(content: bytes) -> list[bytes]:
    names, listed = [], _cut(content, 2)[0]
    while listed:
        name, listed = _cut(listed, 1)
        names.append(name)
    return names


def _cut(content: bytes, width: int) -> tuple[bytes, bytes]:
    """Return what a length of `width` bytes covers, and what follows."""
    end = width + int.from_bytes(content[:width], "big")
    return content[width:end], content[end:]
