"""A consortium's history, made in memory: genesis document, certified blocks, payloads. Always the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fl.aggregates import sign_result
from fl.aggregators import RuleSpec
from fl.application import FederatedLearning
from fl.grid import update_to_bytes
from fl.records import AggregateClaim, EvaluationReport, LearningGenesis, Participant, TaskSpec, UpdateSubmission
from fl.results import closed_jobs, compute
from fl.schema import ModelSchema, TensorSpec
from fl.state import present, round_of, task_of
from genesis.document import GenesisDocument, initial_state
from ledger.application import Application, BlockContext
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, make_certificate, sign_vote
from ledger.chain import Anchor, genesis_anchor
from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.execution import BlockBuilder, Execution, next_nonce
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.payload import Acknowledgement, AvailabilityCertificate, describe, sign_acknowledgement
from ledger.reigns import validators_of
from ledger.state_map import StateMap
from ledger.transaction import sign_transaction
from ledger.validators import Validator, ValidatorSet

GENESIS_MS = 1_760_000_000_000
NAMES = ("cleveland", "hungary", "switzerland", "va")
WORDS = 8


def key_of(name: str, use: str) -> SigningKey:
    """Return the key that `name` always has for `use`."""
    return SigningKey(digest("test-key", name.encode(), use.encode()))


def member(name: str) -> Validator:
    """Return `name` as a validator."""
    return Validator(name, key_of(name, "validator").public_key, key_of(name, "transport").public_key, "")


def document_of(names: Sequence[str] = NAMES) -> GenesisDocument:
    """Return the agreement of these institutions, one trainer each, to learn a tiny model."""
    task = TaskSpec(
        id="heart",
        description="eight weights",
        schema=ModelSchema((TensorSpec("weight", (3, 2), 0), TensorSpec("bias", (2,), 0))),
        initial_model=None,
        rule=RuleSpec("trimmed-mean/1", 1, ("arc/1", "nnm/1")),
        clip_norm_micros=0,
        updates_min=3,
        updates_max=4,
        collect_ms=1_000,
        aggregate_ms=2_000,
        rounds=1_000,
        participants=(),
    )
    participants = tuple(
        Participant(name, name, key_of(name, "participant").public_key, ("trainer", "officer")) for name in names
    )
    return GenesisDocument(
        chain_name="recorded",
        time_ms=GENESIS_MS,
        validators=ValidatorSet.of(tuple(member(name) for name in names)),
        parameters=ConsensusParameters(),
        learning=LearningGenesis(participants, (task,)),
    )


@dataclass
class Recorded:
    """The history; grows block by block."""

    document: GenesisDocument
    application: Application = field(default_factory=FederatedLearning)
    blocks: list[CertifiedBlock] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    payloads: dict[Digest, bytes] = field(default_factory=dict)

    @classmethod
    def begin(cls, names: Sequence[str] = NAMES) -> Recorded:
        """Return the history before block 1."""
        return cls(document_of(names))

    @property
    def genesis_state(self) -> StateMap:
        """State before block 1."""
        return initial_state(self.document)

    @property
    def anchor(self) -> Anchor:
        """Where the history begins."""
        return genesis_anchor(self.document.chain_id, self.document.time_ms, self.genesis_state)

    @property
    def state(self) -> StateMap:
        """State after the last block."""
        return self.executions[-1].state if self.executions else self.genesis_state

    def transaction(self, name: str, kind: str, payload: Record, *, use: str = "participant", ahead: int = 0) -> bytes:
        """Return what `name` says next, or after `ahead` more."""
        key = key_of(name, use)
        nonce = next_nonce(self.state, key.public_key) + ahead
        return encode(sign_transaction(key, self.document.chain_id, kind, nonce, payload))

    def block(self, *raws: bytes, after_ms: int = 1, signers: int | None = None) -> CertifiedBlock:
        """Append a block with these transactions, certified by a quorum unless told otherwise."""
        parent, state = self.blocks[-1].block if self.blocks else None, self.state
        validators = validators_of(state)
        context = BlockContext(
            self.document.chain_id,
            Height(len(self.blocks) + 1),
            (parent.header.time_ms if parent else self.document.time_ms) + after_ms,
            parent.id if parent else self.document.chain_id,
            validators,
            (len(self.blocks) + 1) % len(validators),
        )
        builder = BlockBuilder(self.application, state, context)
        for raw in raws:
            builder.add(raw)
        execution = builder.finish()
        certified = certify(self.document.chain_id, validators, execution, signers)
        self.blocks.append(certified)
        self.executions.append(execution)
        return certified

    def update(self, name: str, words: NDArray[np.int16]) -> bytes:
        """Return a participant's update to the open round as a transaction; its payload is kept."""
        payload = digest("test-salt", name.encode(), words.tobytes()) + update_to_bytes(words)
        acknowledgement = Acknowledgement(describe(payload), "ok")
        self.payloads[acknowledgement.payload.id] = payload
        validators = validators_of(self.state)
        seals = tuple(
            sign_acknowledgement(key_of(one.name, "validator"), self.document.chain_id, validators, acknowledgement)
            for one in validators.members[: validators.quorum]
        )
        task = present(task_of(self.state, "heart"), "the task")
        submission = UpdateSubmission(
            task="heart",
            round=task.round,
            base_version=task.version,
            samples=100 + len(name),
            saturated=0,
            metrics=(("loss", 250_000),),
            availability=AvailabilityCertificate(acknowledgement, seals),
        )
        return self.transaction(name, "update", submission)

    def claim(self) -> bytes:
        """Return the closed round's aggregate as a transaction of the first validator."""
        job = next(closed_jobs(self.state))
        base = None if job.base.payload is None else self.payloads[job.base.payload.id]
        updates = [self.payloads[update.payload.id] for update in job.updates]
        earlier = [None if one.payload is None else self.payloads[one.payload.id] for one in job.earlier]
        computed = compute(job, base, updates, earlier)
        self.payloads[computed.result.model.id] = computed.model_payload
        validators = validators_of(self.state)
        seals = tuple(
            sign_result(key_of(one.name, "validator"), self.document.chain_id, validators, computed.result)
            for one in validators.members[: validators.quorum]
        )
        first = validators.members[0].name
        return self.transaction(first, "aggregate", AggregateClaim(computed.result, seals), use="validator")

    def learn(self, rounds: int = 1) -> None:
        """Append two blocks a round: the updates of all, then their aggregate; the first trainer also reports twice."""
        trainers = [one.name for one in self.document.learning.participants][:4]
        for _ in range(rounds):
            number = present(task_of(self.state, "heart"), "the task").round
            rows = [
                np.arange(WORDS, dtype=np.int16) * (place + 1) + np.int16(number % 100)
                for place, _ in enumerate(trainers)
            ]
            self.block(*(self.update(name, row) for name, row in zip(trainers, rows, strict=True)))
            task = present(round_of(self.state, "heart", number), "the round")
            assert task.status == "closed"
            self.block(self.claim(), *self._reports(trainers[0]))

    def _reports(self, name: str) -> list[bytes]:
        """Return an evaluation that is accepted once, and refused the second time."""
        version = present(task_of(self.state, "heart"), "the task").version
        report = EvaluationReport("heart", version, 50, (("auc", 812_345),))
        return [self.transaction(name, "evaluation", report, ahead=ahead) for ahead in range(2)]


def certify(
    chain_id: Digest, validators: ValidatorSet, execution: Execution, signers: int | None = None
) -> CertifiedBlock:
    """Let the first `signers` validators, by default a quorum, make a block final at view 0."""
    block, view = execution.block, View(0)
    count = validators.quorum if signers is None else signers
    seals = [
        sign_vote(key_of(one.name, "validator"), chain_id, COMMIT, block.height, view, validators, block.id)
        for one in validators.members[:count]
    ]
    return CertifiedBlock(block, make_certificate(block.height, view, block.id, seals))
