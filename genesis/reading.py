"""From what people write (JSON, TOML) to records and back. One law: every fault is reported, with its place, at once.

People name fields and write byte strings in hexadecimal; records are positional and binary. The type of the record
says how each value is read, so no record needs code of its own.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec

ValueT = TypeVar("ValueT")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

FAULTS_SHOWN_MAX: Final = 50


class FaultsError(ValueError):
    """Something a person wrote is wrong in one place or more."""

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        shown = [f"  {fault}" for fault in faults[:FAULTS_SHOWN_MAX]]
        if len(faults) > FAULTS_SHOWN_MAX:
            shown.append(f"  and {len(faults) - FAULTS_SHOWN_MAX} more")
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{source}: {count}", *shown]))
        self.source = source
        self.faults = tuple(faults)


class _Faulty:
    """Stands for a value that could not be read; why is in the list of faults."""


_FAULTY: Final = _Faulty()


def read(value: object, kind: type[ValueT], faults: list[str]) -> ValueT | None:
    """Return what `value` says as a `kind`, or None after naming each fault.

    Args:
        value: parsed JSON or TOML.
        kind: a struct; its fields may be structs, tuples, mappings from names, options of these, byte strings
            (hexadecimal), paths, texts and numbers, with msgspec's constraints.
        faults: one line is appended for each fault: `place: what was needed and what came`.
    """
    result = _read(value, kind, "", faults)
    return result if isinstance(result, kind) else None


def to_json(value: object) -> Json:
    """Return a record as people read it: fields by name, byte strings in hexadecimal."""
    match value:
        case msgspec.Struct():
            return {name: to_json(getattr(value, name)) for name in value.__struct_fields__}
        case bytes():
            return value.hex()
        case tuple() | list():
            return [to_json(item) for item in value]
        case dict():
            return {str(key): to_json(item) for key, item in value.items()}
        case Path():
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            message = f"{type(value).__name__} has no form in JSON"
            raise TypeError(message)


def nearest(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean ...?` when a known word is close, else what is known."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"


def _read(value: object, annotation: object, where: str, faults: list[str]) -> object:
    plain = _plain(annotation)
    origin, arguments = typing.get_origin(plain), typing.get_args(plain)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _read(value, inner, where, faults)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return _read_struct(value, plain, where, faults)
    if origin is tuple:
        return _read_tuple(value, arguments, where, faults)
    if origin is dict:
        return _read_dict(value, arguments[1], where, faults)
    return _read_leaf(value, plain, annotation, where, faults)


def _read_struct(value: object, kind: type[msgspec.Struct], where: str, faults: list[str]) -> object:
    if not isinstance(value, dict):
        return _fault(faults, where, f"needs {kind.__name__} with its fields by name, got {_shown(value)}")
    before = len(faults)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    hints = typing.get_type_hints(kind, include_extras=True)
    for name in value:
        if name not in fields:
            _fault(faults, _inside(where, str(name)), f"is not known; {nearest(str(name), list(fields))}")
    read_values: dict[str, object] = {}
    for name, field in fields.items():
        if name in value:
            read_values[name] = _read(value[name], hints[name], _inside(where, name), faults)
        elif field.required:
            _fault(faults, _inside(where, name), "is missing")
    if len(faults) > before:
        return _FAULTY
    try:
        return kind(**read_values)
    except ValueError as error:
        return _fault(faults, where, str(error))


def _read_tuple(value: object, arguments: tuple[object, ...], where: str, faults: list[str]) -> object:
    if not isinstance(value, list):
        return _fault(faults, where, f"needs a list, got {_shown(value)}")
    kinds = [arguments[0]] * len(value) if arguments[1:] == (...,) else list(arguments)
    if len(kinds) != len(value):
        return _fault(faults, where, f"needs {len(kinds)} items, got {len(value)}")
    items = [_read(item, kind, f"{where}[{place}]", faults) for place, (item, kind) in enumerate(zip(value, kinds))]  # noqa: B905 - the line above makes them equal
    return _FAULTY if any(item is _FAULTY for item in items) else tuple(items)


def _read_dict(value: object, kind: object, where: str, faults: list[str]) -> object:
    if not isinstance(value, dict):
        return _fault(faults, where, f"needs names with values, got {_shown(value)}")
    items = {str(name): _read(item, kind, _inside(where, str(name)), faults) for name, item in value.items()}
    return _FAULTY if any(item is _FAULTY for item in items.values()) else items


def _read_leaf(value: object, plain: object, annotation: object, where: str, faults: list[str]) -> object:
    if isinstance(value, str) and not _is_encodable(value):
        return _fault(faults, where, f"needs text in Unicode, got half of a surrogate pair in {_shown(value)}")
    if plain is bytes:
        if not isinstance(value, str):
            return _fault(faults, where, f"needs bytes in hexadecimal, got {_shown(value)}")
        try:
            value = bytes.fromhex(value)
        except ValueError:
            return _fault(faults, where, f"needs bytes in hexadecimal, got {_shown(value)}")
    if typing.get_origin(plain) is typing.Literal:
        known = [str(choice) for choice in typing.get_args(plain)]
        return (
            value
            if value in known
            else _fault(faults, where, f"{_shown(value)} is no choice; {nearest(str(value), known)}")
        )
    if plain is Path:
        return Path(value) if isinstance(value, str) and value else _fault(faults, where, "needs a path")
    try:
        return msgspec.convert(value, typing.cast("type[object]", annotation), strict=True)
    except msgspec.ValidationError as error:
        needed = str(error).partition(", got ")[0]
        return _fault(faults, where, f"{needed[0].lower()}{needed[1:]}, got {_shown(value)}")


def _is_encodable(text: str) -> bool:
    """Tell whether a text has an encoding; JSON can write one that has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(annotation: object) -> object:
    """Strip constraints and new types down to what a value is made of."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _fault(faults: list[str], where: str, what: str) -> _Faulty:
    faults.append(f"{where or 'the document'}: {what}")
    return _FAULTY


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
