"""Network namespaces, each a host with one address. One law: nothing of them is left when this process ends.

They have no name on the file system: a namespace lives as long as a descriptor or a process that is in it. Addresses
are those of 198.18.1.0/24, which RFC 2544 sets aside for tests of networks; no interface leads out.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x40000000
TUN: Final = Path("/dev/net/tun")
TUNSETIFF: Final = 0x400454CA
IFF_TUN_WITHOUT_HEADER: Final = 0x0001 | 0x1000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU = 0x8916, 0x891C, 0x8922
IFF_UP: Final = 1
MTU: Final = 9_000
NETWORK: Final = "198.18.1"
_libc: Final = ctypes.CDLL(None, use_errno=True)


class NamespaceError(OSError):
    """No namespace can be made here; the message says why."""


class Namespace:
    """One host."""

    def __init__(self, number: int) -> None:
        """Make it, with loopback and a TUN device.

        Raises:
            NamespaceError: the kernel or the lack of rights does not allow it.
        """
        self.number: Final = number
        self.address: Final = f"{NETWORK}.{number}"
        self._descriptor, self.device = _in_thread(self._make)

    def enter(self) -> None:
        """Move the calling thread, and all threads that it starts from now on, into it."""
        _require(_libc.setns(self._descriptor, CLONE_NEWNET), "setns")

    def command(self, command: list[str]) -> list[str]:
        """Return a command that runs `command` in it, as the same process."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._descriptor}", "--", *command]

    def close(self) -> None:
        """Let go of it."""
        os.close(self.device)
        os.close(self._descriptor)

    def _make(self) -> tuple[int, int]:
        _require(_libc.unshare(CLONE_NEWNET), "unshare")
        device = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"net0", IFF_TUN_WITHOUT_HEADER))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                _up(control, b"lo")
                _set_address(control, SIOCSIFADDR, self.address)
                _set_address(control, SIOCSIFNETMASK, "255.255.255.0")
                fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16si20x", b"net0", MTU))
                _up(control, b"net0")
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), device
        except BaseException:
            os.close(device)
            raise


def _in_thread(make: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """Run in a thread of its own, since a thread that has unshared does not come back."""
    made: list[tuple[int, int]] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise NamespaceError(f"no network namespace can be made here: {failed[0]}") from failed[0]
    return made[0]


def _set_address(control: socket.socket, request: int, address: str) -> None:
    fcntl.ioctl(control, request, struct.pack("16sHH4s16x", b"net0", socket.AF_INET, 0, socket.inet_aton(address)))


def _up(control: socket.socket, name: bytes) -> None:
    (flags,) = struct.unpack("16xH22x", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH22x", name, 0)))
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | IFF_UP))


def _require(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
