"""A replica's words as the specification speaks of them. One law: names stand for block ids, in order of appearance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consensus.messages import Commit, Message, Prepare, PreparedClaim, PrePrepare, ViewChange
from consensus.safety import (
    CommitRecord,
    EnteredRecord,
    PrepareRecord,
    ProposalRecord,
    ViewChangeRecord,
    decode_record,
    reload,
)
from ledger.certificate import QuorumCertificate
from ledger.digest import Digest
from ledger.fields import Height

CHANGE: Final = "change"


@dataclass(frozen=True, slots=True)
class Claim:
    """A block and the view in which it was prepared."""

    view: int = -1
    block: str = ""


NONE: Final = Claim()


@dataclass(frozen=True, slots=True)
class Move:
    """A step of the specification."""

    kind: str
    who: int
    view: int = 0
    block: str = ""
    demanded: Claim = NONE


@dataclass(frozen=True, slots=True)
class Said:
    """Something signed that left an honest replica."""

    kind: str
    who: int
    height: int
    view: int
    claim: Claim


@dataclass(frozen=True, slots=True)
class Memory:
    """What the disk of a replica holds of the height it works on."""

    height: int
    view: int = 0
    demanded: Claim = NONE
    prepared: Claim = NONE
    locked: Claim = NONE
    asked: int = 0


class Names:
    """Names of blocks."""

    def __init__(self) -> None:
        self._names: dict[Digest, str] = {}

    def give(self, block_id: Digest, name: str) -> None:
        """Have a block called by this name."""
        self._names[block_id] = name

    def of(self, block_id: Digest) -> str:
        """Return the block's name."""
        return self._names.setdefault(block_id, f"b{len(self._names)}")

    def all(self) -> list[str]:
        """Return all names."""
        return sorted(set(self._names.values()))

    def claim(self, proof: QuorumCertificate | PreparedClaim | None) -> Claim:
        """Return what is proven or claimed to be prepared."""
        return Claim(proof.view, self.of(proof.block_id)) if proof is not None else NONE

    def move(self, who: int, record: bytes, memory: Memory) -> Move:
        """Return the move that writes this safety record, seen from what was on the disk before."""
        match decode_record(record):
            case ProposalRecord(message):
                return Move("propose", who, message.view, self.of(message.block.id), memory.demanded)
            case PrepareRecord(_, view, block, _):
                return Move("prepare", who, view, self.of(block.id), memory.demanded)
            case CommitRecord(certificate, _):
                return Move("commit", who, certificate.view, self.of(certificate.block_id))
            case ViewChangeRecord(message):
                return Move("ask", who, message.view, "", memory.locked)
            case EnteredRecord(certificate):
                return Move("enter", who, certificate.view, "", self.claim(certificate.prepared))

    def memory(self, height: Height, index: int, records: Sequence[bytes]) -> Memory:
        """Return what the records mean."""
        words = reload(height, index, records)
        prepare, commit, asked = words.prepare, words.commit, words.view_change
        return Memory(
            height,
            words.view,
            self.claim(words.entered.prepared if words.entered else None),
            Claim(prepare.view, self.of(prepare.block.id)) if prepare else NONE,
            self.claim(commit.certificate if commit else None),
            asked.view if asked else 0,
        )

    def said(self, who: int, message: Message) -> Said | None:
        """Return what a message says for its sender; None for one that no safety rule is about."""
        match message:
            case PrePrepare(height, view, block, _, _):
                claim = Claim(view, self.of(block.id))
                return Said("prepare", who, height, view, claim)
            case Prepare(height, view, block_id, _):
                return Said("prepare", who, height, view, Claim(view, self.of(block_id)))
            case Commit(height, view, block_id, _):
                return Said("commit", who, height, view, Claim(view, self.of(block_id)))
            case ViewChange(height, view, claim, _):
                return Said("change", who, height, view, self.claim(claim.prepared))
            case _:
                return None
