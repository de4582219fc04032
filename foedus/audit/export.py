"""Exports: a whole chain in one file. One law: it never holds an individual update.

A plain tar archive that any tool opens, members in this order, all times and owners zero, so that a node's chain always
gives the same bytes. (Another node may have kept the signatures of another quorum: they are no part of a block.)::

    manifest.json            format, chain id, last height and block id
    genesis.json             the genesis document
    blocks/<height>          canonical encoding of the certified block
    receipts/<height>        canonical encoding of its receipts: an array of byte strings
    models/<payload id>      salt and words of each certified model that the node keeps
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fl.results import claimed_results
from foedus.audit.history import History, HistoryError
from genesis.document import GenesisDocument, document_text
from ledger.block import CertifiedBlock
from ledger.codec import decode, encode
from ledger.fields import Height
from ledger.payload import PayloadDescriptor, describe
from ledger.receipt import Receipt

FORMAT: Final = "foedus-export/1"
RECEIPTS_BYTES_MAX: Final = 64 << 20
_HEIGHT_DIGITS: Final = 12


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an export says of itself."""

    format: Literal["foedus-export/1"]
    chain_id: str
    height: Annotated[int, Meta(ge=0)]
    block_id: str
    """Of the last block; the chain id when there is none."""


class ExportWriter:
    """Writes an export; the file appears under its name only when it is whole."""

    def __init__(self, path: Path, manifest: Manifest, document: GenesisDocument) -> None:
        """Begin a new file.

        Raises:
            HistoryError: the file exists.
        """
        if path.exists():
            raise HistoryError(f"{path} exists; name another file, or remove it first")
        self.models = 0
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._tar = tarfile.open(self._partial, "w:", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `close`
        self._add("manifest.json", json.dumps(msgspec.to_builtins(manifest), indent=2, sort_keys=True).encode() + b"\n")
        self._add("genesis.json", document_text(document).encode())

    def block(self, certified: CertifiedBlock, receipts: tuple[bytes, ...]) -> None:
        """Add the next block."""
        number = member_number(certified.block.height)
        self._add(f"blocks/{number}", encode(certified))
        self._add(f"receipts/{number}", encode(receipts))

    def model(self, payload: bytes) -> None:
        """Add a model; after all blocks."""
        self._add(f"models/{describe(payload).id.hex()}", payload)
        self.models += 1

    def close(self) -> None:
        """Put the whole file in its place, durably."""
        self._tar.close()
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.rename(self._path)

    def discard(self) -> None:
        """Drop what has been written."""
        self._tar.close()
        self._partial.unlink(missing_ok=True)

    def _add(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.mode = 0o644
        self._tar.addfile(member, io.BytesIO(content))


@dataclass(frozen=True, slots=True)
class Written:
    """What an export holds."""

    blocks: int
    models: int
    models_missing: int
    """Certified models that this node does not keep."""


def write_export(history: History, path: Path, *, on_block: Callable[[int, int], None] | None = None) -> Written:
    """Write a chain into one file; nothing is verified beyond what reading it needs, `audit` does that.

    Args:
        history: a node's data.
        path: must not exist.
        on_block: told (height, last height) after each block.

    Raises:
        HistoryError: the file exists, or blocks are pruned here.
        Damage: a block or a model does not read back.
    """
    document, height = history.document, history.height
    if history.pruned is not None:
        raise HistoryError(
            f"the blocks below {history.pruned.blocks_from} are pruned here and an export holds the whole chain: "
            "export from a node whose blocks_from (`foedus status`) is 1"
        )
    last = history.certified_block(height).block.id if height else document.chain_id
    manifest = Manifest(FORMAT, document.chain_id.hex(), height, last.hex())
    writer = ExportWriter(path, manifest, document)
    try:
        names: list[PayloadDescriptor] = []
        for number in range(1, height + 1):
            certified = history.certified_block(Height(number))
            receipts = history.receipts(Height(number))
            writer.block(certified, receipts)
            names += _certified_models(certified, receipts)
            if on_block is not None:
                on_block(number, height)
        unique = list(dict.fromkeys(names))
        for name in unique:
            payload = history.payload(name)
            if payload is not None:
                writer.model(payload)
        writer.close()
    except BaseException:
        writer.discard()
        raise
    return Written(height, writer.models, len(unique) - writer.models)


def _certified_models(certified: CertifiedBlock, receipts: Sequence[bytes]) -> Iterator[PayloadDescriptor]:
    """Yield the models that a block certified."""
    for raw, data in zip(certified.block.transactions, receipts, strict=False):
        receipt = decode(data, Receipt, bytes_max=RECEIPTS_BYTES_MAX)
        if receipt.accepted:
            for result in claimed_results([raw]):
                yield result.model


def member_number(height: int) -> str:
    """Return how a height is written in a member's name."""
    return f"{height:0{_HEIGHT_DIGITS}d}"
