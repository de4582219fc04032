"""Rounds of pseudo-random words for vectors and digests. One law: made by SHA-256, so any language can make them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from fl.aggregators import Aggregation, RuleSpec, aggregate, minimum_updates
from fl.aggregators.spec import PRE_ORDERS, WEIGHTED, WEIGHTED_ROBUST, PreId, RuleId
from fl.grid import WORD_MAX, apply_aggregate, next_exponents
from fl.schema import ModelSchema, TensorSpec

PRE_IDS: Final[tuple[tuple[PreId, ...], ...]] = ((), ("arc/1",), ("nnm/1",), ("arc/1", "nnm/1"))
FIRST_RULES: Final[tuple[RuleId, ...]] = ("weighted-mean/1", "median/1", "trimmed-mean/1", "krum/1", "multi-krum/1")
"""Those of the first vectors, which stand first in the file."""

ROOT_ROW: Final = 1
SEED: Final = sha256(b"a round's seed").digest()


@dataclass(frozen=True, slots=True)
class Round:
    """All inputs of one aggregation."""

    spec: RuleSpec
    schema: ModelSchema
    exponents: tuple[int, ...]
    weights: tuple[int, ...]
    clip_norm: int
    model: NDArray[np.int32]
    updates: NDArray[np.int16]
    seed: bytes = SEED
    root: int | None = None

    def aggregation(self) -> Aggregation:
        """Aggregate."""
        segments = self.schema.segments(self.exponents)
        return aggregate(
            self.spec, self.updates, self.weights, segments, clip_norm=self.clip_norm, seed=self.seed, root=self.root
        )


def pseudo_random(name: str, count: int, bound: int) -> list[int]:
    """Return integers within +-bound: the first 8 bytes, big-endian, of SHA-256(name/i), modulo 2 * bound + 1."""
    heads = (sha256(f"{name}/{place}".encode()).digest()[:8] for place in range(count))
    return [int.from_bytes(head, "big") % (2 * bound + 1) - bound for head in heads]


def rounds(size: int) -> list[Round]:
    """Return a round for every rule behind every pre-aggregation, and some with caps, clips and many rows."""
    specs = [RuleSpec(rule, 2, pre) for rule in FIRST_RULES for pre in PRE_IDS]
    plain = [round_of(spec, 8, size, 0) for spec in specs]
    return [
        *plain,
        round_of(RuleSpec("weighted-mean/1", 0, weight_cap_permille=300), 5, size, 0),
        round_of(RuleSpec("weighted-mean/1", 0), 3, size, 9000),
        round_of(RuleSpec("trimmed-mean/1", 1, ("arc/1", "nnm/1")), 4, size, 20000),
        round_of(RuleSpec("multi-krum/1", 3, keep=4), 10, size, 0),
        round_of(RuleSpec("median/1", 30), 70, size, 0),
        *(round_of(spec, minimum_updates(spec) + 3, size, 0) for spec in later_specs()),
    ]


def later_specs() -> list[RuleSpec]:
    """Return specs of the rules that came later, and of all that may stand behind bucketing."""
    orders: list[tuple[RuleId, tuple[PreId, ...]]] = [(rule, pre) for rule in get_args(RuleId) for pre in PRE_ORDERS]
    return [
        spec_of(rule, 1 if "bucketing/1" in pre else 2, pre)
        for rule, pre in orders
        if ("bucketing/1" in pre or rule not in FIRST_RULES) and may_stand(rule, pre)
    ]


def may_stand(rule: RuleId, pre: tuple[PreId, ...]) -> bool:
    """Whether rows may be mixed so before the rule."""
    return not ("bucketing/1" in pre and rule in (*WEIGHTED, "fltrust/1")) and (rule, "nnm/1" in pre) != (
        "fltrust/1",
        True,
    )


def spec_of(rule: RuleId, f: int, pre: tuple[PreId, ...] = (), **changes: int) -> RuleSpec:
    """Return a spec with whatever parameters its rule cannot do without."""
    fields: dict[str, object] = {}
    if rule in WEIGHTED_ROBUST and f:
        fields["weight_cap_permille"] = 480 // f
    if rule == "centred-clipping/1":
        fields["radius_micros"] = 400_000
    if rule == "fltrust/1":
        fields["root"] = "root"
    if "bucketing/1" in pre:
        fields["bucket"] = 2
    return RuleSpec(rule, f, pre, **(fields | changes))  # type: ignore[arg-type]


def round_of(spec: RuleSpec, count: int, size: int, clip_norm: int) -> Round:
    """Return one round; every third row is five times as long as the others."""
    name = f"{spec.rule}+{'+'.join(spec.pre)}/{count}/{size}"
    columns = size // 2
    schema = ModelSchema((TensorSpec("a", (columns,), 0), TensorSpec("b", (size - columns,), 2, -1)))
    flat = pseudo_random(name, count * size, 1600)
    rows = np.array(flat, np.int64).reshape(count, size)
    rows[::3] *= 5
    weights = tuple(abs(weight) + 1 for weight in pseudo_random(f"{name}/weights", count, 500))
    model = np.array(pseudo_random(f"{name}/model", size, 2**31 - 1), np.int32)
    words = np.clip(rows, -WORD_MAX, WORD_MAX).astype(np.int16)
    return Round(spec, schema, (-3, -1), weights, clip_norm, model, words, root=ROOT_ROW if spec.root else None)


def next_model(case: Round, got: Aggregation) -> tuple[NDArray[np.int32], int, tuple[int, ...]]:
    """Return the next model, how many of its words were saturated, and the next exponents."""
    words, saturated = apply_aggregate(case.model, got.numerator, got.denominator, case.exponents, case.schema)
    return words, saturated, next_exponents(case.exponents, got.peaks, case.schema)


def digest_of_all(size: int) -> str:
    """Return one SHA-256 over all that the rounds give, in hexadecimal."""
    total = sha256()
    for case in rounds(size):
        got = case.aggregation()
        words, saturated, exponents = next_model(case, got)
        total.update(got.numerator.astype("<i8").tobytes())
        total.update(words.astype("<i4").tobytes())
        facts = (
            got.denominator,
            [tuple(part) for part in got.retained],
            got.norms_squared,
            [(factor.numerator, factor.shift) for factor in got.clip_factors],
            got.peaks,
            got.weights,
            saturated,
            exponents,
        )
        total.update(repr(facts).encode())
    return total.hexdigest()


if __name__ == "__main__":
    print(digest_of_all(600))  # noqa: T201  read by test_aggregation_bits
