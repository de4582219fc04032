"""A round's report against plain arithmetic on the words, and against what could be said wrongly of it."""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from fl.aggregators import RuleSpec, aggregate
from fl.aggregators.duplicates import clusters
from fl.explanation import RoundReport, measure, report, retention
from fl.explanation.report import cosine_micros, length_micros
from fl.results import AggregationJob, ComputedRound, closed_jobs
from tests.fl.consortium import NAMES, SCHEMA, Consortium, task_spec

RNG = np.random.default_rng(5)
ROWS = np.array(
    [
        [900, 800, -700, 10, 20, 30, 40, 50],
        [910, 790, -690, 15, 18, 33, 41, 47],
        [-8191, -7000, 8191, 3, 1, 0, 0, 1],
        [700, 950, -500, 100, -20, 300, -40, 80],
    ],
    np.int16,
)


def closed(rows: NDArray[np.int16], **changes: object) -> tuple[Consortium, AggregationJob, ComputedRound]:
    consortium = Consortium.begin(task_spec(**changes))
    consortium.fill_round(rows)
    return consortium, next(closed_jobs(consortium.state)), consortium.compute()


def explained(rows: NDArray[np.int16], **changes: object) -> RoundReport:
    consortium, job, computed = closed(rows, **changes)
    consortium.certify(consortium.claim(computed))
    looked_at, last = retention(consortium.state, "heart", 1)
    return report(job, computed.result, measure(job, with_room(rows)), looked_at, last)


