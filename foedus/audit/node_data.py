"""A node's data directory, audited. One law: each row must be exactly the one that the replay gives.

Rows are not decoded and believed but computed from the verified block and compared column by column, so a flipped byte,
a missing row and an extra one are all found, in lists and indexes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from foedus.audit.history import Damage
from foedus.audit.report import Difference
from genesis.document import GenesisDocument
from ledger.block import CertifiedBlock
from ledger.chain import CertifiedHeader, VerifiedBlock
from ledger.codec import encode
from ledger.fields import Height
from ledger.payload import PayloadDescriptor, describe
from ledger.state_map import StateMap
from ledger.transaction import decode_transaction
from node.payloads import PayloadError, PayloadFiles, UnknownPayloadError
from node.payloads.proof import hashes_lead_to
from node.store import CorruptRowError, StoreError
from node.store.audit_reader import AuditReader, Row

PAYLOADS_NAME: Final = "payloads"
_ARRAY_OF_TWO_BYTES: Final = 1
"""A block's encoding begins with one byte, then comes its header."""

_COLUMNS: Final = {
    "blocks": ("height", "id", "header_bytes", "transaction_count", "block", "certificate"),
    "transactions": ("sequence", "id", "height", "position", "kind", "sender", "raw_offset", "raw_bytes"),
    "receipts": ("height", "position", "receipt"),
    "events": ("sequence", "height", "position", "event"),
}


