"""What policies judge. One law: each field says who answers for it.

*Enforced* means that execution itself computed it from what is on the chain. *Agreed* means that a quorum voted for
it. *Attested* means that somebody signed it and nobody else checked: a policy on it binds those who tell the truth, and
gives a signed lie to hold against those who do not.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from fl.policies.types import Input
from fl.records import METRICS_MAX, PARTICIPANTS_MAX

SITE_LIST_MAX: Final = 16
LINE_MAX: Final = 128
APPROVERS_MAX: Final = 256
STEPS_MAX: Final = 8

Line = Annotated[str, Meta(max_length=LINE_MAX)]
Lines: TypeAlias = Annotated[tuple[Line, ...], Meta(max_length=SITE_LIST_MAX)]
Names: TypeAlias = Annotated[tuple[Line, ...], Meta(max_length=PARTICIPANTS_MAX)]


class TaskInput(Input):
    """A task."""

    id: Line
    """Enforced: its name."""

    specification: Line
    """Enforced: digest of its specification, hexadecimal."""

    rule: Line
    """Enforced: the aggregation rule."""

    steps: Annotated[tuple[Line, ...], Meta(max_length=STEPS_MAX)]
    """Enforced: what comes before the rule."""

    attackers: int
    """Enforced: how many liars the rule assumes."""

    clip_norm_micros: int
    """Enforced: bound on an update's length in millionths; 0 for none."""

    updates_min: int
    """Enforced."""

    updates_max: int
    """Enforced."""

    rounds: int
    """Enforced: certified rounds after which it ends."""

    parameters: int
    """Enforced: numbers in the model."""

    participants: Names
    """Enforced: who may submit; empty for every trainer."""

    has_terms: bool
    """Enforced: whether a quorum agreed to terms of a task of this name; else the agreed fields are empty or 0."""

    purpose: Line
    """Agreed: what the model is for."""

    data_set: Line
    """Agreed: what privacy budgets call the data."""

    architecture: Line
    """Agreed: what kind of model it is."""

    code_hash: Line
    """Agreed: of the training code, hexadecimal; that it is what runs is not checked."""

    privacy_tier: int
    """Agreed: 0 open updates, 1 noise by each site, 2 sealed, 3 sealed and noise."""

    retention_heights: int
    """Agreed: heights after which payloads are to be erased; 0 for no end."""

    reward_share_permille: int
    """Agreed: the most that one site may get of a round's reward."""


class SiteInput(Input):
    """An institution, as it has declared itself."""

    name: Line
    """Enforced."""

    has_declared: bool
    """Enforced: whether an officer of it made a declaration; else the attested fields are empty or 0."""

    region: Line
    """Attested: where its data is."""

    purposes: Lines
    """Attested: what its data may be used for."""

    privacy_tier: int
    """Attested: which tier it trains at; as a task's."""

    ethics_id: Line
    """Attested: its ethics approval."""

    ethics_expiry_height: int
    """Attested: first height at which that approval holds no more."""

    consent_withdrawn: bool
    """Attested: it has withdrawn its data."""

    reviews: Lines
    """Attested: what its officers review, such as `clinical`."""

    offences: int
    """Enforced: proven offences of its validator."""

    judged: int
    """Enforced: its updates in the task's latest certified rounds, at most 16 rounds."""

    left_out: int
    """Enforced: how many of these the rule did without."""


class MetricInput(Input):
    """A figure that a participant reported."""

    name: Line
    """Attested."""

    value: int
    """Attested: in millionths."""


Metrics: TypeAlias = Annotated[tuple[MetricInput, ...], Meta(max_length=METRICS_MAX)]


class UpdateInput(Input):
    """An update that would come in."""

    participant: Line
    """Enforced."""

    organisation: Line
    """Enforced."""

    samples: int
    """Attested: training examples behind it."""

    saturated: int
    """Attested: coordinates that were cut off."""

    metrics: Metrics
    """Attested."""


class MemberInput(Input):
    """An update that is in a round."""

    participant: Line
    """Enforced."""

    organisation: Line
    """Enforced."""

    samples: int
    """Attested."""


class RoundInput(Input):
    """A round."""

    number: int
    """Enforced."""

    base_version: int
    """Enforced: model it starts from."""

    opened_height: int
    """Enforced."""

    begun_today: int
    """Enforced: rounds of the task that began on this UTC day of block time, without this one until it has begun;
    counted while any policy is in force."""

    samples: int
    """Attested: sum over the updates in it."""

    members: Annotated[tuple[MemberInput, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """Enforced: updates in it, ascending by participant."""

    organisations: Names
    """Enforced: who answers for them, ascending."""

    previous: Names
    """Enforced: the organisations of the task's latest certified round, ascending."""


class BudgetInput(Input):
    """What a site's privacy budget for the task's data set would be once this round is charged."""

    has_account: bool
    """Enforced: whether a quorum gave it a budget for the data set; else all is 0."""

    round_nanos: int = 0
    """Enforced arithmetic on agreed terms: epsilon of one round alone, in billionths; that the noise was added is
    attested."""

    period_nanos: int = 0
    """Enforced arithmetic: epsilon of the period with this round."""

    period_limit_nanos: int = 0
    """Agreed."""

    lifetime_nanos: int = 0
    """Enforced arithmetic: epsilon of all time with this round."""

    lifetime_limit_nanos: int = 0
    """Agreed."""


class ApprovalInput(Input):
    """An officer's approval of a proposal."""

    officer: Line
    """Enforced."""

    organisation: Line
    """Enforced."""

    reviews: Lines
    """Attested: what the organisation declares to review."""


class ProposalInput(Input):
    """What is voted on."""

    action: Line
    """Enforced: `set-terms`, `set-budget` or `release-model`."""

    subject: Line
    """Enforced: what it is about."""

    organisation: Line
    """Enforced: who proposed it."""

    approvals: Annotated[tuple[ApprovalInput, ...], Meta(max_length=APPROVERS_MAX)]
    """Enforced: officers who approved, ascending."""


class EvaluationInput(Input):
    """A participant's figures of the model that is to be released."""

    participant: Line
    """Enforced."""

    organisation: Line
    """Enforced."""

    samples: int
    """Attested: held-out examples."""

    metrics: Metrics
    """Attested."""


class ReleaseInput(Input):
    """A model that is to be released."""

    version: int
    """Enforced."""

    round: int
    """Enforced: which produced it."""

    contributors: Names
    """Enforced: organisations whose updates were in that round, ascending."""

    evaluators: Names
    """Enforced: organisations that reported figures of it, ascending."""

    evaluations: Annotated[tuple[EvaluationInput, ...], Meta(max_length=PARTICIPANTS_MAX)]
    """Enforced that they were signed, attested what they say; ascending by participant."""
