"""Section 13.12 of docs/protocol.md: what a policy says when it denies. One law: no rooms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.project.protocol_policies import LEVEL_OF, SIGN_OF, NoValueError, Tree, parts, value


def judged(tree: Tree, names: dict[str, Any]) -> str:
    """Return the clause and the explanation of a denial, empty when all is true."""
    for number, clause in enumerate(clauses(tree), 1):
        error = ""
        try:
            if value(clause, names) is True:
                continue
        except NoValueError as failure:
            error = str(failure)
        values = [f"{text} = {shown}" for text, shown in [*read(clause, names), *guilty(clause, names)]][:8]
        said = [cut(text_of(clause), 200), ", ".join(values), error]
        return f"clause {number}: " + "; ".join(one for one in said if one)
    return ""


def clauses(tree: Tree) -> Iterator[Tree]:
    if tree[:2] == ["call", "_&&_"]:
        for one in tree[2]:
            yield from clauses(one)
    else:
        yield tree


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def text_of(tree: Tree, place: int = 0) -> str:
    """Return the text of a tree in a place that binds so closely."""
    match tree:
        case ["call", function, given]:
            text, level = call_text(function, given)
            return f"({text})" if level < place else text
        case ["select", operand, field]:
            return f"{text_of(operand, 7)}.{field}"
        case ["list", items]:
            return f"[{', '.join(text_of(one) for one in items)}]"
        case ["macro", loop, over, variable, body]:
            return f"{text_of(over, 7)}.{loop}({variable}, {text_of(body)})"
        case ["name", name]:
            return str(name)
        case ["bool", number]:
            return scalar(bool(number))
        case _:
            return scalar(tree[1]) + ("u" if tree[0] == "uint" else "")


def call_text(function: str, given: list[Tree]) -> tuple[str, int]:
    if function in SIGN_OF:
        level = LEVEL_OF[function]
        return f"{text_of(given[0], level)} {SIGN_OF[function]} {text_of(given[1], level + 1)}", level
    if function == "_?_:_":
        return f"{text_of(given[0], 1)} ? {text_of(given[1], 1)} : {text_of(given[2])}", 0
    if function in ("!_", "-_"):
        bare = given[0][:2] == ["call", function] or (function == "-_" and given[0][0] in ("int", "uint"))
        return function[0] + (f"({text_of(given[0])})" if bare else text_of(given[0], 6)), 6
    if function == "_[_]":
        return f"{text_of(given[0], 7)}[{text_of(given[1])}]", 7
    if function == "size":
        return f"size({text_of(given[0])})", 7
    return f"{text_of(given[0], 7)}.{function}({text_of(given[1])})", 7


def scalar(one: object) -> str:
    if isinstance(one, bool):
        return str(one).lower()
    if not isinstance(one, str):
        return str(one)
    for raw, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        one = one.replace(raw, written)
    return f'"{one}"'


def written(one: object) -> str:
    if isinstance(one, dict):
        return "{" + ", ".join(f"{name}: {written(held)}" for name, held in one.items()) + "}"
    if isinstance(one, list):
        return "[" + ", ".join([*map(written, one[:8]), *(["..."] if len(one) > 8 else [])]) + "]"
    return scalar(one)


def root(tree: Tree) -> str:
    while tree[0] == "select":
        tree = tree[1]
    return str(tree[1]) if tree[0] == "name" else ""


def reads(tree: Tree) -> Iterator[Tree]:
    """Yield names and selected fields, as far as they are selected, in the order of the text."""
    if root(tree):
        yield tree
    else:
        for one in parts(tree):
            yield from reads(one)


def read(tree: Tree, names: dict[str, Any], only: str = "") -> list[tuple[str, str]]:
    found = [one for one in reads(tree) if root(one) in names and (not only or root(one) == only)]
    return list({text_of(one): cut(written(value(one, names)), 120) for one in found}.items())


def guilty(clause: Tree, names: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the item of a loop that decided the clause has."""
    negated = clause[:2] == ["call", "!_"]
    loop = clause[2][0] if negated else clause
    if loop[:2] != ["macro", "exists" if negated else "all"]:
        return []
    _, _, over, variable, body = loop
    try:
        items = value(over, names)
    except NoValueError:
        return []
    for item in items:
        inner = {**names, variable: item}
        try:
            harmless = value(body, inner) is not negated
        except NoValueError:
            harmless = False
        if not harmless:
            return read(body, inner, variable)
    return []
