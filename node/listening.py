"""Ports that this node listens at. One law: who cannot have one is told which setting asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EADDRINUSE


class CannotListenError(Exception):
    """A port is taken, or the address is not this machine's."""

    def __init__(self, *, setting: str, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"{setting}: cannot listen at {host}:{port} ({reason}): stop what listens there, or set {setting} to a "
            "free port (peers find a node where the validator set says, unless their [peers] says otherwise)"
        )
        self.setting = setting
        self.host = host
        self.port = port


@contextmanager
def listening(setting: str, host: str, port: int) -> Iterator[None]:
    """Name the setting when what runs inside cannot listen.

    Raises:
        CannotListenError: instead of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = "address already in use" if error.errno == EADDRINUSE else error.strerror or str(error)
        raise CannotListenError(setting=setting, host=host, port=port, reason=reason) from error
