"""The learning application: every way through a round, and every refusal by its name."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from fl.aggregators import RuleSpec
from fl.genesis_state import InvalidLearningGenesisError
from fl.records import EvaluationReport, TaskApproval, TaskProposal
from fl.results import ComputedRound, InputError, closed_jobs, compute, model_words
from fl.schema import ModelSchema, TensorSpec
from fl.state import (
    active_tasks,
    evaluation_of,
    model_of,
    participant_key,
    participant_of,
    present,
    result_of,
    update_of,
)
from ledger.codec import encode
from ledger.execution import InvalidTransactionError, next_nonce
from ledger.identity import SigningKey
from ledger.transaction import sign_transaction
from tests.fl.consortium import CHAIN, NAMES, SCHEMA, Consortium, key_of, member_key, task_spec

ROWS: NDArray[np.int16] = np.array(
    [[100 * row + column for column in range(SCHEMA.size)] for row in range(4)], dtype=np.int16
)


def test_a_round_goes_from_updates_to_a_certified_model() -> None:
    consortium = Consortium.begin(task_spec(rule=RuleSpec("trimmed-mean/1", 1)))
    consortium.fill_round(ROWS)
    assert consortium.round().status == "closed"

    computed = consortium.compute()
    receipt = consortium.certify(consortium.claim(computed))

    assert [event.kind for event in receipt.events] == ["round.certified", "round.opened"]
    assert (consortium.task().version, consortium.round().number, consortium.round().status) == (1, 2, "open")
    model = model_of(consortium.state, "heart", 1)
    assert model is not None
    assert model.payload == computed.result.model
    words = model_words(consortium.payloads[computed.result.model.id], SCHEMA)
    # The two middle rows average to 150 + column, in update units of 2^(-3-13), on a model grid of 2^-24.
    assert words.tolist() == [int((Fraction(150) + column) * 2 ** (24 - 16)) for column in range(SCHEMA.size)]


def test_the_order_of_updates_in_a_block_does_not_change_the_model() -> None:
    results = []
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        consortium = Consortium.begin(task_spec())
        updates = [consortium.transaction(NAMES[i], "update", consortium.update(NAMES[i], ROWS[i])) for i in order]
        consortium.block(*updates)
        results.append(consortium.compute().result)
    assert results[0] == results[1]


def test_an_idle_round_has_no_deadline_and_its_first_update_sets_one() -> None:
    consortium = Consortium.begin(task_spec())
    assert consortium.application.due_ms(consortium.state) is None

    consortium.say("va", "update", consortium.update("va", ROWS[3]))

    assert consortium.application.due_ms(consortium.state) == consortium.time_ms + 1_000


def test_a_round_closes_at_its_deadline_with_enough_updates() -> None:
    consortium = Consortium.begin(task_spec())
    for name, row in zip(NAMES[:3], ROWS, strict=False):
        consortium.say(name, "update", consortium.update(name, row))
    assert consortium.round().status == "open"

    execution = consortium.block(after_ms=1_000)

    assert [event.kind for event in execution.receipts[-1].events] == ["round.closed"]
    assert consortium.round().participants == NAMES[:3]


def test_a_round_fails_at_its_deadline_with_too_few_updates_and_the_model_stays() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.say("va", "update", consortium.update("va", ROWS[3]))

    execution = consortium.block(after_ms=1_000)

    assert [event.kind for event in execution.receipts[-1].events] == ["round.failed", "round.opened"]
    assert "1 updates came in time, 3 were needed" in execution.receipts[-1].events[0].detail
    assert (consortium.task().version, consortium.round().number) == (0, 2)


def test_a_closed_round_without_a_certified_result_fails_and_the_chain_goes_on() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(ROWS)
    late = consortium.claim(consortium.compute())

    execution = consortium.block(after_ms=2_000)

    assert execution.receipts[-1].events[0].kind == "round.failed"
    assert consortium.certify(late).code == "aggregate.not_closed"
    assert consortium.task().version == 0


def test_a_task_finishes_after_its_rounds() -> None:
    consortium = Consortium.begin(task_spec(rounds=1))
    consortium.fill_round(ROWS)
    consortium.certify(consortium.claim(consortium.compute()))
    assert consortium.task().status == "finished"
    assert active_tasks(consortium.state) == ()


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"task": "lungs"}, "update.unknown_task"),
        ({"round": 2}, "update.early"),
        ({"round": 0}, "update.late"),
        ({"base_version": 1}, "update.wrong_base"),
    ],
)
def test_an_update_for_another_round_is_refused_by_name(changes: dict[str, object], code: str) -> None:
    consortium = Consortium.begin(task_spec())
    receipt = consortium.say("va", "update", consortium.update("va", ROWS[0], **changes))
    assert receipt.code == code
    assert consortium.round().participants == ()


def test_an_update_to_a_closed_round_is_late() -> None:
    consortium = Consortium.begin(task_spec(updates_max=3))
    late = consortium.update("va", ROWS[3])
    consortium.fill_round(ROWS[:3])
    assert consortium.say("va", "update", late).code == "update.late"


def test_a_second_update_is_a_duplicate_or_a_conflict() -> None:
    consortium = Consortium.begin(task_spec())
    first = consortium.update("va", ROWS[0])
    assert consortium.say("va", "update", first).accepted
    assert consortium.say("va", "update", first).code == "update.duplicate"
    assert consortium.say("va", "update", consortium.update("va", ROWS[1])).code == "update.conflicting"
    kept = update_of(consortium.state, "heart", 1, "va")
    assert kept is not None
    assert kept.payload == first.availability.acknowledgement.payload


def test_an_organisation_counts_once_whatever_its_keys() -> None:
    consortium = Consortium.begin(task_spec())
    twin = SigningKey(bytes(range(32)))
    registered = present(participant_of(consortium.state, member_key("va")), "va")
    changed = msgspec.structs.replace(registered, name="va-twin", public_key=twin.public_key)
    consortium.state = consortium.state.update({participant_key(twin.public_key): encode(changed)})
    consortium.say("va", "update", consortium.update("va", ROWS[0]))
    raw = consortium.transaction("", "update", consortium.update("va-twin", ROWS[1]), key=twin)
    assert consortium.block(raw).receipts[0].code == "update.organisation_counted"


def test_words_beyond_the_grid_are_out_of_range() -> None:
    consortium = Consortium.begin(task_spec())
    rows = ROWS.copy()
    rows[0, 0] = 8192
    assert consortium.say("va", "update", consortium.update("va", rows[0])).code == "update.out_of_range"


def test_a_payload_of_another_size_is_malformed() -> None:
    consortium = Consortium.begin(task_spec())
    short = consortium.keep(bytes(32 + 2 * SCHEMA.size - 2))
    receipt = consortium.say("va", "update", consortium.update("va", ROWS[0], availability=short))
    assert receipt.code == "update.malformed"


def test_a_payload_that_too_few_keep_is_unavailable() -> None:
    consortium = Consortium.begin(task_spec())
    payload = bytes(32 + 2 * SCHEMA.size)
    scarce = consortium.keep(payload, seals=consortium.validators.quorum - 1)
    receipt = consortium.say("va", "update", consortium.update("va", ROWS[0], availability=scarce))
    assert receipt.code == "update.unavailable"
    assert "needs 3 of 4 signatures, got 2" in receipt.detail


def test_only_the_enrolled_submit() -> None:
    consortium = Consortium.begin(task_spec(participants=NAMES[:3]))
    assert consortium.say("va", "update", consortium.update("va", ROWS[0])).code == "update.not_enrolled"


def test_strangers_and_nonsense_get_a_receipt_too() -> None:
    consortium = Consortium.begin(task_spec())
    stranger = SigningKey(bytes(32))
    update = consortium.update("va", ROWS[0])
    assert consortium.block(consortium.transaction("", "update", update, key=stranger)).receipts[0].code == (
        "transaction.unknown_sender"
    )
    assert consortium.say("va", "dance", update).code == "transaction.unknown_kind"
    assert consortium.say("va", "evaluation", update).code == "transaction.malformed"


def test_a_refused_transaction_uses_up_its_nonce_and_cannot_be_replayed() -> None:
    consortium = Consortium.begin(task_spec())
    raw = consortium.transaction("va", "update", consortium.update("va", ROWS[0], round=7))
    consortium.block(raw)
    assert next_nonce(consortium.state, member_key("va")) == 1
    with pytest.raises(InvalidTransactionError, match="nonce must be 1, got 0"):
        consortium.block(raw)


def test_a_transaction_of_another_chain_may_not_stand_in_a_block() -> None:
    consortium = Consortium.begin(task_spec())
    other = type(CHAIN)(bytes(32))
    raw = encode(sign_transaction(key_of("va", "participant"), other, "update", 0, consortium.update("va", ROWS[0])))
    with pytest.raises(InvalidTransactionError, match="not signed by its sender"):
        consortium.block(raw)


def test_a_result_needs_a_quorum_of_signatures() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(ROWS)
    computed = consortium.compute()
    scarce = consortium.claim(computed, seals=consortium.validators.quorum - 1)
    assert consortium.certify(scarce).code == "aggregate.uncertified"
    repeated = msgspec.structs.replace(scarce, seals=(*scarce.seals, scarce.seals[-1]))
    assert consortium.certify(repeated).code == "aggregate.uncertified"
    assert consortium.task().version == 0


def test_signatures_of_one_result_do_not_certify_another() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(ROWS)
    claim = consortium.claim(consortium.compute())
    forged = msgspec.structs.replace(claim, result=msgspec.structs.replace(claim.result, saturated=1))
    assert consortium.certify(forged).code == "aggregate.uncertified"


def test_a_result_names_every_update_of_its_round() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(ROWS)
    result = consortium.compute().result
    short = msgspec.structs.replace(result, contributions=result.contributions[1:])
    dropped = ComputedRound(short, b"")
    assert consortium.certify(consortium.claim(dropped)).code == "aggregate.wrong_input"


def test_only_validators_claim_results() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(ROWS)
    receipt = consortium.say("va", "aggregate", consortium.claim(consortium.compute()))
    assert receipt.code == "aggregate.not_validator"


def test_computing_refuses_bytes_that_are_not_the_jobs_inputs() -> None:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(ROWS)
    job = next(closed_jobs(consortium.state))
    payloads = [consortium.payloads[update.payload.id] for update in job.updates]
    with pytest.raises(InputError, match="4 updates, got 3 payloads"):
        compute(job, None, payloads[:3])
    with pytest.raises(InputError, match="update of va"):
        compute(job, None, [*payloads[:3], payloads[3][:-2]])
    with pytest.raises(InputError, match="exactly when it is not all zeros"):
        compute(job, bytes(32), payloads)


def test_a_task_is_active_once_a_quorum_of_organisations_agreed() -> None:
    consortium = Consortium.begin()
    spec = task_spec()
    assert consortium.say("va", "task.propose", TaskProposal(spec, None)).accepted
    approval = TaskApproval("heart", spec.digest)
    assert consortium.say("va", "task.approve", approval).code == "task.approved_already"
    assert consortium.say("hungary", "task.approve", approval).accepted
    assert consortium.task().status == "proposed"
    other = TaskApproval("heart", task_spec(rounds=11).digest)
    assert consortium.say("cleveland", "task.approve", other).code == "task.other_specification"
    assert consortium.say("cleveland", "task.approve", approval).accepted
    assert consortium.task().status == "active"
    assert consortium.round().number == 1
    assert consortium.say("switzerland", "task.approve", approval).code == "task.decided"


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"updates_min": 2}, "task.unsound"),
        ({"updates_min": 4, "updates_max": 3}, "task.unsound"),
        ({"participants": ("va", "hungary")}, "task.unsound"),
    ],
)
def test_a_task_that_could_not_run_is_not_put_to_the_vote(changes: dict[str, object], code: str) -> None:
    consortium = Consortium.begin()
    assert consortium.say("va", "task.propose", TaskProposal(task_spec(**changes), None)).code == code


def test_an_initial_model_must_be_available() -> None:
    consortium = Consortium.begin()
    payload = bytes(32 + 4 * SCHEMA.size)
    certificate = consortium.keep(payload)
    spec = task_spec(initial_model=certificate.acknowledgement.payload)
    assert consortium.say("va", "task.propose", TaskProposal(spec, None)).code == "task.unavailable"
    scarce = consortium.keep(payload, seals=1)
    assert consortium.say("va", "task.propose", TaskProposal(spec, scarce)).code == "task.unavailable"
    assert consortium.say("va", "task.propose", TaskProposal(spec, certificate)).accepted


def test_a_genesis_task_may_name_only_registered_participants() -> None:
    with pytest.raises(InvalidLearningGenesisError, match="participants mayo are not registered"):
        Consortium.begin(task_spec(participants=("mayo",)))


def test_evaluations_are_kept_once_and_only_of_models_that_exist() -> None:
    consortium = Consortium.begin(task_spec())
    report = EvaluationReport("heart", 0, 50, (("auc", 812_345),))
    assert consortium.say("va", "evaluation", report).accepted
    kept = evaluation_of(consortium.state, "heart", 0, "va")
    assert kept is not None
    assert kept.metrics == (("auc", 812_345),)
    assert consortium.say("va", "evaluation", report).code == "evaluation.duplicate"
    later = msgspec.structs.replace(report, version=1)
    assert consortium.say("va", "evaluation", later).code == "evaluation.unknown_model"


def test_a_result_is_kept_with_what_became_of_each_update() -> None:
    consortium = Consortium.begin(task_spec())
    rows = ROWS.copy()
    rows[3] = -5_000
    consortium.fill_round(rows)
    consortium.certify(consortium.claim(consortium.compute()))
    result = result_of(consortium.state, "heart", 1)
    assert result is not None
    assert [c.participant for c in result.contributions] == list(NAMES)
    assert [c.left_out for c in result.contributions] == [False, False, False, True]


def test_a_clip_norm_bounds_an_update_in_values_whatever_the_grid() -> None:
    rule = RuleSpec("weighted-mean/1", 0)
    lengths = []
    for exponent in (-3, 1):
        schema = ModelSchema((TensorSpec("weight", (2,), 0, exponent),))
        consortium = Consortium.begin(
            task_spec(schema=schema, rule=rule, updates_min=1, updates_max=1, clip_norm_micros=50_000)
        )
        words = np.array([3_000, 4_000], dtype=np.int16)
        consortium.say("va", "update", consortium.update("va", words))
        model = model_words(consortium.compute().model_payload, schema).astype(np.float64) / 2**24
        lengths.append(float(np.hypot(*model)))
    assert lengths == pytest.approx([0.05, 0.05], rel=0.01)
