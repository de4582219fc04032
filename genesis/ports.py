"""Ports for nodes on one machine. One law: below the range that outgoing connections take theirs from.

A node that was killed comes back to its port; it must not have gone to somebody's outgoing connection meanwhile.
"""

from __future__ import annotations

import secrets
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
FIRST: Final = 20_000
LAST: Final = 32_000
_TRIES_MAX: Final = 4_000


class NoFreePortError(OSError):
    """Nothing listens on so few ports that enough are left."""


def free_ports(count: int) -> tuple[int, ...]:
    """Return `count` different ports on loopback that nobody listens on now.

    Raises:
        NoFreePortError: too few are free.
    """
    found: list[int] = []
    for _ in range(_TRIES_MAX):
        if len(found) == count:
            return tuple(found)
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if port not in found and is_free(port):
            found.append(port)
    raise NoFreePortError(f"needed {count} free ports between {FIRST} and {LAST}, found {len(found)}: name --base-port")


def is_free(port: int) -> bool:
    """Tell whether nobody listens on this port of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
