"""Opening a session: key, chain, enrolment. One law: a session that opens can do what it was opened for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from fl.records import Participant
from fl.state import participant_key
from foedus.client.errors import NotEnrolledError, UnverifiedError
from foedus.client.facts import read_fact
from foedus.client.following import Trust
from foedus.client.progress import Report, reporting
from foedus.client.session import Session
from foedus.client.wire import PATIENCE_SECONDS_DEFAULT, Wire
from genesis.document import GenesisDocument, initial_state, load_document
from genesis.keys import read_key
from genesis.local import GENESIS_NAME
from ledger.digest import Digest
from ledger.identity import SigningKey
from node.view import NodeStatus

Genesis: TypeAlias = GenesisDocument | str | Path | Literal[False] | None
"""The consortium's document, its file, None to look for it, False to do without."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A node that answers, the chain it follows, and who asks."""

    wire: Wire
    trust: Trust
    key: SigningKey | None
    participant: Participant | None
    """Who the key belongs to; None without one."""


@asynccontextmanager
async def connect(  # noqa: PLR0913 - what a session may need to be told
    url: str | Sequence[str],
    *,
    key: SigningKey | str | Path | None = None,
    task: str | None = None,
    genesis: Genesis = None,
    timeout: float = PATIENCE_SECONDS_DEFAULT,
    passphrase: str | None = None,
    tls_ca: str | None = None,
    token: str | None = None,
    progress: bool | Report = False,
) -> AsyncIterator[Session]:
    """Open a session with a node.

    Args:
        url: of the node's API, such as `http://127.0.0.1:8001`; several of one institution's nodes are asked in turn
            when one does not answer.
        key: the participant's, or its file; without one the session only reads.
        task: what to take part in.
        genesis: the consortium's document, or its file: with it every fact is checked against the quorum's signatures.
            None looks for one: the file that `FOEDUS_GENESIS` names, or `genesis.json` beside the key file or one
            directory above. False trusts the node.
        timeout: seconds without any answer after which to give up.
        passphrase: of the key file; environment `FOEDUS_PASSPHRASE` when None.
        tls_ca: PEM file with the certificate of an `https` node; None for the system's authorities.
        token: of the node, where reading needs one; environment `FOEDUS_TOKEN` when None.
        progress: True draws how far transfers are, on standard error; a function is told instead.

    Raises:
        NodeUnreachableError: the node does not answer.
        NotEnrolledError: the key belongs to no participant.
        UnverifiedError: the node follows another chain than the genesis document's.
    """
    signing = _load_key(key, passphrase)
    document = _load_genesis(genesis, key)
    with reporting(progress) as report:
        async with reach(url, key=signing, genesis=document, timeout=timeout, tls_ca=tls_ca, token=token) as reached:
            yield Session(reached.wire, reached.trust, signing, task, reached.participant, report)


@asynccontextmanager
async def reach(
    url: str | Sequence[str],
    *,
    key: SigningKey | None = None,
    genesis: GenesisDocument | None = None,
    timeout: float = PATIENCE_SECONDS_DEFAULT,
    tls_ca: str | None = None,
    token: str | None = None,
) -> AsyncIterator[Reached]:
    """Reach a node without a task in mind; arguments and errors as `connect`."""
    token = token or os.environ.get("FOEDUS_TOKEN") or None
    async with Wire(url, key=key, patience=timeout, tls_ca=tls_ca, token=token) as wire:
        wire.chain_id = None if genesis is None else genesis.chain_id
        trust = await _trust(wire, genesis)
        wire.chain_id = trust.chain_id
        participant = None
        if key is not None:
            participant = await read_fact(wire, trust, participant_key(key.public_key), Participant)
            if participant is None:
                raise NotEnrolledError(key=key.public_key, url=wire.url)
        yield Reached(wire, trust, key, participant)


def found_genesis(key: SigningKey | str | Path | None) -> Path | None:
    """Return the genesis document that belongs to a key file, None when there is none."""
    named = os.environ.get("FOEDUS_GENESIS")
    if named:
        return Path(named)
    if not isinstance(key, str | Path):
        return None
    beside = Path(key).absolute().parent
    return next((path for path in (beside / GENESIS_NAME, beside.parent / GENESIS_NAME) if path.is_file()), None)


def _load_genesis(genesis: Genesis, key: SigningKey | str | Path | None) -> GenesisDocument | None:
    if genesis is False:
        return None
    chosen = found_genesis(key) if genesis is None else genesis
    return load_document(Path(chosen)) if isinstance(chosen, str | Path) else chosen


async def _trust(wire: Wire, document: GenesisDocument | None) -> Trust:
    said = (await wire.answer("/v1/status", NodeStatus)).chain_id
    if document is None:
        return Trust(Digest(bytes.fromhex(said)), None)
    if said != document.chain_id.hex():
        raise UnverifiedError(
            f"{wire.url} follows chain {said}, the genesis document is chain {document.chain_id.hex()}"
        )
    return Trust(document.chain_id, document.validators, initial_state(document))


def _load_key(key: SigningKey | str | Path | None, passphrase: str | None) -> SigningKey | None:
    if key is None or isinstance(key, SigningKey):
        return key
    return read_key(Path(key), passphrase=passphrase)
