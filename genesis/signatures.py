"""Signatures under the genesis document. One law: complete means every member, not a quorum.

Each institution signs the chain id with its validator's key, on its own machine. Nodes that are given the file check
it before they start (`[genesis] signatures`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from genesis.document import GenesisDocument
from genesis.files import read_text
from genesis.reading import FaultsError, read, to_json
from ledger.codec import Record
from ledger.fields import DigestField, NameField, SignatureField
from ledger.identity import SigningKey, verify
from ledger.validators import VALIDATORS_MAX

GENESIS_DOMAIN: Final = "genesis"
SIGNATURES_KIND: Final = "foedus-genesis-signatures/1"
SIGNATURES_BYTES_MAX: Final = 1 << 20


class GenesisSignature(Record):
    """A member agrees to the document."""

    validator: NameField
    signature: SignatureField
    """By the validator's key in domain `genesis`, over the chain id."""


class GenesisSignatures(Record):
    """Who has agreed to a document."""

    chain_id: DigestField
    signatures: Annotated[tuple[GenesisSignature, ...], Meta(max_length=VALIDATORS_MAX)]
    """Ascending by validator."""


class InvalidSignaturesError(FaultsError):
    """Signatures that do not hold, or are of another document."""


class UnsignedGenesisError(ValueError):
    """Members have not signed."""

    def __init__(self, missing: Sequence[str], needed: int) -> None:
        super().__init__(
            f"{len(missing)} of {needed} members have not signed the genesis document: {', '.join(missing)}; each "
            "signs with `foedus genesis sign`, and `foedus genesis verify --collect` puts the signatures together"
        )
        self.missing = tuple(missing)


class _SignaturesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["foedus-genesis-signatures/1"]
    chain_id: DigestField
    signatures: tuple[GenesisSignature, ...]


class NotAMemberError(ValueError):
    """The key that should sign is no validator's of the document."""


def sign_genesis(document: GenesisDocument, key: SigningKey) -> GenesisSignatures:
    """Return a member's signature under a document.

    Raises:
        NotAMemberError: the document has no validator with this key.
    """
    index = document.validators.index_of(key.public_key)
    if index is None:
        raise NotAMemberError(
            f"key {key.public_key.hex()} is no validator's of this document: sign with your node's validator key"
        )
    chain_id = document.chain_id
    signature = key.sign(GENESIS_DOMAIN, chain_id, chain_id)
    return GenesisSignatures(chain_id, (GenesisSignature(document.validators.members[index].name, signature),))


def merge(document: GenesisDocument, parts: Sequence[GenesisSignatures]) -> GenesisSignatures:
    """Return all signatures of some files as one.

    Raises:
        InvalidSignaturesError: one is of another document, of nobody or wrong; all faults at once.
    """
    keys = {member.name: member.public_key for member in document.validators.members}
    chain_id = document.chain_id
    found: dict[str, GenesisSignature] = {}
    faults = []
    for part in parts:
        if part.chain_id != chain_id:
            faults.append(f"signs chain {part.chain_id.hex()}, this document is chain {chain_id.hex()}")
            continue
        for one in part.signatures:
            if one.validator not in keys:
                faults.append(f"{one.validator}: is no member of this document")
            elif not verify(keys[one.validator], GENESIS_DOMAIN, chain_id, chain_id, one.signature):
                faults.append(f"{one.validator}: the signature is not by this member's key")
            else:
                found[one.validator] = one
    if faults:
        raise InvalidSignaturesError("signatures", faults)
    return GenesisSignatures(chain_id, tuple(found[name] for name in sorted(found)))


def unsigned(document: GenesisDocument, signatures: GenesisSignatures) -> tuple[str, ...]:
    """Return the members that have not signed, ascending; `signatures` are `merge`d ones."""
    signed = {one.validator for one in signatures.signatures}
    return tuple(member.name for member in document.validators.members if member.name not in signed)


def require_signed(document: GenesisDocument, signatures: GenesisSignatures) -> None:
    """Check that every member has signed.

    Raises:
        InvalidSignaturesError: a signature does not hold.
        UnsignedGenesisError: some have not.
    """
    missing = unsigned(document, merge(document, [signatures]))
    if missing:
        raise UnsignedGenesisError(missing, len(document.validators))


def load_signatures(path: Path) -> GenesisSignatures:
    """Read signatures from a file, unchecked.

    Raises:
        InvalidSignaturesError: it cannot be read or holds something else.
    """
    try:
        text = read_text(path, bytes_max=SIGNATURES_BYTES_MAX)
    except FaultsError as error:
        raise InvalidSignaturesError(error.source, error.faults) from error
    return read_signatures(text, source=str(path))


def read_signatures(text: str, *, source: str) -> GenesisSignatures:
    """Return signatures in their JSON form, unchecked.

    Raises:
        InvalidSignaturesError: it is something else.
    """
    faults: list[str] = []
    try:
        tree: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSignaturesError(source, [f"not JSON: {error}"]) from error
    content = read(tree, _SignaturesFile, faults)
    if content is None or faults:
        raise InvalidSignaturesError(source, faults)
    return GenesisSignatures(content.chain_id, content.signatures)


def signatures_text(signatures: GenesisSignatures) -> str:
    """Return the JSON form."""
    content = _SignaturesFile(SIGNATURES_KIND, signatures.chain_id, signatures.signatures)
    return json.dumps(to_json(content), indent=2, sort_keys=True) + "\n"
