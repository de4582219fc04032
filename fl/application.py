"""Federated learning as the chain's application. One law: a kind of transaction is handled in one place, named here.

| kind | payload | who | handled in |
|---|---|---|---|
| `update` | `UpdateSubmission` | an enrolled trainer | `fl.updates` |
| `aggregate` | `AggregateClaim` | the proposing validator | `fl.aggregates` |
| `evaluation` | `EvaluationReport` | an enrolled trainer | `fl.evaluations` |
| `task.propose` | `TaskProposal` | an officer | `fl.tasks` |
| `task.approve` | `TaskApproval` | an officer | `fl.tasks` |
| `governance.propose` | `Proposal` | an officer | `fl.membership.proposals` |
| `governance.approve` | `Approval` | an officer | `fl.membership.proposals` |
| `validator.attest` | `SyncAttestation` | a validator | `fl.membership.proposals` |
| `validator.rotate` | `KeyRotation` | an officer of the validator | `fl.membership.rotation` |
| `site.declare` | `SiteDeclaration` | an officer | `fl.policies.sites` |
| `budget.tighten` | `TightenBudget` | an officer | `fl.privacy.actions` |
| `evidence` | `EvidenceReport` | a validator or participant | `fl.membership.evidence` |
"""

from __future__ import annotations

from typing import Final, TypeVar

from fl import aggregates, evaluations, rounds, tasks, updates
from fl.membership import block_end, evidence, proposals, rotation
from fl.membership.records import Approval, EvidenceReport, KeyRotation, Proposal, SyncAttestation
from fl.policies import sites
from fl.policies.records import SiteDeclaration
from fl.privacy import actions as budgets
from fl.privacy.records import TightenBudget
from fl.records import (
    AggregateClaim,
    EvaluationReport,
    Participant,
    TaskApproval,
    TaskProposal,
    UpdateSubmission,
)
from fl.state import participant_of
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.codec import CodecError, Record, decode, encode
from ledger.receipt import Event
from ledger.reigns import validators_of
from ledger.transaction import TRANSACTION_BYTES_MAX, Transaction, transaction_id

PayloadT = TypeVar("PayloadT", bound=Record)

UPDATE: Final = "update"
AGGREGATE: Final = "aggregate"
EVALUATION: Final = "evaluation"
TASK_PROPOSE: Final = "task.propose"
TASK_APPROVE: Final = "task.approve"
GOVERNANCE_PROPOSE: Final = "governance.propose"
GOVERNANCE_APPROVE: Final = "governance.approve"
VALIDATOR_ATTEST: Final = "validator.attest"
VALIDATOR_ROTATE: Final = "validator.rotate"
EVIDENCE: Final = "evidence"
SITE_DECLARE: Final = "site.declare"
BUDGET_TIGHTEN: Final = "budget.tighten"
_QUEUED: Final[dict[str, type[Record]]] = {
    UPDATE: UpdateSubmission,
    EVALUATION: EvaluationReport,
    TASK_PROPOSE: TaskProposal,
    TASK_APPROVE: TaskApproval,
    GOVERNANCE_PROPOSE: Proposal,
    GOVERNANCE_APPROVE: Approval,
    VALIDATOR_ATTEST: SyncAttestation,
    VALIDATOR_ROTATE: KeyRotation,
    EVIDENCE: EvidenceReport,
    SITE_DECLARE: SiteDeclaration,
    BUDGET_TIGHTEN: TightenBudget,
}
_BY_VALIDATORS: Final = frozenset({AGGREGATE, VALIDATOR_ATTEST, EVIDENCE})
"""Kinds whose sender may be a validator's own key."""


