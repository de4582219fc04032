"""Expressions of policies made by lot: mostly sound, now and then not, and full of overflows, zeros and indices."""

from __future__ import annotations

from random import Random

from fl.policies.inputs import BudgetInput, MemberInput, MetricInput, RoundInput, SiteInput, TaskInput, UpdateInput
from fl.policies.occasions import UpdateOccasion
from fl.policies.types import BOOL, INT, UINT, Type, list_of, text

INTEGERS = (0, 1, 2, 3, 5, 7, 50, 100, 2**31, 2**62, 2**63 - 1, -1, -2, -7, -(2**63))
STRINGS = ("", "a", "b", "ab", "heart", "auc", 'qu"ote', "back\\slash", "it's", "line\nfeed", "tab\t")
TEXTS = (
    "true",
    "false // why",
    "(true)",
    "!!true",
    "!(!true)",
    "--1 == 1",
    "-(-1) == 1",
    "-9223372036854775808 < 0",
    "-(9223372036854775807) < 0",
    "9223372036854775808 > 0",
    "18446744073709551615u > 0u",
    "18446744073709551616u > 0u",
    "0x7fffffffffffffff > 0xAu",
    "0xFu == 15u",
    "007 == 7",
    "1.5 > 1",
    "1e3 > 1",
    "1 .5",
    ".5 > 0",
    "1..size()",
    "'a' == \"a\"",
    "'''a''' == 'a'",
    "'' == \"\"",
    r"'\'' == '\"'",
    r"'\x41' == 'A'",
    "b'a' == b'a'",
    "r'a' == 'a'",
    "'a\nb' == ''",
    "null == null",
    "{}",
    "{'a': 1}.a == 1",
    "[] == []",
    "[1, 2,] == [1, 2]",
    "[[1], [2, 3]][1][0] == 2",
    "[1, 'a'] == [1, 'a']",
    "1 == 1u",
    "1 in [1, 2]",
    "[1] in [[1]]",
    "task in [task]",
    "task == task",
    "true < false",
    "'a' + 'b' == 'ab'",
    "[1] + [2] == [1, 2]",
    "size('a') == 'a'.size()",
    "size(1) == 1",
    "size('a', 'b') == 1",
    "has(task.id)",
    "task.id.matches('a')",
    "task.nothing == 1",
    "nothing == 1",
    "task.id()",
    "timestamp(0) == timestamp(0)",
    "int('1') == 1",
    "[1].all(task, true)",
    "[1].all(x, [2].all(x, true))",
    "[1].all(x, true) && [1].all(x, true)",
    "[1].all(in, true)",
    "[1].map(x, x > 0, x) == [1]",
    "[1, 2].map(x, x * 2) == [2, 4]",
    "[1, 2].filter(x, x > 1) == [2]",
    "[1].exists_one(x, true)",
    "true ? 1 : 2",
    "true ? true : false ? true : false",
    "(true ? true : false) ? true : false",
    "true ? 1 == 1 : 'a'",
    "1 < 2 == true",
    "1 < 2 < 3",
    "1 - 2 - 3 == -4",
    "1 - -1 == 2",
    "2 * -3 / 4 % 5 == -1",
    "true || 1 / 0 == 1",
    "1 / 0 == 1 || true",
    "1 / 0 == 1 && false",
    "[0, 1].exists(x, 1 / x == 1)",
    "[0, 1].all(x, 1 / x == 2)",
    "[0].map(x, 1 / x) == [1]",
    "[1][1] == 1 || [2][-1] == 2",
    "0u - 1u == 0u",
    "round.members.all(m, m.samples > 1000)",
    "!round.members.exists(m, m.samples > 0 && m.organisation != task.id)",
    "update.metrics.exists(m, m.name == 'auc' && m.value >= 700000)",
    "round.members.all(a, round.members.all(b, a.samples == b.samples))",
    "round.members.all(a, round.members.all(b, round.members.all(c, a.samples < b.samples + c.samples)))",
    "((((((((((((((((((((((((true))))))))))))))))))))))))",
    "(((((((((((((((((((((((true)))))))))))))))))))))))",
    "true" + " && true" * 98,
    "true" + " && true" * 99,
    "-" * 4_000 + "1 == 1",
    "a" * 4_097,
    "é == é",
    "true;",
    "",
    "&& true",
    "true &&",
    "task.in",
    "`a`",
    "true\x0b",
    "this.size() == 1",
    "return == 1",
    "1u == 1U",
    "1 = 1",
    "a.b.c(d)",
    "task.steps.size() >= 0 && task.id < 'z' && 'z' >= task.purpose && task.id.contains('ear')",
)