class NodeHistory:
    """`foedus.audit.history.History` of a data directory, as it was when it was opened."""

    def __init__(self, reader: AuditReader, files: PayloadFiles, document: GenesisDocument) -> None:
        """Take an open reader; `open` is what callers want."""
        self._reader = reader
        self._files = files
        self._document = document
        self._height = Height(reader.last_height())
        self._expected = dict.fromkeys(_COLUMNS, 0)
        """Rows that the replay gave so far."""

    @classmethod
    def open(cls, data: Path, document: GenesisDocument) -> NodeHistory:
        """Open a data directory.

        Raises:
            OtherChainError: it is of another chain than the genesis document.
            StoreError: there is no database, or it cannot be read at all.
        """
        reader = AuditReader.open_held(data)
        try:
            reader.require_chain(document.chain_id)
            return cls(reader, PayloadFiles(data / PAYLOADS_NAME), document)
        except BaseException:
            reader.close()
            raise

    @property
    def document(self) -> GenesisDocument:
        """The agreement that the chain begins with."""
        return self._document

    @property
    def height(self) -> Height:
        """The last block's; 0 when there is none."""
        return self._height

    @property
    def blocks_from(self) -> Height:
        """The lowest height from which on every block is here."""
        return self._reader.blocks_from

    @property
    def pruned(self) -> NodeHistory | None:
        """Itself, when only the headers of the lower blocks are here."""
        return self if self.blocks_from > 1 else None

    def close(self) -> None:
        """Let go of the database."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def certified_block(self, height: Height) -> CertifiedBlock:
        """Return a block.

        Raises:
            Damage: it is missing or does not decode.
        """
        try:
            certified = self._reader.certified_block(height)
        except CorruptRowError as error:
            reason = f"table {error.table}, row {error.row}: {error.reason}"
            raise Damage(Difference("chain", reason, height)) from error
        except (StoreError, TypeError) as error:
            raise Damage(Difference("chain", str(error), height)) from error
        if certified is None:
            detail = f"the block is missing, though there is one at height {self._height}"
            raise Damage(Difference("chain", detail, height))
        return certified

    def certified_header(self, height: Height) -> CertifiedHeader:
        """Return a header.

        Raises:
            Damage: it is missing or does not decode.
        """
        try:
            certified = self._reader.certified_header(height)
        except (StoreError, TypeError) as error:
            raise Damage(Difference("chain", str(error), height)) from error
        if certified is None:
            detail = f"the header is missing, though there is one at height {self._height}"
            raise Damage(Difference("chain", detail, height))
        return certified

    def stored_state(self) -> StateMap:
        """Return the state as it is stored, whatever its root.

        Raises:
            Damage: it does not read back.
        """
        try:
            return StateMap.build(self._reader.state_rows())
        except (StoreError, TypeError, ValueError) as error:
            raise Damage(Difference("state", str(error))) from error

    def receipts(self, height: Height) -> tuple[bytes, ...]:
        """Return the encoded receipts of a block as they are stored.

        Raises:
            Damage: they do not read back.
        """
        try:
            return self._reader.receipts(height)
        except StoreError as error:
            raise Damage(Difference("database", str(error), height)) from error

    def payload(self, descriptor: PayloadDescriptor) -> bytes | None:
        """Return a payload, None when it is not kept here.

        Raises:
            Damage: it is kept, and its bytes are not what the descriptor names.
        """
        try:
            payload = self._files.read(descriptor, 0, descriptor.size)
            hashes = self._files.hashes(descriptor.id)
        except UnknownPayloadError:
            return None
        except PayloadError as error:
            raise Damage(Difference("payload", str(error))) from error
        found = describe(payload)
        if found != descriptor:
            detail = (
                f"payload {descriptor.id.hex()} must have {descriptor.size} bytes under root {descriptor.root.hex()}, "
                f"got {found.size} bytes under root {found.root.hex()}"
            )
            raise Damage(Difference("payload", detail))
        if not hashes_lead_to(descriptor, hashes):
            raise Damage(
                Difference("payload", f"payload {descriptor.id.hex()}: its chunk hashes do not lead to its root")
            )
        return payload

    def block_differences(self, verified: VerifiedBlock) -> Iterator[Difference]:
        """Compare every row about a block with the one that the replay gives."""
        height = verified.certified.block.header.height
        for table, expected in self._rows_of(verified).items():
            self._expected[table] += len(expected)
            try:
                found = self._reader.rows_at(table, height)
            except StoreError as error:
                yield Difference("database", str(error), height)
                continue
            yield from _row_differences(table, height, expected, found, verified)

    def end_differences(self, state: StateMap | None) -> Iterator[Difference]:
        """Compare the stored state and the number of rows; check what only this node knows, and the file itself."""
        try:
            if state is not None:
                yield from self._state_differences(state)
                yield from self._extra_rows()
            for fault in self._reader.safety_faults():
                yield Difference("row", f"table {fault.table}, row {fault.row}: {fault.reason}")
            for text in self._reader.structure_faults():
                yield Difference("database", text)
        except StoreError as error:
            yield Difference("database", str(error))

    def _rows_of(self, verified: VerifiedBlock) -> dict[str, list[Row]]:
        block, execution = verified.certified.block, verified.execution
        height, header = block.header.height, encode(block.header)
        return {
            "blocks": [
                (
                    height,
                    block.id,
                    len(header),
                    len(block.transactions),
                    encode(block),
                    encode(verified.certified.certificate),
                )
            ],
            "transactions": list(self._transaction_rows(verified, _ARRAY_OF_TWO_BYTES + len(header))),
            "receipts": [(height, place, encode(receipt)) for place, receipt in enumerate(execution.receipts)],
            "events": [
                (self._expected["events"] + number, height, place, event)
                for number, (place, event) in enumerate(
                    (
                        (place, encode(event))
                        for place, receipt in enumerate(execution.receipts)
                        for event in receipt.events
                    ),
                    start=1,
                )
            ],
        }

    def _transaction_rows(self, verified: VerifiedBlock, start: int) -> Iterator[Row]:
        raws = verified.certified.block.transactions
        offset = start + len(encode(raws)) - sum(len(encode(raw)) for raw in raws)
        for place, (raw, receipt) in enumerate(zip(raws, verified.execution.receipts, strict=False)):
            transaction = decode_transaction(raw)
            prefix = len(encode(raw)) - len(raw)
            yield (
                self._expected["transactions"] + place + 1,
                receipt.transaction,
                verified.certified.block.header.height,
                place,
                transaction.kind,
                transaction.sender,
                offset + prefix,
                len(raw),
            )
            offset += prefix + len(raw)

    def _state_differences(self, state: StateMap) -> Iterator[Difference]:
        expected = dict(state.items())
        for key, value in self._reader.state_rows():
            needed = expected.pop(key, None)
            if needed is None:
                yield Difference("state", f"key {_shown(key)} is stored, the replay has no such key")
            elif needed != value:
                yield Difference("state", f"key {_shown(key)} holds {_shown(value)}, the replay gives {_shown(needed)}")
        for key in expected:
            yield Difference("state", f"key {_shown(key)} is missing, the replay has it")

    def _extra_rows(self) -> Iterator[Difference]:
        found = self._reader.counts()
        for table, expected in self._expected.items():
            if found[table] != expected:
                yield Difference("row", f"table {table} has {found[table]} rows, the replay gives {expected}")


def _row_differences(
    table: str, height: int, expected: Sequence[Row], found: Sequence[Row], verified: VerifiedBlock
) -> Iterator[Difference]:
    place_column = _COLUMNS[table].index("position") if "position" in _COLUMNS[table] else None
    for number in range(max(len(expected), len(found))):
        needed = expected[number] if number < len(expected) else None
        got = tuple(found[number]) if number < len(found) else None
        if needed == got:
            continue
        index = None if place_column is None or needed is None else int(needed[place_column])
        detail = f"table {table}: {_row_difference(table, needed, got)}"
        yield _at_transaction("row", detail, height, index, verified)
        return


def _row_difference(table: str, needed: Row | None, got: Row | None) -> str:
    if needed is None:
        return f"an extra row {_shown(got)}"
    if got is None:
        return f"row {_shown(needed)} is missing"
    for name, there, here in zip(_COLUMNS[table], got, needed, strict=True):
        if there != here:
            return f"{name} is {_shown(there)}, the replay gives {_shown(here)}"
    raise AssertionError("called for rows that differ")


def _at_transaction(
    kind: Literal["row"], detail: str, height: int, index: int | None, verified: VerifiedBlock
) -> Difference:
    receipts = verified.execution.receipts
    if index is None or index >= len(receipts) - 1:  # the last receipt is the block's own
        return Difference(kind, detail, height)
    return Difference(kind, detail, height, index, receipts[index].transaction.hex())


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_shown(item) for item in value)})"
    if isinstance(value, bytes):
        text = value.decode("ascii") if value.isascii() and value.decode("ascii").isprintable() else value.hex()
    else:
        text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
