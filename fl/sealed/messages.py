"""What participants and validators post, in the order of a round. One law: one statement of a kind from each.

Vectors travel beside the ledger; a message names one by its root, with what the ledger's availability certificates make
sure of: a quorum can produce the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fl.sealed.certificate import Certified, Violated
from fl.sealed.keys import Deal
from ledger.digest import Digest

Fault = Literal[
    "no_deal",
    "false_deal",
    "false_complaint",
    "false_product",
    "false_reveal",
    "false_share",
    "false_fold",
    "false_sum",
    "false_suspicion",
    "false_verdict",
    "false_outcome",
    "false_functional",
    "equivocation",
    "out_of_range",
    "too_long",
]
"""What a validator or participant is named for."""

Refusal = Literal[
    "not_now", "not_yours", "malformed", "repeated", "unknown_participant", "unknown_validator", "nothing_to_answer"
]
"""Why a message changed nothing."""


@dataclass(frozen=True, slots=True)
class Blame:
    """Somebody provably broke the protocol."""

    role: Literal["validator", "participant"]
    seat: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Dealing:
    """A participant's deal."""

    participant: int
    deal: Deal


@dataclass(frozen=True, slots=True)
class Complaint:
    """A validator's word that its box of a deal does not hold the keys that the hashes name."""

    validator: int
    participant: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The seed of the box that a validator complained about."""

    participant: int
    validator: int
    seed: bytes


@dataclass(frozen=True, slots=True)
class Products:
    """A validator's masked products of all pairs of pads of a slot."""

    validator: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reveal:
    """A validator's subkeys of a disputed slot: per dealer, in the order of its sets."""

    validator: int
    subkeys: tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True)
class Update:
    """A participant's hidden update, by root, and its sample count."""

    participant: int
    root: Digest
    samples: int


@dataclass(frozen=True, slots=True)
class GramShares:
    """A validator's shares of the updates' inner products, in the order of pairs."""

    validator: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SumCommitment:
    """A validator's share of the weighted sum of pads, by root."""

    validator: int
    root: Digest


@dataclass(frozen=True, slots=True)
class Folds:
    """A validator's share of the sum, folded by the challenge's vectors."""

    validator: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A validator's word that the vector another one committed to does not fold to its share."""

    validator: int
    accused: int


@dataclass(frozen=True, slots=True)
class SuspicionVerdict:
    """What a validator found when it looked at a suspected vector."""

    validator: int
    accused: int
    is_wrong: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """The sum that a validator computed, by root, and whether it passed the certificate."""

    validator: int
    root: Digest
    verdict: Certified | Violated


@dataclass(frozen=True, slots=True)
class Functionals:
    """A validator's shares of one functional of each selected update."""

    validator: int
    number: int
    values: tuple[int, ...]


SetupMessage: TypeAlias = Dealing | Complaint | Answer
SlotMessage: TypeAlias = Products | Reveal
RoundMessage: TypeAlias = (
    Update | GramShares | SumCommitment | Folds | Suspicion | SuspicionVerdict | Outcome | Functionals
)
