"""Presets: ordinary tasks that fit the examples they were made for."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from fl.aggregators import minimum_updates
from fl.aggregators.spec import RuleId
from fl.optimisers import OptimiserSpec
from genesis.presets import PRESETS, RULES, UnknownRuleError, heart_task, rule_named
from genesis.task_plans import InvalidTaskError, plan_of_task, plan_text, read_plan, task_of_plan

OPTIMISER = OptimiserSpec("adam/1", 10_000, 900, 990, 1_000)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_can_run_with_its_own_trainers(name: str) -> None:
    preset = PRESETS[name]
    task = preset.task(preset.trainers, None, None)
    assert minimum_updates(task.rule) <= task.updates_min <= task.updates_max == len(preset.trainers)


def test_the_heart_schema_is_the_model_of_the_example() -> None:
    from examples.heart.model import initial_model

    shapes = {name: array.shape for name, array in initial_model().items()}
    schema = heart_task(("a", "b", "c", "d")).schema
    assert {tensor.name: tensor.shape for tensor in schema.tensors} == shapes


def test_the_fraud_schema_is_the_model_of_the_example() -> None:
    from examples.fraud.data import BANKS
    from examples.fraud.model import initial_model

    preset = PRESETS["fraud"]
    schema = preset.task(preset.trainers, None, None).schema
    assert {tensor.name: tensor.shape for tensor in schema.tensors} == {
        name: array.shape for name, array in initial_model().items()
    }
    assert preset.organisations == BANKS


def test_the_digits_schema_is_the_model_of_the_example() -> None:
    pytest.importorskip("sklearn")
    from examples.digits.model import initial_model

    shapes = {name: array.shape for name, array in initial_model().items()}
    preset = PRESETS["digits"]
    schema = preset.task(preset.trainers, None, None).schema
    assert {tensor.name: tensor.shape for tensor in schema.tensors} == shapes


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_can_be_chosen(name: str) -> None:
    assert minimum_updates(rule_named(name, 1)) >= 1


def test_every_rule_id_can_be_chosen_by_a_name() -> None:
    names = [*RULES, "fltrust:ann"]

    assert {rule_named(name, 1).rule for name in names} == set(get_args(RuleId))
    assert rule_named("fltrust:ann", 1).root == "ann"


def test_an_unknown_rule_is_told_the_nearest() -> None:
    with pytest.raises(UnknownRuleError, match="did you mean median"):
        rule_named("medan", 1)


def test_an_optimiser_that_a_person_writes_is_the_task_and_is_written_back() -> None:
    said = plan_text(plan_of_task(msgspec.structs.replace(heart_task(("a", "b", "c", "d")), optimiser=OPTIMISER)))
    plan = read_plan(said, source="here", is_json=False)

    assert "[optimiser]" in said
    assert task_of_plan(plan).optimiser == OPTIMISER
    with pytest.raises(InvalidTaskError, match="momentum_permille"):
        read_plan(said.replace("momentum_permille = 900", ""), source="here", is_json=False)
