"""How much work an expression may be. One law: the bound is known before anything is evaluated, and is never exceeded.

A *step* is the evaluation of one node. What reads whole strings or lists costs more, by their sizes: by the largest
possible ones here, by the actual ones in `evaluator`; since the formulas grow with the sizes, this bound holds there.
"""

from __future__ import annotations

from typing import Final

from fl.policies.checker import Checked
from fl.policies.errors import PolicyCostError
from fl.policies.types import Type

COST_MAX: Final = 1_000_000
"""Steps of one policy on the largest inputs there can be."""

CHARACTERS_A_STEP: Final = 256
MEMBERS_A_STEP: Final = 8
_LOOPS: Final = frozenset({"all", "exists", "filter", "map"})
_COMPARING: Final = frozenset(
    {"equal", "unequal", "less", "less_or_equal", "greater", "greater_or_equal"}
    | {"contains", "starts_with", "ends_with", "join_strings", "join_lists"}
)


def require_bounded(checked: Checked) -> int:
    """Return the bound of an expression's cost.

    Raises:
        PolicyCostError: it is larger than `COST_MAX`.
    """
    cost = bound_of(checked)
    if cost > COST_MAX:
        raise PolicyCostError(cost=cost, cost_max=COST_MAX)
    return cost


def bound_of(checked: Checked) -> int:
    """Return how many steps an expression takes at most."""
    sizes = tuple(part.type.size_max for part in checked.parts)
    if checked.operation in _LOOPS:
        over, body = checked.parts
        return 1 + bound_of(over) + sizes[0] * (1 + bound_of(body))
    return 1 + extra(checked, sizes) + sum(bound_of(part) for part in checked.parts)


def extra(checked: Checked, sizes: tuple[int, ...]) -> int:
    """Return what an operation costs beside its own step and its parts.

    Args:
        checked: no loop.
        sizes: of the values of its parts, 0 for what has no size.
    """
    if checked.operation in _COMPARING:
        return sum(_work(part.type, size) for part, size in zip(checked.parts, sizes, strict=True))
    if checked.operation == "in":
        member = checked.parts[0].type
        return sizes[1] * (1 + _work(member, member.size_max)) // MEMBERS_A_STEP
    return len(checked.parts) if checked.operation == "list" else 0


def _work(one: Type, size: int) -> int:
    if one.element is not None:
        return size * (1 + _work(one.element, one.element.size_max)) // MEMBERS_A_STEP
    return size // CHARACTERS_A_STEP
