"""What may meet what. One law: an expression that passes can fail on its inputs only by overflow, zero or an index.

Every node gets a type and every call an *overload*, as in CEL's own checker; there is no dynamic type, and no value is
ever converted into one of another type.

Source: google/cel-spec, doc/langdef.md, "Gradual Type Checking" and "Standard Definitions".
Differs from it in: no `dyn`; no ordering of booleans; records cannot be compared; a written list has items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final, assert_never

from fl.policies.errors import PolicyTypeError
from fl.policies.syntax import (
    CHOOSE,
    EQUALS,
    IN,
    INDEX,
    SIZE,
    Call,
    Constant,
    Items,
    Macro,
    Name,
    Node,
    Select,
    text_of,
)
from fl.policies.types import BOOL, INT, UINT, Type, is_comparable, is_same, larger, list_of, text

_SHOWN_MAX: Final = 80
_TWO: Final = 2
_LOGICAL: Final = {"_&&_": "and", "_||_": "or"}
_ORDERED: Final = {"_<_": "less", "_<=_": "less_or_equal", "_>_": "greater", "_>=_": "greater_or_equal"}
_ARITHMETIC: Final = {"_+_": "add", "_-_": "subtract", "_*_": "multiply", "_/_": "divide", "_%_": "modulo"}
_TEXTUAL: Final = {"contains": "contains", "startsWith": "starts_with", "endsWith": "ends_with"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A node with its type."""

    node: Node
    type: Type
    operation: str
    """What is to be done with the parts; `add_int`, say, or the macro's kind."""

    parts: tuple[Checked, ...] = ()


def check(node: Node, inputs: Mapping[str, Type]) -> Checked:
    """Give every part of an expression its type.

    Args:
        node: the expression.
        inputs: types of the names that it may use.

    Raises:
        PolicyTypeError: an unknown name or field, or operands that do not fit.
    """
    match node:
        case Constant(kind, value):
            size = len(value) if isinstance(value, str) else 0
            return Checked(node, Type(kind, size), "constant")
        case Name(name):
            if name not in inputs:
                raise PolicyTypeError(f"there is no input {name}: there are {', '.join(sorted(inputs))}")
            return Checked(node, inputs[name], "name")
        case Select():
            return _select(node, inputs)
        case Items(items):
            return _items(node, tuple(check(one, inputs) for one in items))
        case Macro():
            return _macro(node, inputs)
        case Call(function, arguments):
            parts = tuple(check(one, inputs) for one in arguments)
            operation, found = _overload(node, function, tuple(part.type for part in parts))
            return Checked(node, found, operation, parts)
        case _:
            assert_never(node)


def require_boolean(checked: Checked) -> None:
    """Check that an expression says yes or no.

    Raises:
        PolicyTypeError: it says something else.
    """
    if checked.type.kind != "bool":
        raise PolicyTypeError(f"a policy must be a bool, this one is {checked.type}")


def _select(node: Select, inputs: Mapping[str, Type]) -> Checked:
    operand = check(node.operand, inputs)
    found = operand.type.field(node.field)
    if found is None:
        known = ", ".join(name for name, _ in operand.type.fields) or "none"
        raise PolicyTypeError(f"{_shown(node.operand)} is {operand.type} and has no field {node.field}: it has {known}")
    return Checked(node, found, "select", (operand,))


def _items(node: Items, parts: tuple[Checked, ...]) -> Checked:
    if not parts:
        raise PolicyTypeError("an empty list has no type: compare size() with 0 instead")
    first = parts[0].type
    for part in parts:
        if not is_same(part.type, first):
            raise PolicyTypeError(f"{_shown(node)} mixes {first} and {part.type}")
    return Checked(node, list_of(reduce(larger, (part.type for part in parts)), len(parts)), "list", parts)


def _macro(node: Macro, inputs: Mapping[str, Type]) -> Checked:
    over = check(node.over, inputs)
    if over.type.kind != "list" or over.type.element is None:
        raise PolicyTypeError(f"{_shown(node.over)} is {over.type}; .{node.kind}() is for lists")
    if node.variable in inputs:
        raise PolicyTypeError(f"{node.variable} is the name of something else already: choose another variable")
    body = check(node.body, {**inputs, node.variable: over.type.element})
    if node.kind != "map" and body.type.kind != "bool":
        raise PolicyTypeError(f"in .{node.kind}() a bool was needed, {_shown(node.body)} is {body.type}")
    match node.kind:
        case "all" | "exists":
            found = BOOL
        case "filter":
            found = over.type
        case "map":
            found = list_of(body.type, over.type.size_max)
        case _:
            assert_never(node.kind)
    return Checked(node, found, node.kind, (over, body))


def _overload(node: Node, function: str, types: tuple[Type, ...]) -> tuple[str, Type]:
    found = _binary(function, *types) if len(types) == _TWO else _other(function, types)
    if found is None:
        given = " and ".join(str(one) for one in types)
        raise PolicyTypeError(f"in {_shown(node)}: {function.strip('_@')} does not take {given}")
    return found


def _binary(function: str, left: Type, right: Type) -> tuple[str, Type] | None:
    if function == INDEX:
        fits = left.kind == "list" and right.kind == "int"
        return ("index", left.element) if fits and left.element is not None else None
    if function == IN:
        fits = left.kind != "list" and right.element is not None and is_same(left, right.element)
        return ("in", BOOL) if fits and is_comparable(left) else None
    if not is_same(left, right):
        return None
    kind = left.kind
    if function in _LOGICAL:
        return (_LOGICAL[function], BOOL) if kind == "bool" else None
    if function in {EQUALS, "_!=_"}:
        return ("equal" if function == EQUALS else "unequal", BOOL) if is_comparable(left) else None
    if function in _ORDERED:
        return (_ORDERED[function], BOOL) if kind in {"int", "uint", "string"} else None
    if function in _TEXTUAL:
        return (_TEXTUAL[function], BOOL) if kind == "string" else None
    if kind in {"int", "uint"}:
        return f"{_ARITHMETIC[function]}_{kind}", INT if kind == "int" else UINT
    return _joined(left, right) if function == "_+_" else None


def _joined(left: Type, right: Type) -> tuple[str, Type] | None:
    size = left.size_max + right.size_max
    if left.kind == "string":
        return "join_strings", text(size)
    if left.kind == "list":
        assert left.element is not None, "lists have elements"
        assert right.element is not None, "lists have elements"
        return "join_lists", list_of(larger(left.element, right.element), size)
    return None


def _other(function: str, types: tuple[Type, ...]) -> tuple[str, Type] | None:
    match function, types:
        case "!_", (operand,) if operand.kind == "bool":
            return "not", BOOL
        case "-_", (operand,) if operand.kind == "int":
            return "negate", INT
        case _, (operand,) if function == SIZE and operand.kind in {"list", "string"}:
            return "size", INT
        case _, (condition, yes, no) if function == CHOOSE and condition.kind == "bool" and is_same(yes, no):
            return "choose", larger(yes, no)
        case _:
            return None


def _shown(node: Node) -> str:
    whole = text_of(node)
    return whole if len(whole) <= _SHOWN_MAX else whole[:_SHOWN_MAX] + "..."
