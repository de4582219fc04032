"""From text to tree, as CEL reads it. One law: the tree is CEL's own for this text, or there is none.

::

    expression  = or [ "?" or ":" expression ]
    or          = and { "||" and }                       and      = relation { "&&" relation }
    relation    = sum { ("<"|"<="|">="|">"|"=="|"!="|"in") sum }
    sum         = product { ("+"|"-") product }          product  = unary { ("*"|"/"|"%") unary }
    unary       = member | "!" { "!" } member | "-" { "-" } member
    member      = primary { "." name [ "(" arguments ")" ] | "[" expression "]" }
    primary     = name | name "(" arguments ")" | "(" expression ")" | "[" expressions "]" | literal

Source: google/cel-spec, doc/langdef.md, "Syntax".
Differs from it in: what is not in the grammar above (maps, messages, floats, bytes, null, `has`) is refused, and `&&`
and `||` are left-deep like the other operators, where Google's parsers balance long chains; they mean the same.
"""

from __future__ import annotations

from typing import Final

from fl.policies.errors import PolicySyntaxError
from fl.policies.syntax import (
    CHOOSE,
    INDEX,
    INFIX,
    NEGATE,
    NOT,
    SIZE,
    Call,
    Constant,
    Items,
    Macro,
    MacroKind,
    Name,
    Node,
    Select,
    parts_of,
)
from fl.policies.tokens import RESERVED, Token, tokens_of

NODES_MAX: Final = 1_024
DEPTH_MAX: Final = 24
"""Brackets, calls and choices within one another."""

TREE_DEPTH_MAX: Final = 100
"""Nodes from the root to a leaf; a chain of operators is as deep as it is long."""

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
METHODS: Final = ("contains", "endsWith", "startsWith")
_MACROS: Final[dict[str, MacroKind]] = {"all": "all", "exists": "exists", "filter": "filter", "map": "map"}
_MACRO_ARGUMENTS: Final = 2
_SHOWN_MAX: Final = 32


def parse(source: str) -> Node:
    """Return the tree of an expression.

    Raises:
        PolicySyntaxError: it is not one, too large, or uses what policies may not.
    """
    parser = _Parser(tokens_of(source))
    node = parser.expression()
    parser.expect("end", "")
    depth = _depth_of(node)
    if depth > TREE_DEPTH_MAX:
        message = f"a policy's tree has at most {TREE_DEPTH_MAX} levels, got {depth}: split a long chain by brackets"
        raise PolicySyntaxError(0, message)
    return node


