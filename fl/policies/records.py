"""What is said about policies, and what the state keeps of it. One law: who approves a policy approves its text.

A policy carries the digest of its tree, so that officers who read it in another layout can see that it is the same.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from fl.policies.inputs import APPROVERS_MAX, LINE_MAX, SITE_LIST_MAX
from fl.policies.occasions import Occasion
from fl.policies.tokens import SOURCE_CHARACTERS_MAX
from fl.privacy.records import Mechanism
from ledger.codec import Record
from ledger.fields import DigestField, HeightField, NameField, Uint

POLICIES_MAX: Final = 64
"""In force at once."""

DELAY_MS_MAX: Final = 31 * 86_400_000
PRIVACY_TIER_MAX: Final = 3

PlainLine: TypeAlias = Annotated[str, Meta(max_length=LINE_MAX, pattern=r"^[\x20-\x7e]*\Z")]
"""Printable ASCII."""

PlainLines: TypeAlias = Annotated[tuple[PlainLine, ...], Meta(max_length=SITE_LIST_MAX)]
Delay: TypeAlias = Annotated[int, Meta(ge=0, le=DELAY_MS_MAX)]
Tier: TypeAlias = Annotated[int, Meta(ge=0, le=PRIVACY_TIER_MAX)]


class Policy(Record):
    """A rule that a consortium sets itself."""

    name: NameField
    occasion: Occasion
    """When it judges, and so what it can speak of."""

    description: Annotated[str, Meta(max_length=512)]
    source: Annotated[str, Meta(max_length=SOURCE_CHARACTERS_MAX)]
    """The expression; what is not true denies."""

    tree: DigestField
    """Digest of the expression's tree."""


# Actions


class AdoptPolicy(Record, frozen=True, tag="adopt-policy"):
    """A policy comes into force, in place of the one of its name."""

    policy: Policy
    delay_ms: Delay
    """How long it waits after its vote."""


class RepealPolicy(Record, frozen=True, tag="repeal-policy"):
    """A policy is no longer in force."""

    name: NameField
    delay_ms: Delay
    """How long it waits after its vote."""


class SetTerms(Record, frozen=True, tag="set-terms"):
    """What a task is for, as far as its specification does not say it; in place of what was agreed before."""

    task: NameField
    """Its name; it need not be on the chain yet, and terms stay when it is changed."""

    purpose: PlainLine
    data_set: PlainLine
    """What privacy budgets call the data; a name, or empty."""

    architecture: PlainLine
    code_hash: PlainLine
    """Of the training code, hexadecimal, or empty."""

    privacy_tier: Tier
    """0 open updates, 1 noise by each site, 2 sealed, 3 sealed and noise."""

    retention_heights: Uint
    """Heights after which payloads are to be erased; 0 for no end."""

    reward_share_permille: Annotated[int, Meta(ge=0, le=1_000)]
    """The most that one site may get of a round's reward."""

    mechanism: Mechanism
    """How a site trains in one round: what its privacy budget for the data set is charged with."""


PolicyAction: TypeAlias = AdoptPolicy | RepealPolicy | SetTerms

# Payloads of transactions


class SiteDeclaration(Record):
    """`site.declare`: an officer says what holds for its institution's data; in place of what was said before."""

    region: PlainLine
    purposes: PlainLines
    """What the data may be used for, ascending."""

    privacy_tier: Tier
    """Which tier it trains at."""

    ethics_id: PlainLine
    ethics_expiry_height: HeightField
    """First height at which that approval holds no more."""

    consent: Literal["given", "withdrawn"]
    reviews: PlainLines
    """What its officers review, ascending."""


# Facts of the state


class InForce(Record):
    """A policy, for those who must know when it judges."""

    occasion: Occasion
    name: NameField


class PoliciesInForce(Record):
    """All policies that judge."""

    items: Annotated[tuple[InForce, ...], Meta(max_length=POLICIES_MAX)]
    """Ascending by name."""


class PolicyState(Record):
    """A policy that is or was in force."""

    policy: Policy
    adopted_height: HeightField
    repealed_height: HeightField
    """Block in which it was repealed; 0 while in force."""


class SiteState(Record):
    """What an institution declares."""

    organisation: NameField
    declaration: SiteDeclaration
    officer: NameField
    """Who said it."""

    height: HeightField


class Pace(Record):
    """How many rounds of a task began on a day."""

    day: Uint
    """Days since 1970, of block time."""

    rounds: Uint


class Approver(Record):
    """An officer who approved."""

    organisation: NameField
    officer: NameField


class Approvers(Record):
    """Officers who approved a proposal that policies judge."""

    items: Annotated[tuple[Approver, ...], Meta(max_length=APPROVERS_MAX)]
    """Ascending."""
