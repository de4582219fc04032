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
from genesis.signatures import load_signatures, require_signed
from node.config import Config
from node.memory import keep_freed_memory
from node.node import Node
from node.own_keys import are_seated_next, promote, read_own_keys, require_own_keys
from node.tls import TransportIdentity

OWNER_ONLY: Final = 0o077
"""Nobody but the node's own user reads or writes what it creates."""

log = structlog.get_logger(__name__)


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
    read_own_keys(config, passphrase)
    asyncio.run(_serve(config, document, passphrase, observe_first=observe_first))


async def _serve(config: Config, document: GenesisDocument, passphrase: str | None, *, observe_first: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    signalled = asyncio.create_task(stopping.wait())
    while await _run_once(config, document, passphrase, signalled, observe_first=observe_first):
        observe_first = False  # whatever the old keys said, the new ones have said nothing
    signalled.cancel()


async def _run_once(
    config: Config,
    document: GenesisDocument,
    passphrase: str | None,
    signalled: asyncio.Task[bool],
    *,
    observe_first: bool,
) -> bool:
    """Run until the end, or until the node's keys have been rotated; tell whether to go on with the new ones."""
    key, transport_key = read_own_keys(config, passphrase)
    node = Node(config, document, key, TransportIdentity(transport_key.seed), observe_first=observe_first)
    try:
        if are_seated_next(config, node.chain.validators):
            return True
        require_own_keys(config, document, node.chain.validators, key, transport_key)
        await node.start()
        failing, rotated = asyncio.create_task(node.wait()), asyncio.create_task(node.rotated.wait())
        await asyncio.wait({failing, signalled, rotated}, return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            failing.result()
        failing.cancel()
        rotated.cancel()
        return rotated.done() and not signalled.done()
    finally:
        await node.stop()
        promote(config, node.chain.validators)
