"""Weights from the opened Gram matrix. One law: integers, and nothing is decided by a matrix that no vectors can have.

Rows longer than B have no part, and their senders are named: a length is opened exactly. What is left must be positive
semidefinite; where somebody's products wrapped around, the fewest rows are left out that make it so, at most f: the
liars alone would do, so there always is such a set. Nobody is accused of it, since a matrix does not say which of two
rows lied. The rule's promise holds for the rows that stay, of which at most f are liars. `docs/sealed.md` has the
argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final, Literal

from fl.aggregators.errors import AggregationError, RootMissingError, TooFewUpdatesError
from fl.aggregators.geometry import linear_plan
from fl.aggregators.gram import Gram
from fl.sealed.task import SealedTask

SEARCHES_MAX: Final = 4096
"""Matrices looked at when rows must be left out; beyond it the round fails."""

EVENNESS: Final = 8
"""An update with less than an eighth of the largest weight does not hide the others and is not counted."""

Refusal = Literal["too_few_updates", "inconsistent", "too_few_selected", "root_missing"]
"""Why no sum is opened."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How the updates are added up."""

    weights: tuple[int, ...]
    """One a row, at least 0, without a common factor."""

    factor: int
    """The rule's numerator is `factor` times the weighted sum."""

    denominator: int
    left_out: tuple[int, ...]
    """Rows that had no part, ascending: too long, or not consistent with the others."""

    @property
    def selected(self) -> tuple[int, ...]:
        """Rows with a weight."""
        return tuple(row for row, weight in enumerate(self.weights) if weight)


def select(
    task: SealedTask, gram: Gram, samples: Sequence[int], *, seed: bytes = b"", root: int | None = None
) -> Selection | Refusal:
    """Return the weights of a round's updates.

    Args:
        task: the rule and its bounds.
        gram: exact, signed, rows in ascending order of participant id.
        samples: sample counts, one a row.
        seed: of the round, for what is drawn by lot.
        root: the row of the participant whom the rule trusts.
    """
    long = set(too_long(task, gram))
    short = [row for row in range(len(gram)) if row not in long]
    rows = consistent_rows(gram, short, task.rule.f)
    if rows is None:
        return "inconsistent"
    part = tuple(tuple(gram[row][other] for other in rows) for row in rows)
    try:
        plan = linear_plan(
            task.rule,
            part,
            [samples[row] for row in rows],
            task.exponents,
            seed=seed,
            root=rows.index(root) if root in rows else None,
        )
    except (TooFewUpdatesError, RootMissingError) as error:
        return _reason(error)
    factor = gcd(*plan.coefficients) or 1
    weights = [0] * len(gram)
    for row, coefficient in zip(rows, plan.coefficients, strict=True):
        weights[row] = coefficient // factor
    if sum(EVENNESS * weight >= max(weights) for weight in weights if weight) < task.selected_min:
        return "too_few_selected"
    left_out = tuple(sorted(set(range(len(gram))) - set(rows)))
    return Selection(tuple(weights), factor, plan.denominator, left_out)


def too_long(task: SealedTask, gram: Gram) -> list[int]:
    """Return the rows that no participant may send: longer than B, or of a negative squared length."""
    return [row for row, line in enumerate(gram) if not 0 <= line[row] <= task.norm_max**2]


def consistent_rows(gram: Gram, rows: Sequence[int], drop_max: int) -> list[int] | None:
    """Return the rows without the fewest that must go for a positive semidefinite matrix, at most `drop_max`.

    Every set of rows whose matrix is not semidefinite loses a member: of a smallest such set each one is tried, in
    ascending order. None where more would have to go, or that would take more than `SEARCHES_MAX` matrices.
    """
    left = [SEARCHES_MAX]
    for depth in range(drop_max + 1):
        found = _without(gram, list(rows), depth, left)
        if found is not None:
            return found
    return None


def is_semidefinite(gram: Gram, rows: Sequence[int]) -> bool:
    """Say exactly whether the rows' matrix is positive semidefinite.

    Source: Bareiss, "Sylvester's Identity and Multistep Integer-Preserving Gaussian Elimination", Mathematics of
    Computation 1968, on the largest diagonal entry each time.
    """
    matrix = [[gram[row][other] for other in rows] for row in rows]
    before = 1
    while matrix:
        diagonal = [line[place] for place, line in enumerate(matrix)]
        if min(diagonal) < 0:
            return False
        pivot = diagonal.index(max(diagonal))
        if diagonal[pivot] == 0:
            return not any(any(line) for line in matrix)
        lead = matrix.pop(pivot)
        scale = lead.pop(pivot)
        column = [line.pop(pivot) for line in matrix]
        matrix = [
            [(scale * entry - own * other) // before for entry, other in zip(line, lead, strict=True)]
            for line, own in zip(matrix, column, strict=True)
        ]
        before = scale
    return True


def _without(gram: Gram, rows: list[int], depth: int, left: list[int]) -> list[int] | None:
    if left[0] <= 0:
        return None
    left[0] -= 1
    if is_semidefinite(gram, rows):
        return rows
    if depth == 0:
        return None
    for row in _contradiction(gram, rows):
        found = _without(gram, [other for other in rows if other != row], depth - 1, left)
        if found is not None:
            return found
    return None


def _contradiction(gram: Gram, rows: list[int]) -> list[int]:
    """Return rows whose matrix is not semidefinite, and is without any of them."""
    for place, row in enumerate(rows):
        for other in rows[place + 1 :]:
            if not is_semidefinite(gram, (row, other)):
                return [row, other]
    kept = list(rows)
    for row in rows:
        fewer = [other for other in kept if other != row]
        if not is_semidefinite(gram, fewer):
            kept = fewer
    return kept


def _reason(error: AggregationError) -> Refusal:
    return "root_missing" if isinstance(error, RootMissingError) else "too_few_updates"
