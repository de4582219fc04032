"""The consortium of a run: n institutions, each with a validator and a trainer, and one tiny task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fl.aggregators import RuleSpec
from fl.records import LearningGenesis, Participant, TaskSpec
from fl.schema import ModelSchema, TensorSpec
from genesis.document import GenesisDocument, initial_state
from ledger.digest import digest
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.state_map import StateMap
from ledger.validators import ValidatorSet
from tests.simulation import toy
from tests.simulation.whole.trainer import SIZE, TASK

GENESIS_TIME_MS: Final = 1_700_000_000_000
PARAMETERS: Final = ConsensusParameters(
    view_timeout_ms=500, view_timeout_ms_max=4_000, resend_ms=200, clock_drift_ms_max=5_000
)
COLLECT_MS: Final = 2_500
AGGREGATE_MS: Final = 4_000
ROUNDS: Final = 30


@dataclass(frozen=True, slots=True)
class Consortium:
    """Keys and the agreement."""

    document: GenesisDocument
    state: StateMap
    validators: ValidatorSet
    keys: tuple[SigningKey, ...]
    """Validators' keys, by index."""

    trainers: tuple[SigningKey, ...]


@lru_cache(maxsize=16)
def consortium_of(n: int) -> Consortium:
    """Return the consortium of n institutions, always the same."""
    keys = toy.signing_keys(n)
    validators = toy.validator_set(keys)
    trainers = tuple(SigningKey(digest("simulated-trainer", bytes([index]))) for index in range(n))
    participants = tuple(
        Participant(member.name, member.name, key.public_key, ("trainer", "officer"))
        for member, key in zip(validators.members, trainers, strict=True)
    )
    document = GenesisDocument(
        "simulation", GENESIS_TIME_MS, validators, PARAMETERS, LearningGenesis(participants, (_task(n),))
    )
    return Consortium(document, initial_state(document), validators, tuple(keys), trainers)


def _task(n: int) -> TaskSpec:
    f = (n - 1) // 3
    rule = RuleSpec("trimmed-mean/1", f, ()) if n > 2 * f + 1 else RuleSpec("median/1", 0, ())
    return TaskSpec(
        id=TASK,
        description="",
        schema=ModelSchema((TensorSpec("weight", (SIZE,), 0),)),
        initial_model=None,
        rule=rule,
        clip_norm_micros=0,
        updates_min=max(1, n - f),
        updates_max=n,
        collect_ms=COLLECT_MS,
        aggregate_ms=AGGREGATE_MS,
        rounds=ROUNDS,
        participants=(),
    )