class FederatedLearning:
    """The `ledger.application.Application` of Foedus."""

    version: int = 1

    def admit(self, state: StateReader, transaction: Transaction) -> None:
        """Check that a transaction may wait for its block: a registered sender, a known kind, a payload that decodes.

        Everything else is left to execution, so that whatever a member says and is refused gets a receipt on the chain.

        Raises:
            RefusalError: `transaction.unknown_kind`, `transaction.malformed`, `transaction.unknown_sender`, or
                `aggregate.not_queued`: results are put into blocks by their proposers alone.
        """
        if transaction.kind == AGGREGATE:
            raise RefusalError("aggregate.not_queued", "results are put into blocks by proposers, not submitted")
        if transaction.kind not in _QUEUED:
            raise RefusalError("transaction.unknown_kind", f"no transaction is of kind {transaction.kind}")
        _payload(transaction, _QUEUED[transaction.kind])
        if transaction.kind not in _BY_VALIDATORS or validators_of(state).index_of(transaction.sender) is None:
            _sender(state, transaction)

    def execute(self, state: Overlay, context: BlockContext, transaction: Transaction) -> tuple[Event, ...]:
        """Carry out one transaction.

        Raises:
            RefusalError: `transaction.unknown_kind`, `transaction.malformed`, `transaction.unknown_sender`, or a reason
                of the module that handles its kind.
        """
        match transaction.kind:
            case "update":
                submission = _payload(transaction, UpdateSubmission)
                return updates.submit(state, context, _sender(state, transaction), submission, transaction)
            case "aggregate":
                return aggregates.certify(state, context, transaction.sender, _payload(transaction, AggregateClaim))
            case "evaluation":
                evaluation = _payload(transaction, EvaluationReport)
                return evaluations.report(state, context, _sender(state, transaction), evaluation)
            case "task.propose":
                proposal = _payload(transaction, TaskProposal)
                return tasks.propose(state, context, _sender(state, transaction), proposal)
            case "task.approve":
                approval = _payload(transaction, TaskApproval)
                return tasks.approve(state, context, _sender(state, transaction), approval)
            case _:
                return _execute_membership(state, context, transaction)

    def end_block(self, state: Overlay, context: BlockContext) -> tuple[Event, ...]:
        """Close and fail rounds whose time has come; count votes and change seats."""
        return (*rounds.end_block(state, context), *block_end.end_block(state, context))

    def due_ms(self, state: StateReader) -> int | None:
        """Time of the earliest deadline of a round or a proposal; the past when a decided change waits for a block."""
        due = [moment for moment in (rounds.due_ms(state), block_end.due_ms(state)) if moment is not None]
        return min(due, default=None)


def _execute_membership(state: Overlay, context: BlockContext, transaction: Transaction) -> tuple[Event, ...]:
    match transaction.kind:
        case "governance.propose":
            proposal = _payload(transaction, Proposal)
            return proposals.propose(state, context, _sender(state, transaction), proposal)
        case "governance.approve":
            approval = _payload(transaction, Approval)
            return proposals.approve(state, context, _sender(state, transaction), approval)
        case "validator.attest":
            return proposals.attest(state, context, transaction.sender, _payload(transaction, SyncAttestation))
        case "validator.rotate":
            return rotation.rotate(state, context, _sender(state, transaction), _payload(transaction, KeyRotation))
        case "site.declare":
            return sites.declare(state, context, _sender(state, transaction), _payload(transaction, SiteDeclaration))
        case "budget.tighten":
            return budgets.tighten(state, _sender(state, transaction), _payload(transaction, TightenBudget))
        case "evidence":
            shown = _payload(transaction, EvidenceReport)
            if context.validators.index_of(transaction.sender) is None:
                _sender(state, transaction)
            return evidence.report(state, context, shown, transaction_id(encode(transaction)))
        case _:
            raise RefusalError("transaction.unknown_kind", f"no transaction is of kind {transaction.kind}")


def _payload(transaction: Transaction, record_type: type[PayloadT]) -> PayloadT:
    try:
        return decode(transaction.payload, record_type, bytes_max=TRANSACTION_BYTES_MAX)
    except CodecError as error:
        # Not the decoder's words: receipts are hashed, and a library's messages change from version to version.
        detail = f"the payload is not the canonical encoding of a {record_type.__name__}"
        raise RefusalError("transaction.malformed", detail) from error


def _sender(state: StateReader, transaction: Transaction) -> Participant:
    participant = participant_of(state, transaction.sender)
    if participant is None:
        raise RefusalError("transaction.unknown_sender", f"{transaction.sender.hex()} is not registered")
    return participant
