"""What must hold whatever happens. One law: a checker knows the protocol's promises, not its code."""

from __future__ import annotations

from consensus import decode_message
from consensus.messages import Commit, Prepare, PrePrepare, ViewChange
from consensus.safety import (
    CommitRecord,
    EnteredRecord,
    PrepareRecord,
    ProposalRecord,
    ViewChangeRecord,
    decode_record,
)
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, verify_vote
from ledger.fields import Height
from ledger.validators import ValidatorSet
from tests.simulation import toy


class BrokenPromiseError(AssertionError):
    """The protocol did what it must never do."""


class SignatureLedger:
    """Everything honest validators ever signed: once per height, view and kind (I2), written before it is sent."""

    def __init__(self) -> None:
        self._signed: dict[tuple[int, int, int, str], object] = {}
        self._asked: dict[tuple[int, int], int] = {}
        self._noted: set[tuple[int, bytes]] = set()

    def persisted(self, signer: int, data: bytes) -> None:
        """Note one safety record that an honest validator has on its disk; again is no error."""
        if (signer, data) in self._noted:
            return
        self._noted.add((signer, data))
        match decode_record(data):
            case ProposalRecord(message):
                self._sign(signer, message.height, message.view, "prepare", message.block.id)
            case PrepareRecord(height, view, block, _):
                self._sign(signer, height, view, "prepare", block.id)
            case CommitRecord(certificate, _):
                self._sign(signer, certificate.height, certificate.view, "commit", certificate.block_id)
            case ViewChangeRecord(message):
                self._sign(signer, message.height, message.view, "view-change", message.claim.prepared)
                self._asked[signer, message.height] = message.view
            case EnteredRecord():
                pass

    def sent(self, sender: int, data: bytes) -> None:
        """Check one message that an honest validator sends."""
        match decode_message(data):
            case PrePrepare(height, view, block, _, _):
                self._require(sender, height, view, "prepare", block.id)
            case Prepare(height, view, block_id, _):
                self._require(sender, height, view, "prepare", block_id)
            case Commit(height, view, block_id, _):
                self._require(sender, height, view, "commit", block_id)
            case ViewChange(height, view, claim, _):
                self._require(sender, height, view, "view-change", claim.prepared)
            case _:
                pass

    def _sign(self, signer: int, height: int, view: int, kind: str, subject: object) -> None:
        what = f"validator {signer}: {kind} at height {height}, view {view}"
        if self._signed.setdefault((signer, height, view, kind), subject) != subject:
            raise BrokenPromiseError(f"{what} is signed for two subjects")
        if view < self._asked.get((signer, height), 0):
            raise BrokenPromiseError(f"{what} is signed after a VIEW-CHANGE to {self._asked[signer, height]}")

    def _require(self, sender: int, height: int, view: int, kind: str, subject: object) -> None:
        if self._signed.get((sender, height, view, kind), self) != subject:
            raise BrokenPromiseError(
                f"validator {sender}: {kind} at height {height}, view {view} is sent but not on its disk"
            )


class ChainChecker:
    """One chain for all (I1), certified by a real quorum, of valid blocks only."""

    def __init__(self, validators: ValidatorSet) -> None:
        n = len(validators)
        self._validators = validators
        self._quorum = next(q for q in range(1, n + 1) if 2 * q - n > (n - 1) // 3)
        self._tips: dict[Height, toy.Tip] = {Height(0): toy.GENESIS}
        self.committed: set[bytes] = set()

    @property
    def height(self) -> Height:
        """Height of the longest honest chain."""
        return max(self._tips)

    def append(self, node: str, certified: CertifiedBlock) -> None:
        """Check a block that an honest node appends."""
        block, certificate = certified.block, certified.certificate
        height = Height(block.header.height)
        if height in self._tips:
            if self._tips[height].block_id != block.id:
                raise BrokenPromiseError(f"{node} appends another block at height {height}: a fork")
            return
        parent = self._tips[Height(height - 1)]
        problem = toy.why_invalid(parent, block, self._validators, None)
        if problem:
            raise BrokenPromiseError(f"{node} appends block {height}, which {problem}")
        good = {
            seal.validator
            for seal in certificate.seals
            if verify_vote(toy.CHAIN_ID, COMMIT, height, certificate.view, self._validators, block.id, seal)
        }
        if len(good) < self._quorum:
            raise BrokenPromiseError(f"{node} appends block {height} with {len(good)} COMMITs, needs {self._quorum}")
        self._tips[height] = toy.after(block)
        self.committed.update(block.transactions)
