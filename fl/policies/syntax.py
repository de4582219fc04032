"""Expressions as trees. One law: two texts that mean the same tree have one digest and one canonical text.

Function names are those of CEL's own abstract syntax (`_&&_`, `@in`, `_?_:_`), so that other tools know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, assert_never

from ledger.codec import encode
from ledger.digest import Digest, digest

ConstantKind = Literal["bool", "int", "string", "uint"]
MacroKind = Literal["all", "exists", "filter", "map"]

AND: Final = "_&&_"
OR: Final = "_||_"
NOT: Final = "!_"
NEGATE: Final = "-_"
CHOOSE: Final = "_?_:_"
INDEX: Final = "_[_]"
IN: Final = "@in"
SIZE: Final = "size"
EQUALS: Final = "_==_"
INFIX: Final = {
    "||": (OR, 1),
    "&&": (AND, 2),
    "<": ("_<_", 3),
    "<=": ("_<=_", 3),
    ">=": ("_>=_", 3),
    ">": ("_>_", 3),
    "==": (EQUALS, 3),
    "!=": ("_!=_", 3),
    "in": (IN, 3),
    "+": ("_+_", 4),
    "-": ("_-_", 4),
    "*": ("_*_", 5),
    "/": ("_/_", 5),
    "%": ("_%_", 5),
}
"""Operator: its function, and how closely it binds; all bind to the left."""

_SIGN_OF: Final = {function: (sign, level) for sign, (function, level) in INFIX.items()}
_UNARY_LEVEL: Final = 6
_ATOM_LEVEL: Final = 7


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is written down."""

    kind: ConstantKind
    value: bool | int | str


@dataclass(frozen=True, slots=True)
class Name:
    """An input, or the variable of a loop."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """A field of a record."""

    operand: Node
    field: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list that is written down."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator on its arguments; a method's receiver is the first."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Macro:
    """A loop over a list: `over.kind(variable, body)`."""

    kind: MacroKind
    over: Node
    variable: str
    body: Node


Node: TypeAlias = Constant | Name | Select | Items | Call | Macro

Tree: TypeAlias = tuple[object, ...]


def tree_of(node: Node) -> Tree:
    """Return the node as nested tuples of plain values, whose canonical bytes are hashed."""
    match node:
        case Constant(kind, value):
            return (kind, value if isinstance(value, str) else int(value))
        case Name(name):
            return ("name", name)
        case Select(operand, field):
            return ("select", tree_of(operand), field)
        case Items(items):
            return ("list", tuple(tree_of(one) for one in items))
        case Call(function, arguments):
            return ("call", function, tuple(tree_of(one) for one in arguments))
        case Macro(kind, over, variable, body):
            return ("macro", kind, tree_of(over), variable, tree_of(body))
        case _:
            assert_never(node)


def tree_digest(node: Node) -> Digest:
    """Name a tree, whatever spaces, comments and superfluous parentheses its text had."""
    return digest("policy-tree", encode(tree_of(node)))


def clauses_of(node: Node) -> tuple[Node, ...]:
    """Return the operands of the outermost `&&`s: what must hold, one by one."""
    if isinstance(node, Call) and node.function == AND:
        return (*clauses_of(node.arguments[0]), *clauses_of(node.arguments[1]))
    return (node,)


def parts_of(node: Node) -> tuple[Node, ...]:
    """Return what a node is made of, in the order of its text."""
    match node:
        case Constant() | Name():
            return ()
        case Select(operand, _):
            return (operand,)
        case Items(items):
            return items
        case Call(_, arguments):
            return arguments
        case Macro(_, over, _, body):
            return (over, body)
        case _:
            assert_never(node)


def text_of(node: Node) -> str:
    """Return the canonical text of a tree; parsed again it is the same tree."""
    return _text(node, 0)


def quoted(value: str) -> str:
    """Return a string as it is written in an expression."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    for raw, shown in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        escaped = escaped.replace(raw, shown)
    return f'"{escaped}"'


def shown(value: object) -> str:
    """Return a scalar as it is written in an expression."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else str(value)


def _text(node: Node, level: int) -> str:
    """Write a node for a place that needs it to bind at least as closely as `level`."""
    match node:
        case Constant(kind, value):
            return shown(value) + ("u" if kind == "uint" else "")
        case Name(name):
            return name
        case Select(operand, field):
            return f"{_text(operand, _ATOM_LEVEL)}.{field}"
        case Items(items):
            return "[" + ", ".join(_text(one, 0) for one in items) + "]"
        case Macro(kind, over, variable, body):
            return f"{_text(over, _ATOM_LEVEL)}.{kind}({variable}, {_text(body, 0)})"
        case Call(function, arguments):
            text, own = _call(function, arguments)
            return f"({text})" if own < level else text
        case _:
            assert_never(node)


def _call(function: str, arguments: tuple[Node, ...]) -> tuple[str, int]:
    if function in _SIGN_OF:
        sign, level = _SIGN_OF[function]
        return f"{_text(arguments[0], level)} {sign} {_text(arguments[1], level + 1)}", level
    match function, arguments:
        case "_?_:_", (condition, yes, no):
            return f"{_text(condition, 1)} ? {_text(yes, 1)} : {_text(no, 0)}", 0
        case "_[_]", (held, index):
            return f"{_text(held, _ATOM_LEVEL)}[{_text(index, 0)}]", _ATOM_LEVEL
        case (("!_" | "-_"), (operand,)):
            return f"{function[0]}{_negated(function, operand)}", _UNARY_LEVEL
        case "size", (held,):
            return f"size({_text(held, 0)})", _ATOM_LEVEL
        case _, (receiver, *others):
            return (
                f"{_text(receiver, _ATOM_LEVEL)}.{function}({', '.join(_text(one, 0) for one in others)})",
                _ATOM_LEVEL,
            )
        case _:
            raise AssertionError(function)


def _negated(function: str, operand: Node) -> str:
    """Write the operand so that two signs are not read as none, nor a sign before digits as part of a number."""
    same = isinstance(operand, Call) and operand.function == function
    digits = function == NEGATE and isinstance(operand, Constant)
    return f"({_text(operand, 0)})" if same or digits else _text(operand, _UNARY_LEVEL)