class Writer:
    """Writes expressions over some inputs."""

    def __init__(self, lots: Random, inputs: Type, *, faults: bool = True) -> None:
        self.lots = lots
        self._faults = faults
        self._paths: list[tuple[str, Type]] = []
        for name, kind in inputs.fields:
            self._paths += _paths(name, kind)
        self._variables: list[tuple[str, Type]] = []

    def text(self) -> str:
        """Return an expression that is usually a policy."""
        clauses = [self.write(BOOL, self.lots.randint(1, 4)) for _ in range(self.lots.randint(1, 3))]
        whole = " && ".join(clauses)
        if self._faults and self.lots.random() < 0.1:
            at = self.lots.randrange(len(whole) + 1)
            whole = whole[:at] + self.lots.choice("()[].,'\"!-0a &|<=") + whole[at + self.lots.randint(0, 1) :]
        return whole

    def write(self, kind: Type, depth: int) -> str:
        """Return an expression of a type, in brackets where it needs them."""
        if depth <= 0 or self.lots.random() < 0.15:
            return self._leaf(kind)
        choice = self.lots.random()
        if choice < 0.08:
            yes, no = self.write(kind, depth - 1), self.write(kind, depth - 1)
            return f"({self.write(BOOL, depth - 1)} ? {yes} : {no})"
        if choice < 0.14:
            return f"[{self.write(kind, depth - 1)}, {self.write(kind, depth - 1)}][{self.lots.choice((0, 1, 1, 2))}]"
        match kind.kind:
            case "bool":
                return self._boolean(depth)
            case "int" | "uint":
                return self._number(kind, depth)
            case "string":
                return f"({self.write(kind, depth - 1)} + {self.write(kind, depth - 1)})"
            case _:
                return self._list(kind, depth)

    def _leaf(self, kind: Type) -> str:
        known = [path for path, of in (*self._paths, *self._variables) if _fits(of, kind)]
        if known and self.lots.random() < 0.6:
            return self.lots.choice(known)
        match kind.kind:
            case "bool":
                return self.lots.choice(("true", "false"))
            case "int":
                return str(self.lots.choice(INTEGERS))
            case "uint":
                return f"{abs(self.lots.choice(INTEGERS))}u"
            case "string":
                return _quoted(self.lots.choice(STRINGS), self.lots.choice("\"'"))
            case _:
                assert kind.element is not None
                return "[" + ", ".join(self._leaf(kind.element) for _ in range(self.lots.randint(1, 3))) + "]"

    def _boolean(self, depth: int) -> str:
        one = self.lots.choice((INT, INT, UINT, text(9)))
        match self.lots.randrange(8):
            case 0 | 1:
                sign = self.lots.choice(("&&", "||"))
                return f"({self.write(BOOL, depth - 1)} {sign} {self.write(BOOL, depth - 1)})"
            case 2:
                return f"!{self.write(BOOL, depth - 1)}"
            case 3:
                return f"({self.write(one, depth - 1)} in {self.write(list_of(one, 3), depth - 1)})"
            case 4:
                method = self.lots.choice(("startsWith", "endsWith", "contains"))
                return f"{self.write(text(9), depth - 1)}.{method}({self.write(text(9), depth - 1)})"
            case 5:
                return self._loop(BOOL, self.lots.choice(("all", "exists")), depth)
            case 6:
                same = self.lots.choice((one, list_of(one, 3), BOOL))
                return f"({self.write(same, depth - 1)} {self.lots.choice(('==', '!='))} {self.write(same, depth - 1)})"
            case _:
                sign = self.lots.choice(("<", "<=", ">", ">=", "==", "!="))
                return f"({self.write(one, depth - 1)} {sign} {self.write(one, depth - 1)})"

    def _number(self, kind: Type, depth: int) -> str:
        choice = self.lots.randrange(6)
        if choice == 0 and kind.kind == "int":
            return f"size({self.write(self.lots.choice((text(9), list_of(INT, 3))), depth - 1)})"
        if choice == 1 and kind.kind == "int":
            return f"(-{self.write(kind, depth - 1)})"
        return f"({self.write(kind, depth - 1)} {self.lots.choice('+-*/%')} {self.write(kind, depth - 1)})"

    def _list(self, kind: Type, depth: int) -> str:
        assert kind.element is not None
        match self.lots.randrange(4):
            case 0:
                return f"({self.write(kind, depth - 1)} + {self.write(kind, depth - 1)})"
            case 1:
                return self._loop(kind, "map", depth)
            case 2:
                return self._loop(kind, "filter", depth)
            case _:
                return f"[{self.write(kind.element, depth - 1)}, {self.write(kind.element, depth - 1)}]"

    def _loop(self, kind: Type, loop: str, depth: int) -> str:
        if loop == "filter":
            over, element = self.write(kind, depth - 1), kind.element
        else:
            lists = [(path, of) for path, of in self._paths if of.kind == "list"]
            if lists and self.lots.random() < 0.5:
                over, of = self.lots.choice(lists)
                element = of.element
            else:
                element = self.lots.choice((INT, UINT, text(9)))
                over = self.write(list_of(element, 3), depth - 1)
        assert element is not None
        variable = f"v{len(self._variables)}_{self.lots.randrange(3)}"
        mark = len(self._variables)
        self._variables += _paths(variable, element)
        body = self.write(BOOL if loop != "map" or kind.element is None else kind.element, depth - 1)
        del self._variables[mark:]
        return f"{over}.{loop}({variable}, {body})"


