"""Section 13.12 of docs/protocol.md: the language of policies, from the page alone. One law: no rooms.

A tree is what the page says it is, nested arrays; the inputs' types are read from the page's tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, Final, TypeAlias

from tests.project.protocol_reader import digest
from tests.project.protocol_records import PAGE, encode

Tree: TypeAlias = list[Any]
Held: TypeAlias = Any
"""A value: a bool, an int, a string, a list, a dict for a record."""

Kind: TypeAlias = tuple[Any, ...]
"""("int",), ("string", n), ("list", n, kind), ("record", name), ..."""

WORD: Final = re.compile(
    r"(?P<skip>(?:[ \t\r\n\f]|//[^\n]*)+)|(?P<float>[0-9]+\.[0-9]|[0-9]+[eE][+-]?[0-9]|\.[0-9])"
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|[0-9]+)[uU]?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?![A-Za-z0-9_\"']))"
    r"|(?P<string>\"(?:[^\"\\\n\r]|\\[nrt\\\"'])*\"|'(?:[^'\\\n\r]|\\[nrt\\\"'])*')"
    r"|(?P<sign>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]])"
)
BANNED: Final = re.findall(
    r"\w+",
    """as break const continue else false for function if import in let loop namespace null package return true var
    void while""",
)
LEVELS: Final = [
    {"||": "_||_"},
    {"&&": "_&&_"},
    {**{sign: f"_{sign}_" for sign in ("<", "<=", ">=", ">", "==", "!=")}, "in": "@in"},
    {"+": "_+_", "-": "_-_"},
    {"*": "_*_", "/": "_/_", "%": "_%_"},
]
LEVEL_OF: Final = {function: level for level, signs in enumerate(LEVELS, 1) for function in signs.values()}
SIGN_OF: Final = {function: sign for signs in LEVELS for sign, function in signs.items()}
LOOPS: Final = ("all", "exists", "filter", "map")
BOOL: Final[Kind] = ("bool",)


class BadError(Exception):
    """The text is no policy."""


class NoValueError(Exception):
    """The expression has no value here."""


class Unsigned(int):
    """A uint."""


def insist(holds: object) -> None:
    if not holds:
        raise BadError


# Text to tree


def words(source: str) -> list[tuple[str, str]]:
    insist(len(source) <= 4_096 and re.fullmatch(r"[\t\n\f\r -~]*", source))
    found, at = list[tuple[str, str]](), 0
    while at < len(source):
        match = WORD.match(source, at)
        insist(match)
        assert match is not None
        kind, text = str(match.lastgroup), match.group()
        insist(kind != "float" and not (kind == "string" and source[at : at + 3] in ('"""', "'''")))
        if kind != "skip":
            found.append((kind, text))
        at = match.end()
    return [*found, ("end", "")]


