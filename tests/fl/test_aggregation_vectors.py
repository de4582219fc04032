"""The published aggregations, recomputed by the rules and by the formulas."""

from __future__ import annotations

from fractions import Fraction
from typing import get_args

import pytest

from fl.aggregators.spec import PRE_ORDERS, RuleId
from tests.fl.aggregation_cases import may_stand
from tests.fl.aggregation_oracle import expected
from tests.fl.aggregation_vectors import Vector, read, round_from, vector_of

VECTORS = read().rounds


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: "+".join((*vector.spec.pre, vector.spec.rule)))
def test_the_published_result_is_recomputed_in_every_field(vector: Vector) -> None:
    assert vector_of(round_from(vector)) == vector


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: "+".join((*vector.spec.pre, vector.spec.rule)))
def test_the_published_result_is_what_the_formulas_say(vector: Vector) -> None:
    case = round_from(vector)
    segments = case.schema.segments(case.exponents)

    want = expected(
        vector.spec, vector.updates, vector.weights, segments, vector.clip_norm, seed=case.seed, root=case.root
    )

    assert [Fraction(value, vector.denominator) for value in vector.numerator] == want.values
    assert vector.retained == want.retained
    assert [Fraction(a, 2**p) for a, p in vector.clip_factors] == want.factors
    shifts = [e - x + 11 for size, x, e in vector.tensors for _ in range(size)]
    exact = [m + value * Fraction(2) ** s for m, value, s in zip(vector.model, want.values, shifts, strict=True)]
    assert vector.next_model == [min(max(round(value), -(2**31)), 2**31 - 1) for value in exact]


def test_every_rule_is_published_behind_every_pre_aggregation() -> None:
    seen = {(vector.spec.rule, vector.spec.pre) for vector in VECTORS}

    assert seen == {(rule, pre) for rule in get_args(RuleId) for pre in PRE_ORDERS if may_stand(rule, pre)}
    assert any(vector.clip_norm for vector in VECTORS)
    assert any(vector.spec.weight_cap_permille for vector in VECTORS)
    assert any(a not in (0, 1) for vector in VECTORS for a, _ in vector.clip_factors)
