"""What a replica must not forget. One law: a word is on the disk before it is on the wire.

A replica that restarts reads its own words of the current height back and never signs another one for the same height,
view and kind. Records that contradict each other are refused: signing on their ground could fork the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from consensus.messages import MESSAGE_BYTES_MAX, PrePrepare, ViewChange, ViewChangeCertificate
from ledger.block import Block
from ledger.certificate import QuorumCertificate, Seal
from ledger.codec import CodecError, Record, decode, encode
from ledger.fields import Height, HeightField, View, ViewField

RECORD_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 1_024
RECORDS_MAX: Final = 1_000_000
"""Records of one height that are read back: years of views, at their longest time-out."""


class SafetyRecordError(ValueError):
    """The safety records of this height cannot all be true; signing on their ground could fork the chain."""

    def __init__(self, height: int, problem: str) -> None:
        """Name the height and what contradicts what."""
        super().__init__(
            f"safety records of height {height}: {problem}; start once with `foedus node run --observe-first`"
        )
        self.height: Final = height
        self.problem: Final = problem


class ProposalRecord(Record, frozen=True, tag="proposal"):
    """This replica, as primary, proposed and thereby prepared."""

    message: PrePrepare


class PrepareRecord(Record, frozen=True, tag="prepare"):
    """This replica found the block valid and signed PREPARE."""

    height: HeightField
    view: ViewField
    block: Block
    """The body too, so that a prepared block survives the restart of all."""

    seal: Seal


class CommitRecord(Record, frozen=True, tag="commit"):
    """This replica saw a quorum of PREPAREs and signed COMMIT."""

    certificate: QuorumCertificate
    """The PREPAREs; its height, view and block id are those of the COMMIT."""

    seal: Seal


class ViewChangeRecord(Record, frozen=True, tag="view-change"):
    """This replica asked for a view and votes in none below it."""

    message: ViewChange


class EnteredRecord(Record, frozen=True, tag="entered"):
    """This replica entered a view above 0.

    Not a word of its own, but others may depend on it: once everybody who could assemble the certificate again has
    asked for a later view, those who are behind can follow only with it.
    """

    certificate: ViewChangeCertificate


SafetyRecord: TypeAlias = ProposalRecord | PrepareRecord | CommitRecord | ViewChangeRecord | EnteredRecord


@dataclass(slots=True)
class OwnWords:
    """What this replica has signed at one height."""

    proposal: PrePrepare | None = None
    """Its last own proposal."""

    prepare: PrepareRecord | None = None
    """Its PREPARE of the highest view; for a primary it is made from its proposal."""

    commit: CommitRecord | None = None
    """Its COMMIT of the highest view: the certificate is what it must tell in a VIEW-CHANGE."""

    locked: Block | None = None
    """The block of `commit`."""

    view_change: ViewChange | None = None
    """Its last VIEW-CHANGE."""

    entered: ViewChangeCertificate | None = None
    """What opened the view it is in; None in view 0."""

    @property
    def view(self) -> View:
        """The view it is in."""
        return View(self.entered.view if self.entered else 0)

    @property
    def asked(self) -> View:
        """No vote is allowed in a view below this one."""
        return View(max(self.view, self.view_change.view if self.view_change else 0))

    @property
    def bodies(self) -> tuple[Block | None, Block | None]:
        """The blocks that it keeps: the one it prepared last and the one it committed to last."""
        return self.prepare.block if self.prepare else None, self.locked

    def add(self, record: SafetyRecord) -> None:
        """Take one more word, in the order in which they were spoken.

        Raises:
            SafetyRecordError: an honest replica cannot have said it after the ones before.
        """
        match record:
            case ProposalRecord(message):
                self._add_prepare(PrepareRecord(message.height, message.view, message.block, message.seal))
                self.proposal = message
            case PrepareRecord():
                self._add_prepare(record)
            case CommitRecord():
                self._add_commit(record)
            case ViewChangeRecord(message):
                self._add_view_change(message)
            case EnteredRecord(certificate):
                if certificate.view <= self.view:
                    raise SafetyRecordError(certificate.height, f"view {certificate.view} entered after {self.view}")
                self.entered = certificate

    def _add_prepare(self, record: PrepareRecord) -> None:
        if self.prepare is not None and record.view <= self.prepare.view:
            raise SafetyRecordError(record.height, f"PREPARE in view {record.view} after {self.prepare.view}")
        if record.view != self.view:
            raise SafetyRecordError(record.height, f"PREPARE in view {record.view} while in view {self.view}")
        self._require_not_left("PREPARE", record.height, record.view)
        self.prepare = record

    def _add_commit(self, record: CommitRecord) -> None:
        certificate, prepare = record.certificate, self.prepare
        if self.commit is not None and certificate.view <= self.commit.certificate.view:
            said = self.commit.certificate.view
            raise SafetyRecordError(certificate.height, f"COMMIT in view {certificate.view} after {said}")
        self._require_not_left("COMMIT", certificate.height, certificate.view)
        if prepare is None or prepare.view != certificate.view or prepare.block.id != certificate.block_id:
            raise SafetyRecordError(
                certificate.height, f"COMMIT in view {certificate.view} without PREPARE for the same block"
            )
        self.commit, self.locked = record, prepare.block

    def _require_not_left(self, kind: str, height: Height, view: View) -> None:
        if view < self.asked:
            raise SafetyRecordError(height, f"{kind} in view {view} after VIEW-CHANGE to {self.asked}")

    def _add_view_change(self, message: ViewChange) -> None:
        if message.view <= self.asked:
            raise SafetyRecordError(message.height, f"VIEW-CHANGE to {message.view} after view {self.asked}")
        locked = self.commit.certificate if self.commit else None
        if message.certificate != locked:
            raise SafetyRecordError(message.height, f"VIEW-CHANGE to {message.view} hides or invents a certificate")
        self.view_change = message


def reload(height: Height, validator: int, records: Sequence[bytes]) -> OwnWords:
    """Return what this replica, validator number `validator`, has signed at `height`.

    Args:
        height: the height that is being decided.
        validator: its index in the set of that height.
        records: as persisted, in the order in which they were persisted; at most `RECORDS_MAX`.

    Raises:
        SafetyRecordError: a record is unreadable, of another height or signer, or contradicts one before it.
    """
    if len(records) > RECORDS_MAX:
        raise SafetyRecordError(height, f"at most {RECORDS_MAX} are expected, got {len(records)}")
    words = OwnWords()
    for data in records:
        try:
            record = decode_record(data)
        except CodecError as error:
            raise SafetyRecordError(height, str(error)) from error
        said_at, said_by = _origin(record)
        if said_at != height or said_by not in (validator, None):
            raise SafetyRecordError(height, f"validator {said_by} at height {said_at}, expected {validator}")
        words.add(record)
    return words


def encode_record(record: SafetyRecord) -> bytes:
    """Return the canonical bytes of a safety record."""
    return encode(record)


def decode_record(data: bytes) -> SafetyRecord:
    """Return the safety record in `data`.

    Raises:
        CodecError: it is none.
    """
    return cast("SafetyRecord", decode(data, cast("type[Record]", SafetyRecord), bytes_max=RECORD_BYTES_MAX))


def _origin(record: SafetyRecord) -> tuple[int, int | None]:
    match record:
        case ProposalRecord(message):
            return message.height, message.seal.validator
        case PrepareRecord():
            return record.height, record.seal.validator
        case CommitRecord(certificate, seal):
            return certificate.height, seal.validator
        case ViewChangeRecord(message):
            return message.height, message.claim.seal.validator
        case EnteredRecord(entered):
            return entered.height, None
