"""Opening a session: key, chain, enrolment. One law: a session that opens can do what it was opened for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fl.records import Participant
from fl.state import participant_key
from foedus.client.errors import NotEnrolledError, UnverifiedError
from foedus.client.facts import Trust, read_fact
from foedus.client.session import Session
from foedus.client.wire import PATIENCE_SECONDS_DEFAULT, Wire
from genesis.document import GenesisDocument, load_document
from genesis.keys import read_key
from ledger.digest import Digest
from ledger.identity import SigningKey
from node.view import NodeStatus


@dataclass(frozen=True, slots=True)
class Reached:
    """A node that answers, the chain it follows, and who asks."""

    wire: Wire
    trust: Trust
    key: SigningKey | None
    participant: Participant | None
    """Who the key belongs to; None without one."""


@asynccontextmanager
async def connect(
    url: str,
    *,
    key: SigningKey | str | Path | None = None,
    task: str | None = None,
    genesis: GenesisDocument | str | Path | None = None,
    timeout: float = PATIENCE_SECONDS_DEFAULT,
    passphrase: str | None = None,
    tls_ca: str | None = None,
) -> AsyncIterator[Session]:
    """Open a session with a node.

    Args:
        url: of the node's API, such as `http://127.0.0.1:8001`.
        key: the participant's, or its file; without one the session only reads.
        task: what to take part in.
        genesis: the consortium's document, or its file; with it every fact is checked against the quorum's signatures.
        timeout: seconds without any answer after which to give up.
        passphrase: of the key file; environment `FOEDUS_PASSPHRASE` when None.
        tls_ca: PEM file with the certificate of an `https` node; None for the system's authorities.

    Raises:
        NodeUnreachableError: the node does not answer.
        NotEnrolledError: the key belongs to no participant.
        UnverifiedError: the node follows another chain than the genesis document's.
    """
    signing = _load_key(key, passphrase)
    document = load_document(Path(genesis)) if isinstance(genesis, str | Path) else genesis
    async with reach(url, key=signing, genesis=document, timeout=timeout, tls_ca=tls_ca) as reached:
        yield Session(reached.wire, reached.trust, signing, task, reached.participant)


@asynccontextmanager
async def reach(
    url: str,
    *,
    key: SigningKey | None = None,
    genesis: GenesisDocument | None = None,
    timeout: float = PATIENCE_SECONDS_DEFAULT,
    tls_ca: str | None = None,
) -> AsyncIterator[Reached]:
    """Reach a node without a task in mind; arguments and errors as `connect`."""
    async with Wire(url, key=key, patience=timeout, tls_ca=tls_ca) as wire:
        trust = await _trust(wire, genesis)
        wire.chain_id = trust.chain_id
        participant = None
        if key is not None:
            participant = await read_fact(wire, trust, participant_key(key.public_key), Participant)
            if participant is None:
                raise NotEnrolledError(key=key.public_key, url=wire.url)
        yield Reached(wire, trust, key, participant)


async def _trust(wire: Wire, document: GenesisDocument | None) -> Trust:
    said = (await wire.answer("/v1/status", NodeStatus)).chain_id
    if document is None:
        return Trust(Digest(bytes.fromhex(said)), None)
    if said != document.chain_id.hex():
        raise UnverifiedError(
            f"{wire.url} follows chain {said}, the genesis document is chain {document.chain_id.hex()}"
        )
    return Trust(document.chain_id, document.validators)


def _load_key(key: SigningKey | str | Path | None, passphrase: str | None) -> SigningKey | None:
    if key is None or isinstance(key, SigningKey):
        return key
    return read_key(Path(key), passphrase=passphrase)
