"""Our rules and those of ByzFL and Flower on the same updates: within one grid unit wherever both have a rule.

What differs by intention is said in `tests.fl.oracles` where a judge is called, and in the rule's docstring.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final, cast, get_args

import msgspec
import numpy as np
import pytest

from fl.aggregators import RuleSpec, aggregate
from fl.aggregators.spec import PreId, RuleId
from fl.schema import Segment
from tests.fl import oracles

FILE: Final = Path(__file__).parents[1] / "vectors" / "aggregation" / "oracles.json"
WHOLE_UNITS: Final = 13
"""With this exponent a word is worth 1."""


class Judgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a judge made of some rows."""

    judge: str
    rule: str
    rows: str
    n: int
    f: int
    values: list[float]

    def __str__(self) -> str:
        return f"{self.judge.split()[0]} {self.rule} {self.rows} {self.n}"


class Judgements(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    judgements: list[Judgement]


JUDGEMENTS: Final = msgspec.json.decode(FILE.read_bytes(), type=Judgements).judgements


def spec_of(one: Judgement) -> RuleSpec:
    *pre, rule = [f"{part}/1" for part in one.rule.removesuffix("/1").split("/1+")]
    byzfls_multi_krum = rule == "multi-krum/1" and one.judge.startswith("ByzFL")
    return RuleSpec(
        cast("RuleId", rule),
        0 if rule == "weighted-mean/1" else one.f,
        tuple(cast("PreId", part) for part in pre),
        keep=one.n - one.f - 1 if byzfls_multi_krum else 0,
        radius_micros=1000 * 10**6 if rule == "centred-clipping/1" else 0,
    )


TIES: Final = {
    "ByzFL mean-around-median/1 ties 11": "of values equally far from the median numpy's argpartition takes any",
    "ByzFL nnm/1+trimmed-mean/1 ties 11": "of rows equally far away numpy's argpartition takes any",
    "ByzFL arc/1+nnm/1+trimmed-mean/1 ties 11": "as without ARC",
    "Flower bulyan/1 alie 11": "with f = 2 its last scores are those of pairs of neighbours, equal but for float noise",
}
"""Where a judge's choice among equals is an accident of its sorting; ours is the lower row's."""


@pytest.mark.parametrize("one", [one for one in JUDGEMENTS if str(one) in TIES], ids=str)
def test_only_ties_are_broken_otherwise(one: Judgement) -> None:
    """Each of these does differ, else it should not be listed."""
    rows = oracles.words(one.rows, one.n, one.f).astype(np.int16)

    got = aggregate(spec_of(one), rows, [1] * one.n, (Segment(0, oracles.SIZE, WHOLE_UNITS),))

    assert np.abs(got.numerator / got.denominator - np.array(one.values)).max() > 1


@pytest.mark.parametrize("one", [one for one in JUDGEMENTS if str(one) not in TIES], ids=str)
def test_a_rule_comes_within_one_grid_unit_of_the_peers(one: Judgement) -> None:
    rows = oracles.words(one.rows, one.n, one.f).astype(np.int16)

    got = aggregate(spec_of(one), rows, [1] * one.n, (Segment(0, oracles.SIZE, WHOLE_UNITS),))

    assert np.abs(got.numerator / got.denominator - np.array(one.values)).max() <= 1


def test_every_rule_of_the_peers_is_judged() -> None:
    """What is left is ours alone, or random in ByzFL (CAF, bucketing)."""
    judged = {part for one in JUDGEMENTS for part in one.rule.removesuffix("/1").split("/1+")}
    ours = {name.removesuffix("/1") for name in (*get_args(RuleId), *get_args(PreId))}

    weighted = {"weighted-median", "weighted-trimmed-mean", "weighted-geometric-median"}
    assert ours - judged == {"cge", "fltrust", "dnc", "caf", "flame", "foolsgold", "bucketing"} | weighted


@pytest.mark.skipif(
    importlib.util.find_spec("byzfl") is None or importlib.util.find_spec("flwr") is None,
    reason="ByzFL and Flower are not installed; tests/vectors/aggregation/oracles.json has what they said",
)
def test_the_peers_still_say_what_the_file_says() -> None:
    now = msgspec.convert(oracles.judgements(), list[Judgement])

    for one, other in zip(now, JUDGEMENTS, strict=True):
        assert str(one) == str(other)
        assert np.allclose(one.values, other.values, atol=1e-3)
