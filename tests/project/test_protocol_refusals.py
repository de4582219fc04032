"""Every refusal that the chain knows, and every way a round ends: the reader gives the same receipts and states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from fl.aggregates import sign_result
from fl.aggregators import RuleSpec
from fl.application import FederatedLearning
from fl.optimisers import OptimiserSpec
from fl.records import (
    AggregateClaim,
    EvaluationReport,
    LearningGenesis,
    Participant,
    RoundResult,
    TaskApproval,
    TaskProposal,
    TaskSpec,
    UpdateSubmission,
)
from fl.results import closed_jobs, compute
from fl.schema import ModelSchema, TensorSpec
from fl.state import present, round_of, task_of
from genesis.document import GenesisDocument, initial_state
from ledger.application import BlockContext
from ledger.certificate import Seal
from ledger.codec import Record, encode
from ledger.execution import BlockBuilder
from ledger.fields import Height
from ledger.identity import Signature
from ledger.payload import (
    Acknowledgement,
    AvailabilityCertificate,
    PayloadDescriptor,
    Verdict,
    describe,
    sign_acknowledgement,
)
from ledger.reigns import VALIDATORS_PENDING_KEY
from ledger.validators import ValidatorSet
from tests.project.protocol_execution import execute, replay
from tests.project.protocol_records import decode
from tests.project.protocol_records import encode as their_encode
from tests.project.test_protocol_page import QUEUE_ONLY, refusals
from tests.recorded import NAMES, Recorded, document_of, key_of

replace = msgspec.structs.replace
SALT = bytes(32)

MEMBERSHIP = ("governance.", "member.", "rotation.", "evidence.", "pause.", "change.", "release.")
PAUSED = {"update.paused", "aggregate.paused"}
POLICIES = ("policy.", "site.", "budget.")
"""Codes that `test_protocol_membership` looks after."""


def person(name: str, organisation: str, *roles: str) -> Participant:
    return msgspec.convert([name, organisation, key_of(name, "participant").public_key, roles], Participant)


def agreement(**changes: object) -> GenesisDocument:
    """Return the usual agreement with more people, and changes to its task."""
    document = document_of()
    (task,) = document.learning.tasks
    people = (
        person("guest", "guest", "trainer"),
        person("clerk", "cleveland", "officer"),
        person("second", "cleveland", "trainer"),
        person("stray", "nowhere", "officer", "trainer"),
    )
    learning = LearningGenesis((*document.learning.participants, *people), (replace(task, **changes),))
    return replace(document, learning=learning)


@dataclass
class Scene:
    """A chain to which one transaction a block is added."""

    chain: Recorded
    codes: list[str] = field(default_factory=list)

    def say(self, name: str, kind: str, payload: Record, *, use: str = "participant") -> str:
        """Append a block with one transaction; return its receipt's code."""
        self.chain.block(self.chain.transaction(name, kind, payload, use=use))
        self.codes.append(self.chain.executions[-1].receipts[0].code)
        return self.codes[-1]

    def update(self, name: str, **changes: object) -> str:
        return self.say(name, "update", replace(self.submission(), **changes))

    def submission(self) -> UpdateSubmission:
        task = present(task_of(self.chain.state, "heart"), "the task")
        return UpdateSubmission("heart", task.round, task.version, 10, 0, (), self.availability(payload_of(8)))

    def availability(
        self, payload: bytes | PayloadDescriptor, verdict: Verdict = "ok", signers: Sequence[int] = (0, 1, 2)
    ) -> AvailabilityCertificate:
        document = self.chain.document
        named = payload if isinstance(payload, PayloadDescriptor) else describe(payload)
        acknowledgement = Acknowledgement(named, verdict)
        seals = [
            sign_acknowledgement(
                key_of(NAMES[index], "validator"), document.chain_id, document.validators, acknowledgement
            )
            for index in signers
        ]
        if isinstance(payload, bytes):
            self.chain.payloads[named.id] = payload
        return AvailabilityCertificate(acknowledgement, tuple(seals))

    def result(self) -> RoundResult:
        job = next(closed_jobs(self.chain.state))
        computed = compute(job, None, [self.chain.payloads[update.payload.id] for update in job.updates])
        self.chain.payloads[computed.result.model.id] = computed.model_payload
        return computed.result

    def claim(self, result: RoundResult, *, by: str = "cleveland", signers: Sequence[int] = (0, 1, 2)) -> str:
        document = self.chain.document
        seals = [
            sign_result(key_of(NAMES[index], "validator"), document.chain_id, document.validators, result)
            for index in signers
        ]
        return self.say(by, "aggregate", AggregateClaim(result, tuple(seals)), use="validator")

    def details(self) -> list[str]:
        return [execution.receipts[0].detail for execution in self.chain.executions]

    def check(self) -> None:
        """Replay everything with the reader, and compare receipts and the last state."""
        document = decode("GenesisDocument", encode(self.chain.document), 1 << 24)
        blocks = [(encode(one.block), encode(one.certificate)) for one in self.chain.blocks]
        payloads = {bytes(name): payload for name, payload in self.chain.payloads.items()}
        executed = replay(document, blocks, payloads)
        for theirs, ours in zip(executed, self.chain.executions, strict=True):
            assert [their_encode(one) for one in theirs.receipts] == [encode(one) for one in ours.receipts]
        assert executed[-1].state == dict(self.chain.state.items())


