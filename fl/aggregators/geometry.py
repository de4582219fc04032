"""Rules that need no update, only the updates' inner products. One law: they decide what `decide` decides, bit for bit.

Sealed aggregation (`fl.sealed`) knows the exact Gram matrix and never a word. What it can carry out is a sum of rows
with coefficients that follow from the matrix: neither an order of values per coordinate (median, trimmed mean, Bulyan)
nor a clip that rounds every word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from fl.aggregators.bucketing import buckets
from fl.aggregators.clip import clip_norm_in_units
from fl.aggregators.errors import RuleSpecError, TooFewUpdatesError, TooManyUpdatesError
from fl.aggregators.gram import Gram
from fl.aggregators.mixing import mixed_gram
from fl.aggregators.nnm import nearest_neighbourhoods
from fl.aggregators.plan import Linear, Situation
from fl.aggregators.registry import RULES, maximum_updates, minimum_updates
from fl.aggregators.spec import RuleId, RuleSpec
from fl.aggregators.weights import SHARE_TOTAL, apportion

PER_COORDINATE: Final[tuple[RuleId, ...]] = (
    "median/1",
    "trimmed-mean/1",
    "bulyan/1",
    "mean-around-median/1",
    "weighted-median/1",
    "weighted-trimmed-mean/1",
)
"""Rules that look at each coordinate's values."""


SELECTING: Final[tuple[RuleId, ...]] = ("krum/1", "multi-krum/1", "mda/1", "cge/1", "dnc/1")
"""Rules whose result is the plain mean of some rows."""


def geometric_faults(spec: RuleSpec) -> Iterator[str]:
    """Say why a rule cannot be carried out from inner products alone."""
    if spec.rule in PER_COORDINATE:
        yield f"{spec.rule} orders the values of each coordinate, which inner products do not show"
    if "arc/1" in spec.pre:
        yield "arc/1 rounds every word of a clipped update, which inner products do not show"


def linear_plan(
    spec: RuleSpec,
    gram: Gram,
    weights: Sequence[int],
    exponents: Sequence[int],
    *,
    seed: bytes = b"",
    root: int | None = None,
) -> Linear:
    """Return the coefficients of a round's updates.

    Args:
        spec: the rule, f, mixing.
        gram: n x n, exact, in squared grid units of the smallest exponent, rows in ascending order of participant id.
        weights: n sample counts (used by weighted rules alone).
        exponents: the tensors' exponents.
        seed: of the round, for what is drawn by lot.
        root: the row of `spec.root`, None when it is not there.

    Raises:
        RuleSpecError: the rule needs more than inner products.
        TooFewUpdatesError: n < `minimum_updates(spec)`.
        TooManyUpdatesError: n > `maximum_updates(spec)`.
        RootMissingError: the rule needs a root and it is not there.
        WeightError: a weight of a weighted rule is not a sample count.
    """
    faults = list(geometric_faults(spec))
    if faults:
        raise RuleSpecError("; ".join(faults))
    _require_count(spec, len(gram))
    mixing = None
    if "nnm/1" in spec.pre:
        mixing = nearest_neighbourhoods(gram, spec.f)
    elif spec.bucket:
        mixing = buckets(len(gram), spec.bucket, seed)
    rule = RULES[spec.rule]
    situation = Situation(
        count=len(gram) if mixing is None else mixing.count,
        shares=apportion(weights, spec.weight_cap_permille) if rule.weighted else (),
        gram=gram if mixing is None else mixed_gram(gram, mixing),
        weight=1 if mixing is None else mixing.weight,
        radius=clip_norm_in_units(spec.radius_micros, exponents),
        root=root,
    )
    plan = rule.plan(spec, situation)
    assert isinstance(plan, Linear), f"{spec.rule} gave {type(plan).__name__} from inner products"
    if mixing is None:
        return plan
    return Linear(mixing.fold(plan.coefficients, len(gram)), plan.denominator * mixing.weight)


def denominator_max(spec: RuleSpec, count: int) -> int:
    """Return what no denominator of the rule's results from at most `count` updates exceeds."""
    rows = count if spec.rule in SELECTING else SHARE_TOTAL
    return rows * (count if "nnm/1" in spec.pre else max(spec.bucket, 1) ** 2)


def _require_count(spec: RuleSpec, count: int) -> None:
    needed, most = minimum_updates(spec), maximum_updates(spec)
    if count < needed:
        raise TooFewUpdatesError(rule=spec.rule, received=count, needed=needed)
    if count > most:
        raise TooManyUpdatesError(rule=spec.rule, received=count, updates_max=most)
