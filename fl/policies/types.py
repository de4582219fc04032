"""Types of expressions. One law: a type says how large its values can be.

Inputs are classes; their types are read off their annotations, so that what is documented, what is checked and what is
evaluated cannot differ.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Final, Literal, dataclass_transform

import msgspec
from msgspec import Meta


@dataclass_transform(frozen_default=True)
class Input(msgspec.Struct, frozen=True):
    """Base of what policies judge; it is never encoded, signed or stored."""


Kind = Literal["bool", "int", "list", "record", "string", "uint"]
_SCALARS: Final[dict[object, Kind]] = {bool: "bool", int: "int", str: "string"}


@dataclass(frozen=True, slots=True)
class Type:
    """What a value is."""

    kind: Kind
    size_max: int = 0
    """Of a string its characters, of a list its items."""

    element: Type | None = None
    """Of a list."""

    record: str = ""
    """Of a record its name."""

    fields: tuple[tuple[str, Type], ...] = ()
    """Of a record, in order of definition."""

    def __str__(self) -> str:
        """Return it as documentation and messages show it."""
        return f"list({self.element})" if self.kind == "list" else self.record or self.kind

    def field(self, name: str) -> Type | None:
        """Return the type of a record's field, None when it has no such field."""
        return dict(self.fields).get(name)


BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")


def text(size_max: int) -> Type:
    """Return the type of a string."""
    return Type("string", size_max)


def list_of(element: Type, size_max: int) -> Type:
    """Return the type of a list."""
    return Type("list", size_max, element)


def is_same(left: Type, right: Type) -> bool:
    """Tell whether two types are one, whatever their sizes."""
    if left.kind == "list" and right.kind == "list":
        assert left.element is not None, "lists have elements"
        assert right.element is not None, "lists have elements"
        return is_same(left.element, right.element)
    return left.kind == right.kind and left.record == right.record


def larger(left: Type, right: Type) -> Type:
    """Return what has room for the values of two types that are the same but for their sizes."""
    size = max(left.size_max, right.size_max)
    if left.element is None or right.element is None:
        return replace(left, size_max=size)
    return replace(left, size_max=size, element=larger(left.element, right.element))


def is_comparable(one: Type) -> bool:
    """Tell whether two such values can be told apart by `==`: all but records."""
    return one.kind != "record" and (one.element is None or is_comparable(one.element))


@cache
def type_of(record: type[Input]) -> Type:
    """Return the type of a class of inputs."""
    hints = typing.get_type_hints(record, include_extras=True)
    fields = tuple((name, _annotated(hints[name])) for name in record.__struct_fields__)
    return Type("record", record=record.__name__, fields=fields)


def _annotated(hint: Any) -> Type:  # noqa: ANN401 - an annotation is anything
    size = 0
    if typing.get_origin(hint) is Annotated:
        hint, *metas = typing.get_args(hint)
        size = max((one.max_length for one in metas if isinstance(one, Meta) and one.max_length), default=0)
    if typing.get_origin(hint) is tuple:
        assert size, "a list of inputs has a bound"
        return list_of(_annotated(typing.get_args(hint)[0]), size)
    if isinstance(hint, type) and issubclass(hint, Input):
        return type_of(hint)
    assert size or hint is not str, "a string of inputs has a bound"
    return Type(_SCALARS[hint], size)