class _Parser:
    """Reads from left to right with one word of lookahead."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0
        self._nodes = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._next
        self._index += token.kind != "end"
        return token

    def _accept(self, *signs: str) -> Token | None:
        is_one = self._next.kind in {"sign", "name"} and self._next.text in signs
        return self._take() if is_one else None

    def expect(self, kind: str, text: str) -> Token:
        """Take exactly this word."""
        if self._next.kind != kind or (text and self._next.text != text):
            wanted = f"{text!r}" if text else "the end" if kind == "end" else f"a {kind}"
            raise self._fault(f"{wanted} was needed, got {_described(self._next)}")
        return self._take()

    def _fault(self, message: str) -> PolicySyntaxError:
        return PolicySyntaxError(self._next.position, message)

    def _made(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise self._fault(f"a policy has at most {NODES_MAX} parts")
        return node

    def expression(self) -> Node:
        """Read a choice, or what is weaker than all operators."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._fault(f"at most {DEPTH_MAX} levels of brackets and choices are allowed")
        node = self._infix(1)
        if self._accept("?"):
            yes = self._infix(1)
            self.expect("sign", ":")
            node = self._made(Call(CHOOSE, (node, yes, self.expression())))
        self._depth -= 1
        return node

    def _infix(self, level: int) -> Node:
        if level > 5:
            return self._unary()
        signs = [sign for sign, (_, own) in INFIX.items() if own == level]
        left = self._infix(level + 1)
        while (sign := self._accept(*signs)) is not None:
            left = self._made(Call(INFIX[sign.text][0], (left, self._infix(level + 1))))
        return left

    def _unary(self) -> Node:
        for sign, function in (("!", NOT), ("-", NEGATE)):
            count = 0
            while self._accept(sign):
                count += 1
            if count == 1 and sign == "-" and self._next.kind == "int":
                return self._member(self._number(-1))
            if count:
                operand = self._member(self._primary())
                return operand if count % 2 == 0 else self._made(Call(function, (operand,)))
        return self._member(self._primary())

    def _member(self, node: Node) -> Node:
        while True:
            if self._accept("."):
                field = self.expect("name", "")
                if self._accept("("):
                    node = self._made(self._method(node, field))
                else:
                    node = self._made(Select(node, _plain(field)))
            elif self._accept("["):
                index = self.expression()
                self.expect("sign", "]")
                node = self._made(Call(INDEX, (node, index)))
            else:
                return node

    def _method(self, receiver: Node, method: Token) -> Node:
        if method.text in _MACROS:
            return self._macro(receiver, _MACROS[method.text])
        arguments = self._arguments(")")
        wanted = 0 if method.text == SIZE else 1
        if method.text not in {SIZE, *METHODS}:
            known = ", ".join(sorted({SIZE, *METHODS, *_MACROS}))
            raise PolicySyntaxError(method.position, f"there is no .{method.text}(): there are {known}")
        if len(arguments) != wanted:
            message = f".{method.text}() takes {wanted} arguments, got {len(arguments)}"
            raise PolicySyntaxError(method.position, message)
        return Call(method.text, (receiver, *arguments))

    def _macro(self, over: Node, kind: MacroKind) -> Node:
        variable = _plain(self.expect("name", ""))
        self.expect("sign", ",")
        body = self.expression()
        if self._accept(","):
            raise self._fault(f".{kind}() takes {_MACRO_ARGUMENTS} arguments: a variable and an expression")
        self.expect("sign", ")")
        return Macro(kind, over, variable, body)

    def _arguments(self, closing: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._accept(closing):
            if found:
                self.expect("sign", ",")
            found.append(self.expression())
        return tuple(found)

    def _primary(self) -> Node:
        token = self._next
        match token.kind:
            case "int" | "uint":
                return self._number(1)
            case "string":
                return self._made(Constant("string", self._take().text))
            case "name":
                return self._named()
            case "sign" if token.text == "(":
                self._take()
                node = self.expression()
                self.expect("sign", ")")
                return node
            case "sign" if token.text == "[":
                self._take()
                return self._made(Items(self._arguments("]")))
            case "sign" if token.text == "{":
                raise self._fault("maps are not allowed: their order is not the same everywhere")
            case _:
                raise self._fault(f"a value was needed, got {_described(token)}")

    def _named(self) -> Node:
        token = self._take()
        if token.text in {"true", "false"}:
            return self._made(Constant("bool", token.text == "true"))
        name = _plain(token)
        if not self._accept("("):
            return self._made(Name(name))
        arguments = self._arguments(")")
        if name != SIZE or len(arguments) != 1:
            message = f"there is no function {name} of {len(arguments)} arguments: there is size(list or string)"
            raise PolicySyntaxError(token.position, message)
        return self._made(Call(SIZE, arguments))

    def _number(self, sign: int) -> Node:
        token = self._take()
        value = sign * int(token.text, 16 if token.text[:2] in {"0x", "0X"} else 10)
        low, high = (0, UINT_MAX) if token.kind == "uint" else (INT_MIN, INT_MAX)
        if not low <= value <= high:
            message = f"{token.text[:_SHOWN_MAX]} is not within {low} and {high}"
            raise PolicySyntaxError(token.position, message)
        return self._made(Constant("uint" if token.kind == "uint" else "int", value))


def _depth_of(node: Node) -> int:
    waiting, deepest = [(node, 1)], 0
    while waiting:
        one, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(part, depth + 1) for part in parts_of(one)]
    return deepest


def _plain(token: Token) -> str:
    if token.text in RESERVED:
        raise PolicySyntaxError(token.position, f"{token.text} is a reserved word")
    return token.text


def _described(token: Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)
