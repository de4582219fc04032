"""A chain of one validator whose application is a notebook: really executed, really signed."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, make_certificate, sign_vote
from ledger.codec import Record, decode, encode
from ledger.digest import Digest, digest
from ledger.execution import BlockBuilder, Execution, genesis_changes, next_nonce
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.receipt import Event
from ledger.state_map import StateMap
from ledger.transaction import Transaction, sign_transaction
from ledger.validators import Validator, ValidatorSet

CHAIN: Final = digest("genesis", b"notebook")
VALIDATOR: Final = SigningKey(b"\1" * 32)
TRANSPORT: Final = SigningKey(b"\2" * 32)
WRITER: Final = SigningKey(b"\3" * 32)
VALIDATORS: Final = ValidatorSet.of((Validator("alpha", VALIDATOR.public_key, TRANSPORT.public_key, ""),))


class Note(Record):
    """Sets `key`; an empty text removes it, and `forbidden` is refused."""

    key: Annotated[str, Meta(max_length=64)]
    text: str


class Notebook:
    """The application."""

    version: int = 1

    def admit(self, state: StateReader, transaction: Transaction) -> None: ...

    def execute(self, state: Overlay, context: BlockContext, transaction: Transaction) -> tuple[Event, ...]:  # noqa: ARG002
        note = decode(transaction.payload, Note, bytes_max=100_000)
        if note.text == "forbidden":
            raise RefusalError("note.forbidden", f"{note.key} may not say this")
        if note.text:
            state.put(b"note/" + note.key.encode(), note.text.encode())
        else:
            state.delete(b"note/" + note.key.encode())
        return (Event("note.written", note.key, ""),)

    def end_block(self, state: Overlay, context: BlockContext) -> tuple[Event, ...]:  # noqa: ARG002
        return ()

    def due_ms(self, state: StateReader) -> int | None:  # noqa: ARG002
        return None


class NotebookChain:
    """Builds certified blocks one after the other."""

    def __init__(self) -> None:
        self.genesis_state = StateMap.build(genesis_changes(VALIDATORS, ConsensusParameters()).items())
        self.state = self.genesis_state
        self.height = 0
        self.parent_id: Digest = CHAIN

    def notes(self, *notes: tuple[str, str]) -> list[bytes]:
        """Return signed transactions."""
        first = next_nonce(self.state, WRITER.public_key)
        return [
            encode(sign_transaction(WRITER, CHAIN, "note", first + place, Note(key, text)))
            for place, (key, text) in enumerate(notes)
        ]

    def next_block(self, *notes: tuple[str, str]) -> tuple[CertifiedBlock, Execution]:
        """Execute and certify a block of notes."""
        height = Height(self.height + 1)
        context = BlockContext(CHAIN, height, 1_000 * height, self.parent_id, VALIDATORS, 0)
        builder = BlockBuilder(Notebook(), self.state, context)
        for raw in self.notes(*notes):
            builder.add(raw)
        execution = builder.finish()
        block = execution.block
        seal = sign_vote(VALIDATOR, CHAIN, COMMIT, height, View(0), VALIDATORS, block.id)
        self.state, self.height, self.parent_id = execution.state, height, block.id
        return CertifiedBlock(block, make_certificate(height, View(0), block.id, [seal])), execution
