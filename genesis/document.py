"""The genesis document: what a consortium agrees on before block 1. One law: its digest is the chain's name.

Every signature names the chain id, so documents that differ in one byte give chains that have nothing to do with each
other. People keep the document as JSON (`genesis.json`); what is hashed is its canonical encoding, so spaces and the
order of names do not matter.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Final

from fl.genesis_state import InvalidLearningGenesisError, learning_genesis_changes
from fl.records import LearningGenesis
from genesis.reading import FaultsError, read, to_json
from ledger.codec import CodecError, Record, decode, encode
from ledger.digest import Digest, digest
from ledger.execution import genesis_changes
from ledger.fields import NameField, TimeField
from ledger.identity import InvalidKeyError, require_public_key
from ledger.parameters import ConsensusParameters, InvalidParametersError
from ledger.state_map import StateMap
from ledger.validators import InvalidValidatorSetError, ValidatorSet, address_fault

GENESIS_BYTES_MAX: Final = 16 << 20


class InvalidGenesisError(FaultsError):
    """A genesis document cannot begin a chain; `faults` names each reason."""


class GenesisDocument(Record):
    """The whole agreement."""

    chain_name: NameField
    """For people; the chain id is what counts."""

    time_ms: TimeField
    """Time of block 0; block 1 is later."""

    validators: ValidatorSet
    """The institutions with their keys; the keys alone let nodes find each other trustworthy (see `node.tls`)."""

    parameters: ConsensusParameters
    learning: LearningGenesis
    """Participants, and the tasks that are active from the beginning."""

    @property
    def chain_id(self) -> Digest:
        """Names the chain."""
        return digest("genesis", encode(self))


def initial_state(document: GenesisDocument) -> StateMap:
    """Return the state before block 1.

    Raises:
        InvalidLearningGenesisError: participants or tasks contradict each other.
    """
    base = StateMap.build(genesis_changes(document.validators, document.parameters).items())
    learning = learning_genesis_changes(document.learning, base, document.time_ms, document.validators)
    return base.update(learning)


def faults_of(document: GenesisDocument) -> list[str]:
    """Return why no chain can begin with `document`, one line a fault; empty when one can."""
    faults: list[str] = []
    try:
        document.validators.require_valid()
    except InvalidValidatorSetError as error:
        faults.append(f"validators: {error}")
    try:
        document.parameters.require_valid()
    except InvalidParametersError as error:
        faults.append(f"parameters: {error}")
    faults += _key_faults(document)
    faults += _address_faults(document)
    faults += _participant_faults(document)
    if not faults:
        try:
            initial_state(document)
        except InvalidLearningGenesisError as error:
            faults.append(f"learning: {error}")
    return faults


def read_document(text: str, *, source: str = "genesis document") -> GenesisDocument:
    """Return the document in its JSON form.

    Raises:
        InvalidGenesisError: it is malformed or no chain can begin with it; all faults at once.
    """
    faults: list[str] = []
    try:
        tree: object = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, faults))
    except (ValueError, RecursionError) as error:
        raise InvalidGenesisError(source, [f"not JSON: {error}"]) from error
    document = read(tree, GenesisDocument, faults)
    if document is None or faults:
        raise InvalidGenesisError(source, faults)
    try:
        decode(encode(document), GenesisDocument, bytes_max=GENESIS_BYTES_MAX)
    except CodecError as error:
        raise InvalidGenesisError(source, [str(error)]) from error
    faults = faults_of(document)
    if faults:
        raise InvalidGenesisError(source, faults)
    return document


def load_document(path: Path) -> GenesisDocument:
    """Read the document from a file.

    Raises:
        InvalidGenesisError: the file cannot be read, or see `read_document`.
    """
    try:
        if path.stat().st_size > 4 * GENESIS_BYTES_MAX:
            raise InvalidGenesisError(str(path), [f"larger than {4 * GENESIS_BYTES_MAX} bytes"])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidGenesisError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InvalidGenesisError(str(path), [f"not UTF-8: {error}"]) from error
    return read_document(text, source=str(path))


def document_text(document: GenesisDocument) -> str:
    """Return the JSON form: indented, names sorted, the same for the same document."""
    return json.dumps(to_json(document), indent=2, sort_keys=True) + "\n"


def _key_faults(document: GenesisDocument) -> list[str]:
    keys = [(f"validator {member.name}, public_key", member.public_key) for member in document.validators.members]
    keys += [
        (f"validator {member.name}, transport_key", member.transport_key) for member in document.validators.members
    ]
    keys += [(f"participant {one.name}, public_key", one.public_key) for one in document.learning.participants]
    uses = Counter(key for _, key in keys)
    faults = [
        f"key {key.hex()}: used {count} times; everybody needs keys of his own"
        for key, count in uses.items()
        if count > 1
    ]
    for owner, key in keys:
        try:
            require_public_key(key)
        except InvalidKeyError as error:
            faults.append(f"{owner}: {error}")
    return faults


def _address_faults(document: GenesisDocument) -> list[str]:
    return [
        f"validator {member.name}, address: {fault}"
        for member in document.validators.members
        if member.address and (fault := address_fault(member.address))
    ]


def _participant_faults(document: GenesisDocument) -> list[str]:
    faults = []
    names = Counter(one.name for one in document.learning.participants)
    faults += [f"participant {name}: {count} have this name" for name, count in names.items() if count > 1]
    known = set(names)
    for task in document.learning.tasks:
        unknown = sorted(set(task.participants) - known)
        if unknown:
            faults.append(f"task {task.id}, participants: {', '.join(unknown)} are not in the document")
    ids = Counter(task.id for task in document.learning.tasks)
    faults += [f"task {name}: {count} have this id" for name, count in ids.items() if count > 1]
    voters = {member.name for member in document.validators.members}
    faults += [
        f"participant {one.name}, organisation: officers vote for a validator, got {one.organisation}"
        for one in document.learning.participants
        if "officer" in one.roles and one.organisation not in voters
    ]
    return faults


def _unique(pairs: list[tuple[str, object]], faults: list[str]) -> dict[str, object]:
    uses = Counter(name for name, _ in pairs)
    faults += [f"{name}: given {count} times in one object" for name, count in uses.items() if count > 1]
    return dict(pairs)
