"""The settings that a new node begins with. One law: what is written here, `node.config` reads.

Everything else has a default (docs/configuration.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node must be told; paths count from the settings' own directory."""

    name: str
    genesis: str
    validator_key: str
    transport_key: str
    peer: tuple[str, int]
    """Where to listen for other nodes."""

    api: tuple[str, int]
    """Where to listen for trainers and queries."""

    tls: tuple[str, str] | None = None
    """Certificate and key of the API; None for HTTP, which only loopback allows."""

    open_reading: bool = False
    """Whether whoever reaches the API may read, also from other hosts; those need a token otherwise."""

    signatures: str | None = None
    """The members' signatures under the genesis document; None to start without them."""

    data_dir: str = "data"

    def text(self) -> str:
        """Return `node.toml`."""
        signed = [] if self.signatures is None else [f"signatures = {_quoted(self.signatures)}"]
        tls = []
        if self.tls is not None:
            tls = [f"tls_certificate = {_quoted(self.tls[0])}", f"tls_key = {_quoted(self.tls[1])}"]
        reading = ['read = "open"'] if self.open_reading else []
        sections = {
            "node": [f"name = {_quoted(self.name)}", f"data_dir = {_quoted(self.data_dir)}"],
            "genesis": [f"path = {_quoted(self.genesis)}", *signed],
            "keys": [f"validator = {_quoted(self.validator_key)}", f"transport = {_quoted(self.transport_key)}"],
            "peer": [f"host = {_quoted(self.peer[0])}", f"port = {self.peer[1]}"],
            "api": [f"host = {_quoted(self.api[0])}", f"port = {self.api[1]}", *tls, *reading],
        }
        head = [
            f"# Settings of node {self.name}; docs/configuration.md explains them all.",
            "# A variable such as FOEDUS_API__PORT overrides the file. Paths count from this directory.",
        ]
        blocks = ["\n".join([f"[{name}]", *lines]) for name, lines in sections.items()]
        return "\n\n".join(["\n".join(head), *blocks]) + "\n"


def _quoted(text: str) -> str:
    """Return a TOML basic string, of whose escapes those of JSON are a part."""
    return json.dumps(text, ensure_ascii=False)
