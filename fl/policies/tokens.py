"""Words of an expression. One law: a text is ASCII and short, and what is not a word of it is refused where it stands.

What other parts of CEL begin with (floats, bytes, raw and triple-quoted strings) is refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from fl.policies.errors import PolicySyntaxError

SOURCE_CHARACTERS_MAX: Final = 4_096
TokenKind = Literal["end", "int", "name", "sign", "string", "uint"]

RESERVED: Final = frozenset(
    {
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    }
)
_SKIPPED: Final = re.compile(r"(?:[ \t\r\n\f]|//[^\n]*)*")
_FLOAT: Final = re.compile(r"[0-9]+\.[0-9]|[0-9]+[eE][+-]?[0-9]|\.[0-9]")
_NUMBER: Final = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)([uU]?)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIGN: Final = re.compile(r"&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]{}]")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True, slots=True)
class Token:
    """One word and where it begins."""

    kind: TokenKind
    text: str
    """As written; of a string its content, of a number its digits."""

    position: int


def tokens_of(source: str) -> list[Token]:
    """Return the words of a text and an `end`.

    Raises:
        PolicySyntaxError: too long, not ASCII, or something that is no word here.
    """
    if len(source) > SOURCE_CHARACTERS_MAX:
        message = f"a policy has at most {SOURCE_CHARACTERS_MAX} characters, got {len(source)}"
        raise PolicySyntaxError(SOURCE_CHARACTERS_MAX, message)
    foreign = re.search(r"[^\t\n\f\r\x20-\x7e]", source)
    if foreign is not None:
        message = f"printable ASCII is needed, got U+{ord(foreign.group()):04X}"
        raise PolicySyntaxError(foreign.start(), message)
    found: list[Token] = []
    position = _after_space(source, 0)
    while position < len(source):
        token, position = _token(source, position)
        found.append(token)
        position = _after_space(source, position)
    return [*found, Token("end", "", len(source))]


def _after_space(source: str, position: int) -> int:
    skipped = _SKIPPED.match(source, position)
    assert skipped is not None, "it may be empty"
    return skipped.end()


def _token(source: str, position: int) -> tuple[Token, int]:
    if _FLOAT.match(source, position):
        raise PolicySyntaxError(position, "floats are not allowed: write millionths, as the inputs do")
    number = _NUMBER.match(source, position)
    if number is not None:
        digits, unsigned = number.groups()
        return Token("uint" if unsigned else "int", digits, position), number.end()
    name = _NAME.match(source, position)
    if name is not None:
        if source[name.end() : name.end() + 1] in {"'", '"'}:
            raise PolicySyntaxError(position, "raw strings and bytes are not allowed")
        return Token("name", name.group(), position), name.end()
    if source[position] in "\"'":
        return _string(source, position)
    sign = _SIGN.match(source, position)
    if sign is None:
        raise PolicySyntaxError(position, f"{source[position]!r} is not part of an expression")
    return Token("sign", sign.group(), position), sign.end()


def _string(source: str, start: int) -> tuple[Token, int]:
    quote, position, content = source[start], start + 1, []
    if source.startswith(quote * 3, start):
        raise PolicySyntaxError(start, "triple quotes are not allowed")
    while position < len(source) and source[position] not in {quote, "\n", "\r"}:
        letter = source[position]
        if letter == "\\":
            position += 1
            letter = _ESCAPES.get(source[position : position + 1], "")
            if not letter:
                raise PolicySyntaxError(position, "of escapes there are \\n \\r \\t \\\\ \\\" and \\'")
        content.append(letter)
        position += 1
    if source[position : position + 1] != quote:
        raise PolicySyntaxError(start, "this string does not end on its line")
    return Token("string", "".join(content), start), position + 1
