"""From a checked expression and its inputs to a value. One law: the same value and the same cost, or the same error.

Integers are Python's, checked against the range of their type after each step; lists are tuples; nothing is iterated
but tuples. An error is absorbed where CEL absorbs it: `&&` and `||` do not care which side failed when the other one
decides, and `all` and `exists` are long `&&`s and `||`s.

Source: google/cel-spec, doc/langdef.md, "Logical Operators" and "Macros".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from fl.policies.checker import Checked
from fl.policies.cost import extra
from fl.policies.errors import EvaluationError
from fl.policies.parser import INT_MAX, INT_MIN, UINT_MAX
from fl.policies.syntax import Constant, Macro, Name, Select
from fl.policies.types import Input

Value: TypeAlias = bool | int | str | Input | tuple["Value", ...]

_PLAIN: Final[dict[str, Callable[..., Value]]] = {
    "equal": operator.eq,
    "unequal": operator.ne,
    "less": operator.lt,
    "less_or_equal": operator.le,
    "greater": operator.gt,
    "greater_or_equal": operator.ge,
    "contains": operator.contains,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "join_strings": operator.add,
    "join_lists": operator.add,
    "not": operator.not_,
    "size": len,
}


class Evaluation:
    """One evaluation on some inputs; `cost` tells how many steps it has taken."""

    def __init__(self, inputs: Mapping[str, Value]) -> None:
        self._values = dict(inputs)
        self.cost = 0

    def value(self, checked: Checked) -> Value:
        """Return what an expression is.

        Raises:
            EvaluationError: it is nothing.
        """
        self.cost += 1
        match checked.node:
            case Constant(_, value):
                return value
            case Name(name):
                return self._values[name]
            case Select(_, field):
                selected: Value = getattr(self.value(checked.parts[0]), field)
                return selected
            case Macro():
                return self._loop(checked, checked.node)
            case _:
                return self._call(checked)

    def bind(self, name: str, value: Value) -> None:
        """Let a name stand for a value."""
        self._values[name] = value

    def _call(self, checked: Checked) -> Value:
        match checked.operation:
            case "and" | "or":
                return self._logical(checked)
            case "choose":
                condition, yes, no = checked.parts
                return self.value(yes if self.value(condition) else no)
        values = tuple(self.value(part) for part in checked.parts)
        self.cost += extra(checked, tuple(len(one) if isinstance(one, (str, tuple)) else 0 for one in values))
        return _applied(checked.operation, values)

    def _logical(self, checked: Checked) -> Value:
        decisive, failure = checked.operation == "or", None
        for part in checked.parts:
            try:
                if self.value(part) is decisive:
                    return decisive
            except EvaluationError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return not decisive

    def _loop(self, checked: Checked, macro: Macro) -> Value:
        over, body = checked.parts
        items = self.value(over)
        assert isinstance(items, tuple), "it has been checked"
        found: list[Value] = []
        failure: EvaluationError | None = None
        for item in items:
            self.cost += 1
            self.bind(macro.variable, item)
            try:
                value = self.value(body)
            except EvaluationError as error:
                if checked.operation in {"filter", "map"}:
                    raise
                failure = failure or error
                continue
            if checked.operation in {"all", "exists"}:
                if value is (checked.operation == "exists"):
                    return value
            elif checked.operation == "map" or value is True:
                found.append(value if checked.operation == "map" else item)
        if failure is not None:
            raise failure
        return tuple(found) if checked.operation in {"filter", "map"} else checked.operation == "all"


def _applied(operation: str, values: tuple[Value, ...]) -> Value:
    plain = _PLAIN.get(operation)
    if plain is not None:
        result: Value = plain(*values)
        return result
    match operation, values:
        case "list", _:
            return values
        case "in", (member, tuple() as held):
            return member in held
        case "index", (tuple() as held, int() as index):
            if not 0 <= index < len(held):
                raise EvaluationError(f"there is no item {index} in a list of {len(held)}")
            item: Value = held[index]
            return item
        case "negate", (int() as operand,):
            return _within("int", -operand)
        case _, (int() as left, int() as right):
            return _calculated(operation, left, right)
        case _:
            raise AssertionError(operation)


def _calculated(operation: str, left: int, right: int) -> int:
    name, _, kind = operation.partition("_")
    return _within(kind, _ARITHMETIC[name](left, right))


def _within(kind: str, value: int) -> int:
    low, high = (0, UINT_MAX) if kind == "uint" else (INT_MIN, INT_MAX)
    if not low <= value <= high:
        raise EvaluationError(f"{kind} overflow")
    return value


def _quotient(left: int, right: int) -> int:
    """Divide, rounding towards zero.

    Raises:
        EvaluationError: by zero, or the one quotient of two ints that is no int.
    """
    if right == 0:
        raise EvaluationError("division by zero")
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return _within("int" if left < 0 or right < 0 else "uint", quotient)


_ARITHMETIC: Final[dict[str, Callable[[int, int], int]]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": _quotient,
    "modulo": lambda left, right: left - right * _quotient(left, right),
}