def payload_of(words: int, step: int = 7) -> bytes:
    return SALT + (np.arange(words, dtype="<i2") * step).tobytes()


def updates(scene: Scene) -> None:
    assert scene.update("cleveland") == "ok"
    latest = scene.submission()
    assert scene.update("hungary", task="lung") == "update.unknown_task"
    assert scene.update("clerk") == "update.not_enrolled"
    assert scene.update("guest") == "update.not_enrolled"
    assert scene.update("hungary", round=latest.round + 1) == "update.early"
    assert scene.update("hungary", round=latest.round - 1) == "update.late"
    assert scene.update("hungary", base_version=5) == "update.wrong_base"
    assert scene.update("cleveland") == "update.duplicate"
    assert scene.update("cleveland", availability=scene.availability(payload_of(8, 9))) == "update.conflicting"
    assert scene.update("second") == "update.organisation_counted"
    wrong_size = scene.availability(payload_of(9))
    assert scene.update("hungary", availability=wrong_size) == "update.malformed"
    assert scene.update("hungary", availability=scene.availability(payload_of(8), "malformed")) == "update.malformed"
    beyond = scene.availability(payload_of(8), "out_of_range")
    assert scene.update("hungary", availability=beyond) == "update.out_of_range"
    for signers in ((0, 1), (), (1, 0, 2), (0, 1, 1), (0, 1, 2)):
        given = scene.availability(payload_of(8), signers=signers)
        if signers == (0, 1, 2):
            given = replace(given, seals=(*given.seals[:2], Seal(3, Signature(bytes(64)))))
        assert scene.update("hungary", availability=given) == "update.unavailable"
    far = scene.availability(payload_of(8))
    far = replace(far, seals=(*far.seals[:2], replace(far.seals[2], validator=9)))
    assert scene.update("hungary", availability=far) == "update.unavailable"


def results(scene: Scene) -> None:
    for name in ("hungary", "switzerland", "va"):
        assert scene.update(name, availability=scene.availability(payload_of(8, len(name)))) == "ok"
    result = scene.result()
    assert scene.update("va", round=result.round) == "update.late"
    assert scene.say("guest", "aggregate", AggregateClaim(result, ())) == "aggregate.not_validator"
    assert scene.claim(replace(result, task="lung")) == "aggregate.not_closed"
    assert scene.claim(replace(result, round=9)) == "aggregate.not_closed"
    assert scene.claim(replace(result, base_version=3)) == "aggregate.wrong_input"
    assert scene.claim(replace(result, contributions=result.contributions[1:])) == "aggregate.wrong_input"
    assert scene.claim(replace(result, peaks=(*result.peaks, 1))) == "aggregate.wrong_input"
    assert scene.claim(result, signers=(0, 3)) == "aggregate.uncertified"
    assert scene.claim(result, by="va") == "ok"
    assert scene.claim(result, by="va") == "aggregate.not_closed"