class Reading:
    """A text that is read from left to right."""

    def __init__(self, source: str) -> None:
        self.words = words(source)
        self.at = 0
        self.inside = 0

    def take(self, *signs: str) -> str:
        kind, text = self.words[self.at]
        if kind in ("sign", "name") and text in signs:
            self.at += 1
            return text
        return ""

    def need(self, sign: str) -> None:
        insist(self.take(sign))

    def name(self) -> str:
        kind, text = self.words[self.at]
        insist(kind == "name")
        self.at += 1
        return text

    def expression(self) -> Tree:
        self.inside += 1
        insist(self.inside <= 24)
        tree = self.level(0)
        if self.take("?"):
            yes = self.level(0)
            self.need(":")
            tree = ["call", "_?_:_", [tree, yes, self.expression()]]
        self.inside -= 1
        return tree

    def level(self, level: int) -> Tree:
        if level == len(LEVELS):
            return self.unary()
        tree = self.level(level + 1)
        while sign := self.take(*LEVELS[level]):
            tree = ["call", LEVELS[level][sign], [tree, self.level(level + 1)]]
        return tree

    def unary(self) -> Tree:
        sign = self.take("!", "-")
        if not sign:
            return self.member(self.primary())
        count = 1
        while self.take(sign):
            count += 1
        kind, text = self.words[self.at]
        if (sign, count, kind) == ("-", 1, "number") and text[-1] not in "uU":
            self.at += 1
            return self.member(integer(text, -1))
        operand = self.member(self.primary())
        return ["call", f"{sign}_", [operand]] if count % 2 else operand

    def member(self, tree: Tree) -> Tree:
        while True:
            if self.take("["):
                tree = ["call", "_[_]", [tree, self.expression()]]
                self.need("]")
            elif self.take("."):
                name = self.name()
                tree = self.method(tree, name) if self.take("(") else ["select", tree, plain(name)]
            else:
                return tree

    def method(self, tree: Tree, name: str) -> Tree:
        if name in LOOPS:
            variable = plain(self.name())
            self.need(",")
            tree = ["macro", name, tree, variable, self.expression()]
            self.need(")")
            return tree
        given = self.several(")")
        insist(len(given) == {"size": 0, "contains": 1, "startsWith": 1, "endsWith": 1}.get(name))
        return ["call", name, [tree, *given]]

    def several(self, end: str) -> list[Tree]:
        if self.take(end):
            return []
        found = [self.expression()]
        while self.take(","):
            found.append(self.expression())
        self.need(end)
        return found

    def primary(self) -> Tree:
        if self.take("("):
            tree = self.expression()
            self.need(")")
            return tree
        if self.take("["):
            return ["list", self.several("]")]
        kind, text = self.words[self.at]
        self.at += 1
        if kind == "number":
            return integer(text, 1)
        if kind == "string":
            escapes = {"n": "\n", "r": "\r", "t": "\t"}
            return ["string", re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), text[1:-1])]
        insist(kind == "name")
        if text in ("true", "false"):
            return ["bool", int(text == "true")]
        if text == "size" and self.take("("):
            given = self.several(")")
            insist(len(given) == 1)
            return ["call", "size", given]
        insist(self.words[self.at] != ("sign", "("))
        return ["name", plain(text)]


def plain(name: str) -> str:
    insist(name not in BANNED)
    return name


def integer(text: str, sign: int) -> Tree:
    unsigned = text[-1] in "uU" and not text.endswith(("xu", "xU"))
    digits = text.rstrip("uU")
    value = sign * int(digits, 16 if digits[:2].lower() == "0x" else 10)
    insist(0 <= value < 2**64 if unsigned else -(2**63) <= value < 2**63)
    return ["uint" if unsigned else "int", value]


def parts(tree: Tree) -> list[Tree]:
    match tree:
        case ["select", operand, _]:
            return [operand]
        case ["list", items] | ["call", _, items]:
            return list(items)
        case ["macro", _, over, _, body]:
            return [over, body]
        case _:
            return []


def tree_of(source: str) -> Tree:
    reading = Reading(source)
    tree = reading.expression()
    insist(reading.words[reading.at][0] == "end")
    layers, nodes = [[tree]], 1
    while layers[-1]:
        layers.append([part for one in layers[-1] for part in parts(one)])
        nodes += len(layers[-1])
    insist(nodes <= 1_024 and len(layers) - 1 <= 100)
    return tree


def tree_digest(tree: Tree) -> bytes:
    return digest("policy-tree", encode(tree))


# Types and cost


@cache
def inputs() -> dict[str, dict[str, Kind]]:
    """Return the page's tables of inputs."""
    pattern = r"^#### Input `(\w+)`\n\n\| field \| type \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)*)"
    found = re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        name: {field: kind_of(text) for field, text in re.findall(r"^\| `(\w+)` \| `(.+?)` \|", rows, re.MULTILINE)}
        for name, rows in found
    }


def kind_of(text: str) -> Kind:
    if match := re.fullmatch(r"list\((.*), (\d+)\)", text):
        return ("list", int(match[2]), kind_of(match[1]))
    if match := re.fullmatch(r"string\((\d+)\)", text):
        return ("string", int(match[1]))
    return (text,) if text in ("int", "bool") else ("record", text)


