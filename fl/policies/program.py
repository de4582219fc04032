"""A policy, ready to judge. One law: what is not true denies, and a denial says which clause it was and on what.

The *clauses* of a policy are the operands of its outermost `&&`s, numbered from 1. They are judged in order, and the
first that is false, or has no value, is the one that a refusal names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fl.policies.checker import Checked, check, require_boolean
from fl.policies.cost import require_bounded
from fl.policies.errors import EvaluationError
from fl.policies.evaluator import Evaluation, Value
from fl.policies.parser import parse
from fl.policies.syntax import NOT, Call, Macro, Name, Node, Select, clauses_of, parts_of, shown, text_of, tree_digest
from fl.policies.types import Input, type_of
from ledger.digest import Digest

COMPILED_MAX: Final = 256
CLAUSE_CHARACTERS_MAX: Final = 200
VALUES_SHOWN_MAX: Final = 8
ITEMS_SHOWN_MAX: Final = 8
VALUE_CHARACTERS_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class Program:
    """A policy that has passed the gate."""

    digest: Digest
    """Of its tree."""

    text: str
    """Canonical."""

    clauses: tuple[Checked, ...]
    cost_max: int
    """Steps that judging takes at most, on the largest inputs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of some inputs."""

    clause: int
    """The first that is not true, from 1; 0 when all are."""

    detail: str
    """The clause and the values in it; empty when all is well."""

    cost: int
    """Steps that the judgement took, the explanation apart."""

    @property
    def allows(self) -> bool:
        """Whether every clause is true."""
        return self.clause == 0


@lru_cache(maxsize=COMPILED_MAX)
def compile_policy(source: str, inputs: type[Input]) -> Program:
    """Let a text through the gate.

    Args:
        source: the expression.
        inputs: class whose fields are the names that it may use.

    Raises:
        PolicyError: it is no policy; the message says where and why.
    """
    node = parse(source)
    whole = check(node, dict(type_of(inputs).fields))
    require_boolean(whole)
    cost = require_bounded(whole)
    clauses = tuple(check(one, dict(type_of(inputs).fields)) for one in clauses_of(node))
    return Program(tree_digest(node), text_of(node), clauses, cost)


def judge(program: Program, inputs: Input) -> Verdict:
    """Return what a policy says of these inputs; an error is a denial."""
    values = {name: getattr(inputs, name) for name in inputs.__struct_fields__}
    cost = 0
    for number, clause in enumerate(program.clauses, start=1):
        evaluation, error = Evaluation(values), ""
        try:
            holds = evaluation.value(clause) is True
        except EvaluationError as failure:
            holds, error = False, str(failure)
        cost += evaluation.cost
        if not holds:
            return Verdict(number, _explained(clause, values, error), cost)
    return Verdict(0, "", cost)


def _explained(clause: Checked, values: dict[str, Value], error: str) -> str:
    text = _cut(text_of(clause.node), CLAUSE_CHARACTERS_MAX)
    named = dict(_paths(clause, values))
    named.update(_culprit(clause, values))
    said = [f"{path} = {value}" for path, value in list(named.items())[:VALUES_SHOWN_MAX]]
    return "; ".join([text, *([", ".join(said)] if said else []), *([error] if error else [])])


def _paths(checked: Checked, values: dict[str, Value]) -> Iterator[tuple[str, str]]:
    """Yield each input that an expression reads, with its value, in the order of its text."""
    if isinstance(checked.node, (Name, Select)) and _root(checked.node) in values:
        yield text_of(checked.node), _cut(_value_text(Evaluation(values).value(checked)), VALUE_CHARACTERS_MAX)
        return
    for part in checked.parts:
        yield from _paths(part, values)


def _culprit(clause: Checked, values: dict[str, Value]) -> dict[str, str]:
    """Return what the first item of a list that decided a clause has in it."""
    wanted, loop = "all", clause
    if isinstance(clause.node, Call) and clause.node.function == NOT:
        wanted, loop = "exists", clause.parts[0]
    if not isinstance(loop.node, Macro) or loop.operation != wanted:
        return {}
    over, body = loop.parts
    try:
        items = Evaluation(values).value(over)
    except EvaluationError:
        return {}
    assert isinstance(items, tuple), "it has been checked"
    for item in items:
        inner = {**values, loop.node.variable: item}
        if _decides(body, inner, is_true=wanted == "exists"):
            fields = _reading(body.node, loop.node.variable)
            return {text: shown_ for text, shown_ in _paths(body, inner) if text in fields}
    return {}


def _decides(body: Checked, values: dict[str, Value], *, is_true: bool) -> bool:
    try:
        return Evaluation(values).value(body) is is_true
    except EvaluationError:
        return not is_true


def _reading(node: Node, variable: str) -> set[str]:
    """Return the texts of all that an expression reads of a variable."""
    if isinstance(node, (Name, Select)) and _root(node) == variable:
        return {text_of(node)}
    return set().union(*(_reading(part, variable) for part in parts_of(node)))


def _root(node: Node) -> str:
    while isinstance(node, Select):
        node = node.operand
    return node.name if isinstance(node, Name) else ""


def _value_text(value: Value) -> str:
    if isinstance(value, Input):
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return "{" + ", ".join(f"{name}: {_value_text(field)}" for name, field in fields) + "}"
    if isinstance(value, tuple):
        more = ["..."] if len(value) > ITEMS_SHOWN_MAX else []
        return "[" + ", ".join([*(_value_text(one) for one in value[:ITEMS_SHOWN_MAX]), *more]) + "]"
    return shown(value)


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[:characters_max] + "..."
