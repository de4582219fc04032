"""A consortium without a network: keys, a first state, and blocks executed as a node executes them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fl.aggregates import sign_result
from fl.aggregators import RuleSpec
from fl.application import FederatedLearning
from fl.genesis_state import learning_genesis_changes
from fl.grid import update_to_bytes
from fl.records import AggregateClaim, LearningGenesis, Participant, RoundState, TaskSpec, TaskState, UpdateSubmission
from fl.results import ComputedRound, closed_jobs, compute
from fl.schema import ModelSchema, TensorSpec
from fl.state import present, round_of, task_of
from ledger.application import BlockContext
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.execution import BlockBuilder, Execution, genesis_changes, next_nonce
from ledger.fields import Height
from ledger.identity import PublicKey, SigningKey
from ledger.parameters import ConsensusParameters
from ledger.payload import (
    Acknowledgement,
    AvailabilityCertificate,
    Verdict,
    describe,
    sign_acknowledgement,
)
from ledger.receipt import Receipt
from ledger.state_map import StateMap
from ledger.transaction import sign_transaction
from ledger.validators import Validator, ValidatorSet

CHAIN = digest("test-chain")
GENESIS_HEIGHT = Height(0)
SCHEMA = ModelSchema((TensorSpec("weight", (3, 2), 0), TensorSpec("bias", (2,), 0)))
NAMES = ("cleveland", "hungary", "switzerland", "va")


def key_of(name: str, use: str) -> SigningKey:
    """Return the key that `name` always has for `use`."""
    return SigningKey(digest("test-key", name.encode(), use.encode()))


def validators_of(names: tuple[str, ...]) -> ValidatorSet:
    """Return a set with one validator a name."""
    return ValidatorSet.of(
        tuple(
            Validator(name, key_of(name, "validator").public_key, key_of(name, "transport").public_key, "")
            for name in names
        )
    )


def task_spec(**changes: object) -> TaskSpec:
    """Return a task of four participants under nearest-neighbour mixing and trimmed mean, with changes."""
    fields: dict[str, object] = {
        "id": "heart",
        "description": "",
        "schema": SCHEMA,
        "initial_model": None,
        "rule": RuleSpec("trimmed-mean/1", 1, ("nnm/1",)),
        "clip_norm_micros": 0,
        "updates_min": 3,
        "updates_max": 4,
        "collect_ms": 1_000,
        "aggregate_ms": 2_000,
        "rounds": 10,
        "participants": (),
    }
    return TaskSpec(**(fields | changes))  # type: ignore[arg-type]


@dataclass
class Consortium:
    """Four institutions, each a validator with a trainer and an officer."""

    state: StateMap
    validators: ValidatorSet
    height: Height = GENESIS_HEIGHT
    time_ms: int = 1_000
    parent_id: Digest = CHAIN
    application: FederatedLearning = field(default_factory=FederatedLearning)
    payloads: dict[Digest, bytes] = field(default_factory=dict)

    @classmethod
    def begin(cls, *tasks: TaskSpec, names: tuple[str, ...] = NAMES) -> Consortium:
        """Return a consortium whose genesis document has these tasks."""
        validators = validators_of(names)
        participants = tuple(
            Participant(name, name, key_of(name, "participant").public_key, ("trainer", "officer")) for name in names
        )
        base = StateMap.build(genesis_changes(validators, ConsensusParameters()).items())
        changes = learning_genesis_changes(LearningGenesis(participants, tasks), base, 1_000, validators)
        return cls(base.update(changes), validators)

    def transaction(self, name: str, kind: str, payload: Record, *, key: SigningKey | None = None) -> bytes:
        """Return what participant `name` says next."""
        signer = key or key_of(name, "participant")
        return encode(sign_transaction(signer, CHAIN, kind, next_nonce(self.state, signer.public_key), payload))

    def block(self, *raws: bytes, after_ms: int = 1, proposer: int = 0) -> Execution:
        """Append a block with these transactions."""
        context = BlockContext(
            CHAIN, Height(self.height + 1), self.time_ms + after_ms, self.parent_id, self.validators, proposer
        )
        builder = BlockBuilder(self.application, self.state, context)
        for raw in raws:
            builder.add(raw)
        execution = builder.finish()
        self.state, self.height, self.time_ms = execution.state, context.height, context.time_ms
        self.parent_id = execution.block.id
        return execution

    def say(self, name: str, kind: str, payload: Record) -> Receipt:
        """Append a block with one statement and return its receipt."""
        return self.block(self.transaction(name, kind, payload)).receipts[0]

    def update(self, name: str, words: NDArray[np.int16], **changes: object) -> UpdateSubmission:
        """Return a participant's update to the open round, available everywhere, with changes."""
        payload = digest("test-salt", name.encode(), words.tobytes()) + update_to_bytes(words)
        verdict: Verdict = "ok" if np.all(np.abs(words.astype(np.int32)) <= 8191) else "out_of_range"
        current = self.round()
        fields: dict[str, object] = {
            "task": current.task,
            "round": current.number,
            "base_version": current.base_version,
            "samples": 100,
            "saturated": 0,
            "metrics": (),
            "availability": self.keep(payload, verdict),
        }
        return UpdateSubmission(**(fields | changes))  # type: ignore[arg-type]

    def keep(self, payload: bytes, verdict: Verdict = "ok", *, seals: int | None = None) -> AvailabilityCertificate:
        """Let validators keep a payload, a quorum of them unless told otherwise, and return their word."""
        acknowledgement = Acknowledgement(describe(payload), verdict)
        self.payloads[acknowledgement.payload.id] = payload
        count = self.validators.quorum if seals is None else seals
        signers = [key_of(member.name, "validator") for member in self.validators.members[:count]]
        return AvailabilityCertificate(
            acknowledgement,
            tuple(sign_acknowledgement(key, CHAIN, self.validators, acknowledgement) for key in signers),
        )

    def task(self, name: str = "heart") -> TaskState:
        """Return where a task stands."""
        return present(task_of(self.state, name), "the task")

    def round(self, name: str = "heart") -> RoundState:
        """Return a task's latest round."""
        return present(round_of(self.state, name, self.task(name).round), "the round")

    def compute(self) -> ComputedRound:
        """Compute the closed round as a validator does."""
        job = next(closed_jobs(self.state))
        base = None if job.base.payload is None else self.payloads[job.base.payload.id]
        updates = [self.payloads[update.payload.id] for update in job.updates]
        earlier = [None if one.payload is None else self.payloads[one.payload.id] for one in job.earlier]
        computed = compute(job, base, updates, earlier)
        self.payloads[computed.result.model.id] = computed.model_payload
        return computed

    def claim(self, computed: ComputedRound, *, seals: int | None = None) -> AggregateClaim:
        """Let validators sign a result, a quorum of them unless told otherwise."""
        count = self.validators.quorum if seals is None else seals
        signers = [key_of(member.name, "validator") for member in self.validators.members[:count]]
        return AggregateClaim(
            computed.result, tuple(sign_result(key, CHAIN, self.validators, computed.result) for key in signers)
        )

    def certify(self, claim: AggregateClaim) -> Receipt:
        """Append a block with a claim of the first validator and return its receipt."""
        key = key_of(self.validators.members[0].name, "validator")
        return self.block(self.transaction("", "aggregate", claim, key=key)).receipts[0]

    def fill_round(self, rows: NDArray[np.int16]) -> None:
        """Append a block with one update a participant, which closes the round."""
        self.block(
            *(self.transaction(name, "update", self.update(name, row)) for name, row in zip(NAMES, rows, strict=False))
        )


def member_key(name: str) -> PublicKey:
    """Return a participant's public key."""
    return key_of(name, "participant").public_key