def same(one: Kind, other: Kind) -> bool:
    if one[0] == "list" == other[0]:
        return same(one[2], other[2])
    return one[0] == other[0] and (one[0] != "record" or one == other)


def wider(one: Kind, other: Kind) -> Kind:
    match one, other:
        case ("list", a, x), ("list", b, y):
            return ("list", max(a, b), wider(x, y))
        case ("string", a), ("string", b):
            return ("string", max(a, b))
        case _:
            return one


def size(kind: Kind) -> int:
    return kind[1] if kind[0] in ("list", "string") else 0


def work(kind: Kind) -> int:
    return size(kind) * (1 + work(kind[2])) // 8 if kind[0] == "list" else size(kind) // 256


def has_records(kind: Kind) -> bool:
    return kind[0] == "record" or (kind[0] == "list" and has_records(kind[2]))


def typed(tree: Tree, names: dict[str, Kind]) -> tuple[Kind, int]:
    """Return the type of an expression and the bound of its cost."""
    match tree:
        case ["string", text]:
            return ("string", len(text)), 1
        case [("int" | "uint" | "bool") as kind, _]:
            return (kind,), 1
        case ["name", name]:
            insist(name in names)
            return names[name], 1
        case ["select", operand, field]:
            kind, cost = typed(operand, names)
            insist(kind[0] == "record" and field in inputs()[kind[1]])
            return inputs()[kind[1]][field], 1 + cost
        case ["macro", loop, over, variable, body]:
            kind, cost = typed(over, names)
            insist(kind[0] == "list" and variable not in names)
            of, each = typed(body, {**names, variable: kind[2]})
            insist(loop == "map" or of == BOOL)
            result: Kind = BOOL if loop in ("all", "exists") else kind if loop == "filter" else ("list", kind[1], of)
            return result, 1 + cost + kind[1] * (1 + each)
        case ["list", items]:
            insist(items)
            kinds, costs = zip(*(typed(one, names) for one in items), strict=True)
            first = kinds[0]
            for kind in kinds:
                insist(same(kind, first))
                first = wider(first, kind)
            return ("list", len(items), first), 1 + sum(costs) + len(items)
        case _:
            kinds, costs = zip(*(typed(one, names) for one in tree[2]), strict=True)
            result, more = called(tree[1], list(kinds))
            return result, 1 + sum(costs) + more


def called(function: str, kinds: list[Kind]) -> tuple[Kind, int]:
    first, last = kinds[0], kinds[-1]
    both, alike = work(first) + work(last), same(first, last)
    if function in ("_||_", "_&&_", "!_"):
        insist(all(kind == BOOL for kind in kinds))
        return BOOL, 0
    if function == "_?_:_":
        insist(first == BOOL and same(kinds[1], kinds[2]))
        return wider(kinds[1], kinds[2]), 0
    if function in ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "contains", "startsWith", "endsWith"):
        allowed = {"=": not has_records(first), "_": first[0] in ("int", "uint", "string")}
        shown = "=" if function in ("_==_", "_!=_") else function[0]
        insist(alike and allowed.get(shown, first[0] == "string"))
        return BOOL, both
    if function == "@in":
        insist(last[0] == "list" and same(first, last[2]) and first[0] not in ("list", "record"))
        return BOOL, last[1] * (1 + work(first)) // 8
    return other_call(function, first, last, both if alike else None)


def other_call(function: str, first: Kind, last: Kind, both: int | None) -> tuple[Kind, int]:
    match function:
        case "_[_]":
            insist(first[0] == "list" and last == ("int",))
            return first[2], 0
        case "size":
            insist(first[0] in ("list", "string"))
            return ("int",), 0
        case "-_":
            insist(first == ("int",))
            return first, 0
        case "_+_" if both is not None and first[0] == "string":
            return ("string", first[1] + last[1]), both
        case "_+_" if both is not None and first[0] == "list":
            return ("list", first[1] + last[1], wider(first[2], last[2])), both
        case _:
            insist(both is not None and first[0] in ("int", "uint"))
            return first, 0