def evaluations(scene: Scene) -> None:
    report = EvaluationReport("heart", 1, 40, (("auc", 812_000), ("bias", -5)))
    assert scene.say("hungary", "evaluation", report) == "ok"
    assert scene.say("hungary", "evaluation", report) == "evaluation.duplicate"
    assert scene.say("hungary", "evaluation", replace(report, version=2**62)) == "evaluation.unknown_model"
    assert scene.say("hungary", "evaluation", replace(report, task="lung")) == "evaluation.unknown_model"
    assert scene.say("clerk", "evaluation", report) == "evaluation.not_enrolled"


def tasks(scene: Scene) -> None:
    spec = replace(scene.chain.document.learning.tasks[0], id="lung", rounds=1, participants=())
    assert scene.say("guest", "task.propose", TaskProposal(spec, None)) == "task.not_officer"
    assert scene.say("stray", "task.propose", TaskProposal(spec, None)) == "task.not_officer"
    assert scene.say("clerk", "task.propose", TaskProposal(replace(spec, id="heart"), None)) == "task.exists"
    for unsound in unsound_tasks(spec):
        assert scene.say("clerk", "task.propose", TaskProposal(unsound, None)) == "task.unsound"
    model = describe(SALT + bytes(32))
    other = scene.availability(describe(SALT + bytes(31) + b"x"))
    few = scene.availability(model, signers=(0, 1))
    for given in (None, other, few):
        proposal = TaskProposal(replace(spec, initial_model=model), given)
        assert scene.say("clerk", "task.propose", proposal) == "task.unavailable"
    approval = TaskApproval("lung", spec.digest)
    assert scene.say("va", "task.approve", approval) == "task.unknown"
    assert scene.say("clerk", "task.propose", TaskProposal(spec, None)) == "ok"
    assert scene.update("va", task="lung") == "update.not_active"
    assert scene.say("guest", "task.approve", approval) == "task.not_officer"
    assert scene.say("va", "task.approve", replace(approval, specification=spec.digest[::-1])) == (
        "task.other_specification"
    )
    assert scene.say("cleveland", "task.approve", approval) == "task.approved_already"
    assert scene.say("va", "task.approve", approval) == "ok"
    assert scene.say("hungary", "task.approve", approval) == "ok"
    assert scene.say("switzerland", "task.approve", approval) == "task.decided"
    with_model = replace(spec, id="liver", initial_model=model)
    assert scene.say("clerk", "task.propose", TaskProposal(with_model, scene.availability(model))) == "ok"


def unsound_tasks(spec: TaskSpec) -> list[TaskSpec]:
    return [
        replace(spec, updates_min=2),
        replace(spec, updates_min=4, updates_max=3),
        replace(spec, rule=RuleSpec("multi-krum/1", 1, keep=7)),
        replace(spec, rule=RuleSpec("weighted-mean/1", 0, weight_cap_permille=100)),
        replace(spec, participants=("va", "hungary")),
        replace(spec, participants=("va", "va")),
        replace(spec, initial_model=describe(SALT + bytes(28))),
        replace(spec, optimiser=OptimiserSpec("adam/1", 200_000_000, 900, 990, 1_000)),
        replace(spec, optimiser=OptimiserSpec("momentum/1", 1_000_000, 900), schema=too_large()),
    ]


def too_large() -> ModelSchema:
    """Return a model whose words fit a payload, but not with as many words of memory."""
    return ModelSchema((TensorSpec("weight", (2**30 - 8,), 0),))


def transactions(scene: Scene) -> None:
    report = EvaluationReport("heart", 0, 40, ())
    assert scene.say("cleveland", "sing", report) == "transaction.unknown_kind"
    assert scene.say("cleveland", "update", report) == "transaction.malformed"
    assert scene.say("nobody", "evaluation", report) == "transaction.unknown_sender"


@pytest.fixture(scope="module")
def loud() -> Scene:
    """A chain in which everything goes wrong once, and right in the end."""
    trainers = ("clerk", "cleveland", "hungary", "second", "switzerland", "va")
    scene = Scene(Recorded(agreement(participants=trainers)))
    for act in (transactions, updates, results, evaluations, tasks):
        act(scene)
    return scene


