"""Sealed rounds beside the plain computation: the same bytes, every liar named, nobody honest named."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from fl.aggregators import RuleSpec, aggregate, minimum_updates
from fl.aggregators.clip import WHOLE
from fl.aggregators.geometry import linear_plan
from fl.aggregators.gram import gram_matrix
from fl.aggregators.rows import Rows
from fl.grid import WORD_MAX
from fl.schema import Segment
from fl.sealed.messages import Blame
from fl.sealed.round import SealedRound
from fl.sealed.validator import WrongVectorError
from tests.fl.sealed.consortium import LIES, Case, Played, expected_blame, fingerprint, play

RULES = (
    lambda f: RuleSpec("multi-krum/1", f),
    lambda f: RuleSpec("multi-krum/1", f, pre=("nnm/1",)),
    lambda f: RuleSpec("geometric-median/1", f),
    lambda f: RuleSpec("geometric-median/1", f, pre=("nnm/1",)),
    lambda f: RuleSpec("geometric-median/1", f, pre=("bucketing/1",), bucket=2),
    lambda f: RuleSpec("centred-clipping/1", f, radius_micros=200_000),
    lambda f: RuleSpec("mda/1", f),
    lambda f: RuleSpec("cge/1", f, pre=("nnm/1",)),
    lambda f: RuleSpec("dnc/1", f),
    lambda f: RuleSpec("caf/1", f),
    lambda f: RuleSpec("flame/1", f),
    lambda f: RuleSpec("foolsgold/1", f),
    lambda f: RuleSpec("fltrust/1", f, root="trusted"),
    lambda f: RuleSpec("weighted-mean/1", f, weight_cap_permille=600),
    lambda f: RuleSpec("weighted-geometric-median/1", f, weight_cap_permille=1000 // (2 * f + 2)),
)


def case_of(seed: int, n: int, *, m_max: int = 16) -> Case:
    """Draw a consortium, its liars and a round."""
    dice = random.Random(seed)
    f_liars = (n - 1) // 3
    rule = dice.choice(RULES)(dice.choice([0, 1, 1, 2]))
    gone = dice.choice([0, 0, 1, 2])
    spoiled = dice.choice([0, 0, 1])
    least = max(minimum_updates(rule), 3, rule.f + 2) + gone + spoiled
    m = dice.randint(least, max(least, m_max))
    d = dice.randint(1, 40)
    cut = dice.randint(1, d)
    segments = (Segment(0, cut, -3), *([Segment(cut, d, dice.randint(-4, 0))] if cut < d else []))
    center = np.random.default_rng(seed).integers(-2000, 2001, (1, d))
    words = center + np.random.default_rng(seed + 1).integers(-3000, 3001, (m, d))
    everybody = dice.sample(range(m), m)
    liars = dice.sample(range(n), f_liars)
    return Case(
        n=n,
        rule=rule,
        segments=segments,
        words=np.clip(words, -WORD_MAX, WORD_MAX).astype(np.int16),
        samples=[dice.randint(1, 500) for _ in range(m)],
        seed=seed,
        lies={seat: dice.choice(LIES) for seat in liars},
        misdealt={seat: dice.choice([one for one in range(n) if one not in liars]) for seat in everybody[:spoiled]},
        absent=frozenset(everybody[spoiled : spoiled + gone]),
        root=everybody[-1] if rule.root else None,
    )


def require_plain_result(played: Played) -> None:
    """Compare with the rule applied in the open to the same words."""
    case, running = played.case, played.running
    present = [seat for seat in range(len(case.words)) if seat not in case.absent and seat not in case.misdealt]
    words, samples = case.words[present], [case.samples[seat] for seat in present]
    assert running.participants == tuple(present)
    rows = Rows(words, (WHOLE,) * len(words), case.segments)
    gram = gram_matrix(rows)
    assert running.gram == gram
    root = None if case.root is None else present.index(case.root)
    plan = linear_plan(case.rule, gram, samples, [one.exponent for one in case.segments], seed=b"lots", root=root)
    if running.phase == "failed":
        heavy = [weight for weight in plan.coefficients if 8 * weight >= max(plan.coefficients) > 0]
        assert running.failure == "too_few_selected"
        assert len(heavy) < played.task.selected_min
        return
    assert running.phase == "done"
    plain = aggregate(case.rule, words, samples, case.segments, seed=b"lots", root=root)
    assert running.selection is not None
    assert tuple(weight * running.selection.factor for weight in running.selection.weights) == plan.coefficients
    honest = [seat for seat in range(case.n) if seat not in case.lies]
    assert sorted(played.summed) == honest
    for summed in played.summed.values():
        assert summed.numerator.tobytes() == plain.numerator.tobytes()
        assert summed.denominator == plain.denominator


def blamed(played: Played) -> set[Blame]:
    """Who is named for what; one fault may show in two ways.

    Who says two things may have said the false one first. A wrong sum whose fold comes late is used before it is known.
    """
    second = {"equivocation": "false_share", "false_fold": "false_sum"}
    also = {(one.seat, second.get(one.fault)) for one in played.blamed}
    return {one for one in played.blamed if (one.seat, one.fault) not in also}


def require_round(seed: int, n: int, *, m_max: int = 16) -> Played:
    played = play(case_of(seed, n, m_max=m_max))
    require_plain_result(played)
    assert played.running.phase == "failed" or blamed(played) == expected_blame(played)
    assert {one.seat for one in played.blamed if one.role == "validator"} <= set(played.case.lies)
    return played


@pytest.mark.parametrize("n, seed", [(n, seed) for n, count in ((4, 16), (7, 10), (10, 2)) for seed in range(count)])
def test_a_sealed_round_gives_the_bytes_of_the_open_one_and_names_its_liars(n: int, seed: int) -> None:
    require_round(seed, n, m_max=7)


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_named_and_changes_nothing(lie: str) -> None:
    case = case_of(3, 4, m_max=6)
    case.rule, case.root, case.lies = RuleSpec("geometric-median/1", 1), None, {2: lie}  # type: ignore[dict-item]
    played = play(case)

    require_plain_result(played)
    assert played.running.phase == "done"
    assert blamed(played) == expected_blame(played)


@pytest.mark.soak
@pytest.mark.parametrize("n", [4, 7, 10])
def test_a_thousand_sealed_rounds_give_the_bytes_of_the_open_ones(n: int) -> None:
    finished = [require_round(seed, n).running.phase for seed in range(1_000, {4: 1_640, 7: 1_310, 10: 1_060}[n])]

    assert finished.count("done") > 0.8 * len(finished)


def test_a_node_that_reads_the_ledger_later_knows_the_same() -> None:
    played = require_round(5, 4, m_max=6)
    again = SealedRound(played.committee, played.task, played.slots[-1], seed=b"lots")
    posted = list(played.log)
    kinds = [type(message).__name__ for message in posted]
    for place, message in enumerate(posted):
        if "Update" in kinds[:place] and kinds[place] == "GramShares" and again.phase == "updates":
            again.close_updates()
        if kinds[place] == "Folds" and again.phase == "sums":
            assert again.close_sums(played.running.challenge)
        again.handle(message)

    assert fingerprint(again) == fingerprint(played.running)


def sound_case() -> Case:
    """Nobody lies and the rule weighs everybody differently."""
    case = case_of(3, 4, m_max=6)
    case.rule, case.root, case.lies = RuleSpec("geometric-median/1", 1), None, {}
    return case


def test_a_set_of_pads_answers_for_one_set_of_updates_and_one_weight_vector() -> None:
    played = play(sound_case())
    validator, running = played.validators[0], played.running
    assert running.selection is not None
    fewer = SealedRound(played.committee, played.task, played.slots[-1], seed=b"lots", root=played.case.root)
    for seat in running.participants[1:]:
        fewer.handle(running.updates[seat])
    fewer.participants = running.participants[1:]

    with pytest.raises(AssertionError, match="has hidden other updates already"):
        validator.gram_shares(fewer, played.hidden)
    running.selection = replace(running.selection, weights=running.selection.weights[::-1])
    with pytest.raises(AssertionError, match="never again with"):
        validator.sum_share(running)


def test_a_vector_that_is_not_what_was_named_is_refused() -> None:
    played = play(sound_case())
    seat = played.running.participants[1]
    hidden = {**played.hidden, seat: played.hidden[played.running.participants[0]]}

    with pytest.raises(WrongVectorError, match=f"participant {seat} is not what"):
        played.validators[0].gram_shares(played.running, hidden)