def admitted(source: str, occasion: str) -> Tree:
    """Return the tree of a policy for an occasion."""
    tree = tree_of(source)
    kind, cost = typed(tree, inputs()[f"{occasion.capitalize()}Occasion"])
    insist(kind == BOOL and cost <= 1_000_000)
    return tree


# Values


def value(tree: Tree, names: dict[str, Held]) -> Held:
    match tree:
        case ["uint", number]:
            return Unsigned(number)
        case ["bool", number]:
            return bool(number)
        case ["int" | "string", constant]:
            return constant
        case ["name", name]:
            return names[name]
        case ["select", operand, field]:
            return value(operand, names)[field]
        case ["list", items]:
            return [value(one, names) for one in items]
        case ["macro", loop, over, variable, body]:
            return looped(loop, value(over, names), lambda item: value(body, {**names, variable: item}))
        case [_, ("_||_" | "_&&_") as function, two]:
            return decided((partial(value, one, names) for one in two), by=function == "_||_")
        case [_, "_?_:_", [condition, yes, no]]:
            return value(yes if value(condition, names) else no, names)
        case _:
            return applied(tree[1], *(value(one, names) for one in tree[2]))


def decided(answers: Iterator[Callable[[], bool]], *, by: bool) -> bool:
    """Return `by` if any answer is; else the first error, if there is one."""
    failure = None
    for answer in answers:
        try:
            if answer() is by:
                return by
        except NoValueError as error:
            failure = failure or error
    if failure:
        raise failure
    return not by


def looped(loop: str, items: list[Held], body: Callable[[Held], Held]) -> Held:
    if loop in ("all", "exists"):
        return decided((partial(body, item) for item in items), by=loop == "exists")
    results = [body(item) for item in items]
    return results if loop == "map" else [item for item, keep in zip(items, results, strict=True) if keep]


PLAIN: Final[dict[str, Callable[..., Held]]] = {
    "!_": lambda one: not one,
    "size": len,
    "_==_": lambda one, other: one == other,
    "_!=_": lambda one, other: one != other,
    "_<_": lambda one, other: one < other,
    "_<=_": lambda one, other: one <= other,
    "_>_": lambda one, other: one > other,
    "_>=_": lambda one, other: one >= other,
    "@in": lambda one, items: one in items,
    "contains": lambda one, part: part in one,
    "startsWith": lambda one, part: one[: len(part)] == part,
    "endsWith": lambda one, part: not part or one[-len(part) :] == part,
}


def applied(function: str, first: Held, last: Held = None) -> Held:
    if function in PLAIN:
        return PLAIN[function](first) if last is None else PLAIN[function](first, last)
    if function == "-_":
        return ranged(-first, first)
    if function == "_[_]":
        if not 0 <= last < len(first):
            raise NoValueError(f"there is no item {last} in a list of {len(first)}")
        return first[last]
    return first + last if isinstance(first, str | list) else calculated(function, first, last)


def calculated(function: str, left: int, right: int) -> int:
    if function in ("_/_", "_%_"):
        if right == 0:
            raise NoValueError("division by zero")
        towards_zero = abs(left) // abs(right) * (-1 if left * right < 0 else 1)
        ranged(towards_zero, left)
        return ranged(towards_zero if function == "_/_" else left - right * towards_zero, left)
    return ranged({"_+_": left + right, "_-_": left - right, "_*_": left * right}[function], left)


def ranged(number: int, like: int) -> int:
    unsigned = isinstance(like, Unsigned)
    if not (0 <= number < 2**64 if unsigned else -(2**63) <= number < 2**63):
        raise NoValueError("uint overflow" if unsigned else "int overflow")
    return Unsigned(number) if unsigned else int(number)