@pytest.fixture(scope="module")
def crowded() -> Scene:
    """A chain on which as many tasks are active as may be."""
    document = agreement()
    (task,) = document.learning.tasks
    many = tuple(replace(task, id=f"task-{place}") for place in range(62))
    scene = Scene(Recorded(replace(document, learning=replace(document.learning, tasks=(task, *many)))))
    first, second = replace(task, id="first"), replace(task, id="second")
    for spec in (first, second):
        assert scene.say("clerk", "task.propose", TaskProposal(spec, None)) == "ok"
    for spec, last in ((first, "ok"), (second, "task.too_many")):
        assert scene.say("va", "task.approve", TaskApproval(spec.id, spec.digest)) == "ok"
        assert scene.say("hungary", "task.approve", TaskApproval(spec.id, spec.digest)) == last
    third = TaskProposal(replace(task, id="third"), None)
    assert scene.say("clerk", "task.propose", third) == "task.too_many"
    return scene


def test_the_reader_refuses_what_the_code_refuses_in_the_same_words(loud: Scene) -> None:
    loud.check()


def test_the_reader_counts_active_tasks_as_the_code_does(crowded: Scene) -> None:
    crowded.check()


def test_every_refusal_of_the_chain_was_met(loud: Scene, crowded: Scene) -> None:
    known = {code for code, _ in refusals("RefusalError", "fl")} - QUEUE_ONLY

    own = {one for one in known if not one.startswith((*MEMBERSHIP, *POLICIES))} - PAUSED
    assert {*loud.codes, *crowded.codes} == own | {"ok"}


def test_a_refusal_is_cut_to_512_characters() -> None:
    scene = Scene(Recorded.begin())
    seals = tuple(Seal(200 - place, Signature(bytes(64))) for place in range(150))
    certificate = replace(scene.availability(payload_of(8)), seals=seals)

    assert scene.update("va", availability=certificate) == "update.unavailable"
    assert len(scene.details()[-1]) == 512
    scene.check()


def test_rounds_fail_at_their_deadlines_and_close_early_as_the_page_says() -> None:
    scene = Scene(Recorded.begin())
    scene.update("va")
    scene.chain.block(after_ms=999)
    latest = present(round_of(scene.chain.state, "heart", 1), "round 1")
    assert latest.status == "open"
    scene.chain.block(after_ms=1)
    for name in ("va", "hungary", "cleveland"):
        scene.update(name)
    scene.chain.block(after_ms=1_000)
    scene.chain.block(after_ms=2_000)
    stages = [present(round_of(scene.chain.state, "heart", number), "a round").status for number in (1, 2, 3)]

    assert stages == ["failed", "failed", "open"]
    scene.check()


def test_a_task_ends_after_its_rounds() -> None:
    scene = Scene(Recorded(agreement(rounds=2)))
    scene.chain.learn(rounds=2)

    assert present(task_of(scene.chain.state, "heart"), "the task").status == "finished"
    scene.check()


def test_an_order_of_names_decides_the_order_of_rows() -> None:
    scene = Scene(Recorded.begin())
    for place, name in enumerate(("va", "switzerland", "hungary", "cleveland")):
        scene.update(name, availability=scene.availability(payload_of(8, 300 * place)), samples=place + 1)

    scene.claim(scene.result())
    assert scene.codes[-1] == "ok"
    scene.check()


def test_a_pending_set_decides_from_the_second_block_on() -> None:
    """No transaction of version 1 writes it, so it is put into the state by hand."""
    document = document_of()
    coming = ValidatorSet.of(document.validators.members[:3])
    state = initial_state(document).update({VALIDATORS_PENDING_KEY: encode(coming)})
    context = BlockContext(
        document.chain_id, Height(1), document.time_ms + 1, document.chain_id, document.validators, proposer=0
    )
    ours = BlockBuilder(FederatedLearning(), state, context).finish()

    theirs = execute(decode("Header", encode(ours.header), 65_536), [], dict(state.items()))

    assert ours.header.next_validators_hash == coming.hash != ours.header.validators_hash
    assert their_encode(theirs.header) == encode(ours.header)
    assert theirs.state == dict(ours.state.items())