def occasion_of(lots: Random) -> UpdateOccasion:
    """Return inputs made by lot."""

    def number() -> int:
        return lots.choice((0, 1, 3, 50, 100, 2**40, 2**63 - 1))

    def word() -> str:
        return lots.choice(STRINGS)

    def words() -> tuple[str, ...]:
        return tuple(word() for _ in range(lots.choice((0, 1, 3, 10))))

    members = tuple(MemberInput(word(), word(), number()) for _ in range(lots.choice((0, 1, 3, 10))))
    metrics = tuple(MetricInput(word(), number() - 5) for _ in range(lots.randint(0, 3)))
    task = TaskInput(
        id=word(),
        specification=word(),
        rule=word(),
        steps=words()[:3],
        attackers=number(),
        clip_norm_micros=number(),
        updates_min=3,
        updates_max=4,
        rounds=number(),
        parameters=8,
        participants=words(),
        has_terms=lots.random() < 0.5,
        purpose=word(),
        data_set=word(),
        architecture=word(),
        code_hash=word(),
        privacy_tier=number(),
        retention_heights=number(),
        reward_share_permille=number(),
    )
    site = SiteInput(
        word(), lots.random() < 0.5, word(), words(), number(), word(), number(), lots.random() < 0.5, words(), 0, 5, 2
    )
    return UpdateOccasion(
        height=number(),
        time_ms=number(),
        task=task,
        round=RoundInput(number(), 1, 2, 3, number(), members, words(), words()),
        update=UpdateInput(word(), word(), number(), number(), metrics),
        site=site,
        budget=BudgetInput(lots.random() < 0.5, number(), number(), number(), number(), number()),
    )


def _paths(name: str, kind: Type) -> list[tuple[str, Type]]:
    if kind.kind != "record":
        return [(name, kind)]
    return [found for field, of in kind.fields for found in _paths(f"{name}.{field}", of)]


def _fits(one: Type, other: Type) -> bool:
    if one.kind == "list" == other.kind:
        assert one.element is not None
        assert other.element is not None
        return _fits(one.element, other.element)
    return one.kind == other.kind


def _quoted(value: str, quote: str) -> str:
    shown = value.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return quote + shown.replace("\n", "\\n").replace("\t", "\\t") + quote
