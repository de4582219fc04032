"""A node as a process: settings to running node to clean end. One law: the exit code says whether somebody must look.

Exit 0 after SIGTERM or SIGINT; any error of a part is raised to the command line, which prints it and exits with 1.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

import structlog

from genesis.document import GenesisDocument, load_document
from genesis.keys import read_key
from genesis.signatures import load_signatures, require_signed
from ledger.identity import SigningKey
from node.config import Config
from node.memory import keep_freed_memory
from node.node import Node
from node.tls import TransportIdentity

OWNER_ONLY: Final = 0o077
"""Nobody but the node's own user reads or writes what it creates."""

log = structlog.get_logger(__name__)


class WrongKeyError(ValueError):
    """A key file does not hold the key that the genesis document names for this node."""


def run_node(config: Config, *, passphrase: str | None = None, observe_first: bool = False) -> None:
    """Run a node until SIGTERM or SIGINT.

    Args:
        config: the node's settings, with absolute paths.
        passphrase: opens the key files; environment `FOEDUS_PASSPHRASE` when None.
        observe_first: the data directory was lost or restored: sign nothing before a block of after this start.

    Raises:
        InvalidGenesisError: the genesis document cannot begin a chain.
        UnsignedGenesisError, InvalidSignaturesError: not every member has signed it.
        WrongKeyError: the keys are not those of the validator that the settings name.
        StoreError: the data directory cannot be used, or no longer takes what must be kept.
        SafetyRecordError: what it has signed cannot all be true.
        CannotObserveError: the others are too few for a quorum.
        CannotListenError: a port is taken.
        TwinError: another process runs with this node's keys.
        DivergedError: this node executes blocks differently from a quorum.
    """
    os.umask(OWNER_ONLY)
    keep_freed_memory()
    document = load_document(config.genesis.path)
    if config.genesis.signatures is not None:
        require_signed(document, load_signatures(config.genesis.signatures))
    key = read_key(config.keys.validator, passphrase=passphrase)
    transport_key = read_key(config.keys.transport, passphrase=passphrase)
    require_own_keys(config, document, key, transport_key)
    identity = TransportIdentity(transport_key.seed)
    asyncio.run(_serve(config, document, key, identity, observe_first=observe_first))


def require_own_keys(config: Config, document: GenesisDocument, key: SigningKey, transport_key: SigningKey) -> None:
    """Check the key files against the genesis document.

    Raises:
        WrongKeyError: the document knows no validator of this name, or others of its keys.
    """
    named = [member for member in document.validators.members if member.name == config.node.name]
    if not named:
        known = ", ".join(member.name for member in document.validators.members)
        message = f"the genesis document has no validator {config.node.name}: known are {known}; set [node] name"
        raise WrongKeyError(message)
    for path, held, needed in (
        (config.keys.validator, key.public_key, named[0].public_key),
        (config.keys.transport, transport_key.public_key, named[0].transport_key),
    ):
        if held != needed:
            message = f"{path} holds key {held.hex()}, the genesis document names {needed.hex()} for {named[0].name}"
            raise WrongKeyError(message)


async def _serve(
    config: Config, document: GenesisDocument, key: SigningKey, identity: TransportIdentity, *, observe_first: bool
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    node = Node(config, document, key, identity, observe_first=observe_first)
    try:
        await node.start()
        failing, signalled = asyncio.create_task(node.wait()), asyncio.create_task(stopping.wait())
        await asyncio.wait({failing, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            failing.result()
        failing.cancel()
        signalled.cancel()
    finally:
        await node.stop()
