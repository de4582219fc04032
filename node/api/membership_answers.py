"""What the API says of membership. One law: as in `answers`, digests and keys are hexadecimal."""

from __future__ import annotations

from node.api.answers import Answer
from node.api.budget_answers import BudgetAnswer
from node.api.policy_answers import PolicyItem, TermsAnswer


class ValidatorItem(Answer, frozen=True):
    """One validator."""

    name: str
    public_key: str
    transport_key: str
    address: str


class ValidatorsAnswer(Answer, frozen=True):
    """The set that decides a height."""

    height: int
    validators_hash: str
    quorum: int
    faulty_max: int
    items: tuple[ValidatorItem, ...]


class SeatChangeItem(Answer, frozen=True):
    """A change of a seat that is decided and not carried out."""

    name: str
    validator: ValidatorItem | None
    """Who gets the seat; none when it is taken away."""


class SuspensionItem(Answer, frozen=True):
    """A validator whose seat is taken away by rule."""

    name: str
    offence: str
    height: int
    """Block that suspended it."""

    sits: bool
    """It still decides the next height: its seat can go only once enough others are left."""


class ChangesAnswer(Answer, frozen=True):
    """What becomes of the set."""

    height: int
    """The height after the next one, which `coming` decides."""

    coming: tuple[ValidatorItem, ...]
    waiting: tuple[SeatChangeItem, ...]
    suspended: tuple[SuspensionItem, ...]


class ReignItem(Answer, frozen=True):
    """A set, and the first height that it decides."""

    first: int
    validators_hash: str


class ReignsAnswer(Answer, frozen=True):
    """Which set decides from which height on, ascending."""

    items: tuple[ReignItem, ...]


class ProposalItem(Answer, frozen=True):
    """What is or was up for a vote."""

    number: int
    action: str
    """`add-member`, `remove-member`, `replace-keys`, `reinstate-member`, `pause-learning`, `resume-learning`,
    `change-task`, `release-model`, `adopt-policy`, `repeal-policy`, `set-terms` or `set-budget`."""

    subject: str
    """The institution, the task (`*` for all), the model (`task/version`), the policy, or the site and data set of a
    budget that it is about."""

    digest: str
    """Approvals name it."""

    organisation: str
    status: str
    """`open`, `waiting`, `enacted`, `failed` or `lapsed`."""

    approvals: tuple[str, ...]
    attestations: tuple[str, ...]
    proposed_height: int
    due_ms: int
    lapses_ms: int
    decided_height: int
    reason: str
    policy: PolicyItem | None = None
    """What is to come into force, if it is a policy."""

    terms: TermsAnswer | None = None
    """What is to hold for a task, if that is what is voted on."""

    budget: BudgetAnswer | None = None
    """What limits are to hold, if that is what is voted on."""

    held_by: str = ""
    """Which policy, clause and values keep it from being enacted although it has its votes."""


class ProposalsAnswer(Answer, frozen=True):
    """Proposals, newest first."""

    items: tuple[ProposalItem, ...]
    next: int | None = None
    """Value of `before` for the next page; none after the last."""


class OffenceItem(Answer, frozen=True):
    """What a validator has been convicted of."""

    validator: str
    kind: str
    offence_height: int
    view: int
    transaction: str
    """Where the proof stands."""

    height: int
    """Of its block."""


class OffencesAnswer(Answer, frozen=True):
    """Proven offences, ascending by validator."""

    items: tuple[OffenceItem, ...]
    next: str | None = None
    """Value of `after` for the next page; none after the last."""
