"""What the API answers, as the server writes it and the client reads it. One law: v1 never renames or removes a field.

Bytes are lower-case hex, times are milliseconds since 1970-01-01 UTC, metrics are plain numbers.
"""

from __future__ import annotations

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers; clients ignore fields that they do not know."""


class BlockItem(Answer, frozen=True):
    """A block in a list."""

    height: int
    id: str
    time_ms: int
    parent_id: str
    proposer: int
    transactions: int | None
    """None when this node has only ever had the header."""

    size_bytes: int
    pruned: bool = False
    """Whether the header alone is here."""


class BlocksAnswer(Answer, frozen=True):
    """Blocks, newest first."""

    items: tuple[BlockItem, ...]
    next: int | None = None
    """Value of `before` for the next page; none after the last."""


class HeaderAnswer(Answer, frozen=True):
    """All that a quorum signed."""

    chain_id: str
    height: int
    time_ms: int
    parent_id: str
    transactions_root: str
    state_root: str
    receipts_root: str
    validators_hash: str
    next_validators_hash: str
    parameters_hash: str
    application_version: int
    proposer: int


class SealAnswer(Answer, frozen=True):
    """One validator's signature."""

    validator: int
    signature: str


class CertificateAnswer(Answer, frozen=True):
    """A quorum's COMMIT votes."""

    height: int
    view: int
    block_id: str
    seals: tuple[SealAnswer, ...]


class EventAnswer(Answer, frozen=True):
    """What happened in the application."""

    kind: str
    subject: str
    detail: str


class ReceiptAnswer(Answer, frozen=True):
    """What became of a transaction."""

    code: str
    """`ok`, or the reason of the refusal."""

    detail: str
    events: tuple[EventAnswer, ...]


class BlockAnswer(Answer, frozen=True):
    """A whole block but for the content of its transactions."""

    id: str
    header: HeaderAnswer
    certificate: CertificateAnswer
    transactions: tuple[str, ...]
    """Ids, in their order."""

    receipts: tuple[ReceiptAnswer, ...]
    """One a transaction, then the block's own."""


class TransactionItem(Answer, frozen=True):
    """A transaction in a list."""

    id: str
    height: int
    index: int
    kind: str
    sender: str
    nonce: int
    code: str
    detail: str


class TransactionsAnswer(Answer, frozen=True):
    """Transactions, newest first."""

    items: tuple[TransactionItem, ...]
    next: int | None = None
    """Value of `before` for the next page; none after the last."""


class InclusionAnswer(Answer, frozen=True):
    """RFC 9162 path from the transaction to the header's transactions root."""

    index: int
    count: int
    path: tuple[str, ...]


class TransactionAnswer(Answer, frozen=True):
    """A transaction that stands in a block."""

    id: str
    height: int
    index: int
    kind: str
    sender: str
    nonce: int
    raw: str
    receipt: ReceiptAnswer
    inclusion: InclusionAnswer


class SubmittedAnswer(Answer, frozen=True):
    """A transaction that was taken."""

    id: str
    status: str
    """`pending`: it waits for a block. `committed`: `height`, `index` and `receipt` say where it is and its outcome."""

    height: int | None = None
    index: int | None = None
    receipt: ReceiptAnswer | None = None


class NonceAnswer(Answer, frozen=True):
    """Nonces of a key."""

    key: str
    committed: int
    """The first that no block has used."""

    next: int
    """The first that neither a block nor a waiting transaction uses: sign the next transaction with it."""


class ParticipantItem(Answer, frozen=True):
    """Someone who may speak."""

    name: str
    organisation: str
    public_key: str
    roles: tuple[str, ...]


class ParticipantsAnswer(Answer, frozen=True):
    """Participants, ascending by key."""

    items: tuple[ParticipantItem, ...]
    next: str | None = None
    """Value of `after` for the next page; none after the last."""


class RoundAnswer(Answer, frozen=True):
    """Where a round stands."""

    task: str
    number: int
    status: str
    base_version: int
    exponents: tuple[int, ...]
    opened_height: int
    opened_ms: int
    deadline_ms: int
    closed_height: int
    participants: tuple[str, ...]
    organisations: tuple[str, ...]
    version: int
    reason: str


class RoundsAnswer(Answer, frozen=True):
    """Rounds, newest first."""

    items: tuple[RoundAnswer, ...]
    next: int | None = None


class UpdateAnswer(Answer, frozen=True):
    """An update that is in a round, and what the rule made of it; its words are for validators alone."""

    task: str
    round: int
    participant: str
    organisation: str
    transaction: str
    height: int
    payload: str
    size_bytes: int
    samples: int
    saturated: int
    metrics: dict[str, float]
    weight: int | None = None
    norm: int | None = None
    retained: int | None = None
    retained_of: int | None = None
    left_out: bool | None = None
    """Whether the rule did without it; none until the round is certified."""


class UpdatesAnswer(Answer, frozen=True):
    """A round's updates, ascending by participant."""

    items: tuple[UpdateAnswer, ...]
    next: str | None = None


class ModelAnswer(Answer, frozen=True):
    """One version of a task's model."""

    task: str
    version: int
    round: int
    parent_version: int
    result: str
    height: int
    payload: str | None
    """Payload id; none for a model of all zeros."""

    payload_size: int | None
    payload_root: str | None
    released_height: int | None
    """Block in which its release was decided; none for a model that is not released."""


class ModelsAnswer(Answer, frozen=True):
    """Models, newest first."""

    items: tuple[ModelAnswer, ...]
    next: int | None = None


class EvaluationAnswer(Answer, frozen=True):
    """A participant's figures of a model, as attested."""

    task: str
    version: int
    participant: str
    samples: int
    metrics: dict[str, float]
    height: int


class EvaluationsAnswer(Answer, frozen=True):
    """Evaluations of a model, ascending by participant."""

    items: tuple[EvaluationAnswer, ...]
    next: str | None = None


class ProofAnswer(Answer, frozen=True):
    """A light proof; `proof` is the canonical encoding of `ledger.light.LightProof`."""

    height: int
    block_id: str
    found: bool
    """Whether the fact is there; a state proof may also prove that it is not."""

    value: str | None
    proof: str


class UploadAnswer(Answer, frozen=True):
    """How far an upload is."""

    payload: str
    size: int
    stored: bool
    """Whether all of it is verified and on disk."""

    verdict: str | None
    """What the content check said once it is stored."""

    missing: tuple[int, ...]
    """First chunks of 1 MiB that are still to be sent, ascending."""

    missing_count: int


class AvailabilityAnswer(Answer, frozen=True):
    """An availability certificate."""

    payload: str
    verdict: str
    validators: tuple[int, ...]
    certificate: str
    """Canonical encoding of `ledger.payload.AvailabilityCertificate`."""


class HealthAnswer(Answer, frozen=True):
    """Whether the node works."""

    status: str
    detail: str = ""
