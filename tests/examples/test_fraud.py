"""The banks: who sees which fraud, what learning together is worth, and what the demo says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from examples.fraud.baselines import FreeRider, trainings
from examples.fraud.data import BANKS, FEATURES, FRAUD_PERCENT, PATTERNS, TRAIN, load_bank, load_test
from examples.fraud.model import CLIP, NOISE, RATE, SAMPLING, STEPS, initial_model, recall, train
from fl.privacy.account import costs_of
from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.records import Mechanism
from fl.privacy.renyi import MICRO
from foedus.cli.output import Json
from foedus.demo.fraud import CHANGED_RULE, EPSILON_POLICY, ROUNDS_OVER, SMALL_BUDGET, FraudStory, counted_by_policy
from foedus.demo.report import Outcome
from foedus.demo.use_case import Comparison, Score, fraud
from genesis.policy_files import read_policy, try_policy
from genesis.presets import FREE_RIDER, PRESETS, rule_named
from genesis.presets.fraud import LIARS_MAX, ROUNDS
from tests.examples.federation import federate

SUM_OF_THE_FIRST_BANK = 43995.952
MECHANISM = Mechanism(round(NOISE * MICRO), round(SAMPLING * MICRO), STEPS)


def test_the_payments_are_the_same_in_every_run_and_follow_the_seed() -> None:
    """A sum written down once: other payments would silently change every published figure."""
    first, again = load_bank(0), load_bank(0)

    assert first.features.tobytes() == again.features.tobytes()
    assert float(first.features.sum()) == pytest.approx(SUM_OF_THE_FIRST_BANK, abs=1e-3)
    assert load_bank(0, seed=1).features.tobytes() != first.features.tobytes()
    assert load_test().features.tobytes() == load_test().features.tobytes()


def test_every_bank_has_seen_one_pattern_and_is_judged_on_all() -> None:
    for bank in range(len(BANKS)):
        own = load_bank(bank)
        assert own.features.shape == (TRAIN, FEATURES)
        assert own.labels.sum() == TRAIN * FRAUD_PERCENT / 100
        assert set(own.patterns[own.labels == 1].tolist()) == {bank}
    test = load_test()
    counts = np.bincount(test.patterns[test.labels == 1], minlength=len(PATTERNS))
    assert counts.min() == counts.max() > 0


def test_one_payment_moves_a_step_by_the_clipping_bound_at_most() -> None:
    """Beside the noise, which is the same for both: what the budget's arithmetic takes for granted."""
    own = load_bank(0)
    lone = type(own)(own.features.copy(), own.labels.copy(), own.patterns)
    lone.features[:] = 0.0
    lone.features[7] = 1_000.0
    without = type(own)(lone.features * 0.0, lone.labels, lone.patterns)
    for seed in range(40):
        moved = train(initial_model(), lone, np.random.default_rng(seed), steps=1)
        still = train(initial_model(), without, np.random.default_rng(seed), steps=1)
        step = np.concatenate([moved[name] - still[name] for name in moved])
        assert np.linalg.norm(step) <= 2 * CLIP * RATE / (SAMPLING * TRAIN) * 1.001


def test_together_the_banks_find_more_than_twice_what_the_median_bank_finds() -> None:
    """With the rule they vote for, on the grid, and with a member that only repeats what it was sent."""
    preset, test = PRESETS["fraud"], load_test()
    banks = [load_bank(bank) for bank in range(len(BANKS))]
    alone = [
        train(initial_model(), own, np.random.default_rng(bank), steps=ROUNDS * STEPS) for bank, own in enumerate(banks)
    ]

    outcome = federate(
        preset.task(preset.trainers, None, None).schema,
        initial_model(),
        [*trainings(banks), FreeRider()],
        [TRAIN] * len(preset.trainers),
        rule_named(CHANGED_RULE, LIARS_MAX),
        malicious=(),
        malicious_from=1,
        rounds=ROUNDS,
    )

    assert recall(outcome.model, test) >= 2 * float(np.median([recall(model, test) for model in alone]))


def test_the_small_budget_lasts_for_all_but_the_last_rounds() -> None:
    assert all(one.passed for one in try_policy(read_policy(EPSILON_POLICY, source="here")))
    for rounds in (10, 25, 100):
        budgets = {budget.organisation: budget for budget in FraudStory(MECHANISM).budgets(rounds)}
        for name, lasts in ((SMALL_BUDGET, rounds - ROUNDS_OVER), (FREE_RIDER, 2 * rounds)):
            limit = budgets[name].lifetime_limit_nanos // 10 * 9
            spent = [
                epsilon_nanos(tuple(count * cost for cost in costs_of(MECHANISM)), budgets[name].delta_digits)
                for count in (lasts, lasts + 1)
            ]
            assert spent[0] <= limit < spent[1]


def test_refusals_and_failed_rounds_are_counted_by_the_policy_that_denied() -> None:
    said = (
        "policy maximum-epsilon, clause 2: budget.lifetime_nanos <= 9; budget.lifetime_nanos = 10",
        "policy minimum-organisations, clause 1: size(round.organisations) >= 3",
        "round 3 is closed, the update is for round 3",
        "policy maximum-epsilon, clause 1: budget.has_account",
        "",
    )

    assert counted_by_policy(said) == {"maximum-epsilon": 2, "minimum-organisations": 1}


def test_the_json_has_the_recalls_beside_what_the_story_says() -> None:
    alone = {name: Score(0.9, None, value) for name, value in zip(BANKS, (0.1, 0.2, 0.3, 0.9), strict=True)}
    outcome = Outcome(
        use_case=fraud(),
        rule="geometric-median/1",
        attack=None,
        rounds=2,
        height=9,
        overall=Score(0.9, None, 0.7),
        sites={},
        comparison=Comparison(alone, Score(0.9, None, 0.8), Score(0.9, None, 0.6)),
        rejected={},
        refusals=(),
        validator_killed_at=None,
        validator_caught_up=None,
        audit={"blocks": 9},
        exported={"blocks": 9},
        story={"free_rider_share": 0.0, "rejected_by_policy": {}},
        statements=(),
        seconds=1.0,
    )

    said = outcome.as_json()

    assert said["recall_at_1pct_fpr"] == {"federated": 0.7, "median_bank": 0.25, "pooled": 0.8}
    assert (said["free_rider_share"], said["rejected_by_policy"], said["export"]) == (0.0, {}, {"blocks": 9})


@pytest.mark.soak
def test_the_demo_is_governed_budgeted_and_paid_by_real_processes() -> None:
    command = [sys.executable, "-m", "foedus", "demo", "--use-case", "fraud", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    said: Mapping[str, Json] = json.loads(ended.stdout.splitlines()[-1])

    recalls = said["recall_at_1pct_fpr"]
    assert isinstance(recalls, dict)
    assert recalls["federated"] >= 2 * recalls["median_bank"]
    assert said["free_rider_share"] == 0
    assert said["rejected_by_policy"] == {"maximum-epsilon": ROUNDS_OVER, "minimum-organisations": 1}
    assert (said["rule"], said["rounds"]) == ("geometric-median/1", ROUNDS)
    audit, export = said["audit"], said["export"]
    assert isinstance(audit, dict)
    assert isinstance(export, dict)
    assert (audit["aggregates"], audit["differences"], export["differences"]) == (ROUNDS, 0, 0)
    assert export["blocks"] == audit["blocks"]