def with_room(rows: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.vstack([rows, np.zeros((1, rows.shape[1]), np.int16)])


def test_lengths_distances_and_angles_are_those_of_exact_fractions() -> None:
    found = explained(ROWS)
    _, job, _ = closed(ROWS)
    segments = SCHEMA.segments(job.round.exponents)
    whole = aggregate(job.spec.rule, ROWS, [100] * 4, segments)
    rounded = [round(Fraction(int(value), whole.denominator)) for value in whole.numerator]
    worth = 2.0 ** (job.round.exponents[0] - 13)

    assert math.isclose(found.aggregate_norm_micros, 1e6 * worth * math.hypot(*rounded), abs_tol=1)
    for one, row in zip(found.updates, ROWS.tolist(), strict=True):
        distance = math.hypot(*(x - y for x, y in zip(row, rounded, strict=True)))
        product = sum(x * y for x, y in zip(row, rounded, strict=True))
        assert math.isclose(one.norm_micros, 1e6 * worth * math.hypot(*row), abs_tol=1)
        assert math.isclose(one.distance_micros, 1e6 * worth * distance, abs_tol=1)
        cosine = product / math.hypot(*row) / math.hypot(*rounded)
        assert math.isclose(one.cosine_micros, 1e6 * cosine, abs_tol=1)


def test_the_attacker_is_left_out_and_told_why_and_the_twins_are_named() -> None:
    by_name = {one.participant: one for one in explained(ROWS).updates}

    attacker, twin = by_name["switzerland"], by_name["cleveland"]
    assert attacker.left_out
    assert attacker.why == (
        "left out: points away from the aggregate and is the farthest from the aggregate, used in 1 of 4 neighbourhoods"
    )
    assert (attacker.at_limit, twin.at_limit) == (2, 0)
    assert (twin.cluster, twin.cluster_size, twin.nearest) == ("cleveland", 2, "hungary")
    assert twin.why.endswith("; almost the same as hungary")


def test_influence_of_a_weighted_mean_is_its_share_of_the_push() -> None:
    rows = np.array([[100, 0, 0, 0, 0, 0, 0, 0], [300, 0, 0, 0, 0, 0, 0, 0], [-100, 0, 0, 0, 0, 0, 0, 0]], np.int16)
    found = explained(rows, rule=RuleSpec("weighted-mean/1", 0), updates_max=3)

    shares = [one.influence_micros for one in found.updates]
    assert np.allclose(shares, [200_000, 600_000, -200_000], atol=30)  # shares of 2^15 are no exact thirds


def test_clipping_is_said_with_what_it_left() -> None:
    rows = ROWS.copy()
    found = explained(rows, rule=RuleSpec("trimmed-mean/1", 1, ("arc/1", "nnm/1")))

    attacker = next(one for one in found.updates if one.participant == "switzerland")
    assert attacker.kept_length_micros < 200_000
    assert f"shortened to {attacker.kept_length_micros // 10_000} % of its length" in attacker.why


def test_one_changed_byte_of_an_update_changes_the_report() -> None:
    consortium, job, computed = closed(ROWS)
    consortium.certify(consortium.claim(computed))
    looked_at, last = retention(consortium.state, "heart", 1)
    seen = set()
    for row, column, byte in [(None, 0, 0), (0, 7, 0), (1, 3, 0), (2, 5, 0), (3, 0, 1)]:
        changed = with_room(ROWS)
        if row is not None:
            changed.view(np.uint8)[row, 2 * column + byte] ^= 1
        seen.add(msgspec.json.encode(report(job, computed.result, measure(job, changed), looked_at, last)))
    assert len(seen) == 5


def test_the_numbers_do_not_depend_on_chunks_and_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from fl.aggregators import Work

    _, job, _ = closed(ROWS)
    once = measure(job, with_room(ROWS))
    with ThreadPoolExecutor(3) as pool:
        for chunk_words in (1, 7, 64):
            assert measure(job, with_room(ROWS), Work(pool.map, chunk_words)) == once


def test_retention_counts_certified_rounds_alone_and_only_where_one_took_part() -> None:
    consortium = Consortium.begin(task_spec())
    for number in range(1, 4):
        consortium.fill_round(ROWS)
        if number == 2:
            consortium.block(after_ms=5_000)  # nobody certifies it
        else:
            consortium.certify(consortium.claim(consortium.compute()))
    names = ("cleveland", "hungary", "va")
    updates = [consortium.update(name, row) for name, row in zip(names, ROWS[[0, 1, 3]], strict=True)]
    consortium.block(*(consortium.transaction(name, "update", one) for name, one in zip(names, updates, strict=True)))
    consortium.block(after_ms=1_500)
    consortium.certify(consortium.claim(consortium.compute()))

    looked_at, last = retention(consortium.state, "heart", 4)

    assert looked_at == 3
    assert (last["switzerland"].rounds, last["switzerland"].left_out, last["switzerland"].permille) == (2, 2, 250)
    assert (last["cleveland"].rounds, last["cleveland"].left_out) == (3, 0)
    assert sorted(last) == sorted(NAMES)


@pytest.mark.parametrize("scale", [1, 7, 1 << 40])
def test_a_chain_of_similar_updates_is_one_cluster_whatever_their_lengths(scale: int) -> None:
    angles = [0.0, 0.13, 0.26, 1.5]  # 0 and 0.26 are farther apart than cos 0.99 allows, 0.13 joins them
    rows = [[round(10_000 * math.cos(a)) * scale, round(10_000 * math.sin(a)) * scale] for a in angles]
    gram = tuple(tuple(sum(x * y for x, y in zip(a, b, strict=True)) for b in rows) for a in rows)

    assert clusters(gram, 4) == ((0, 1, 2), (0, 1, 2), (0, 1, 2), (3,))


def test_a_zero_update_is_nobodys_twin_and_has_no_angle() -> None:
    rows = ROWS.copy()
    rows[1] = 0
    found = explained(rows)

    assert [one.cluster_size for one in found.updates] == [1, 1, 1, 1]
    assert found.updates[1].cosine_micros == 0
    assert found.updates[1].why == "says nothing: all of its words are zero"


def test_lengths_and_cosines_are_rounded_towards_zero() -> None:
    assert length_micros(2, 13) == 1_414_213
    assert length_micros(2, 0) == math.isqrt(2 * 10**12 >> 26)
    assert cosine_micros(-1, 1, 2) == -707_106
    assert cosine_micros(5, 0, 2) == 0
