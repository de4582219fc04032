"""Section 2 of docs/protocol.md, written from the page alone. One law: it imports nothing of the project's rooms.

It even takes the records from the page: each table `| field | type | meaning |` becomes a decoder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, TypeAlias

import msgpack

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocol.md"
ARRAY_ITEMS_MAX: Final = 20_000
TEXT_BYTES_MAX: Final = 65_536


class RefusedError(ValueError):
    """What was read is not as the page demands."""


@dataclass(frozen=True)
class Rec:
    """A record: its name and its fields."""

    kind: str
    fields: Mapping[str, Value]

    def number(self, name: str) -> int:
        value = self.fields[name]
        assert isinstance(value, int)
        return value

    def text(self, name: str) -> str:
        value = self.fields[name]
        assert isinstance(value, str)
        return value

    def data(self, name: str) -> bytes:
        value = self.fields[name]
        assert isinstance(value, bytes)
        return value

    def items(self, name: str) -> list[Value]:
        value = self.fields[name]
        assert isinstance(value, list)
        return value

    def rec(self, name: str) -> Rec:
        value = self.fields[name]
        assert isinstance(value, Rec)
        return value

    def recs(self, name: str) -> list[Rec]:
        return [item for item in self.items(name) if isinstance(item, Rec)]

    def texts(self, name: str) -> list[str]:
        return [item for item in self.items(name) if isinstance(item, str)]

    def numbers(self, name: str) -> list[int]:
        return [item for item in self.items(name) if isinstance(item, int)]

    def changed(self, **values: Value) -> Rec:
        return make(self.kind, **{**self.fields, **values})


Value: TypeAlias = "int | str | bytes | list[Value] | Rec | None"
Reader: TypeAlias = Callable[[object], Value]


@dataclass(frozen=True)
class Table:
    """A record's table in the page."""

    tag: str | None
    fields: tuple[tuple[str, str], ...]
    """Name and type of each."""


def tables(page: str) -> dict[str, Table]:
    """Return every record of the page by name."""
    pattern = r"^#### `(\w+)`(?:, tag `([\w-]+)`)?\n\n\| field \| type \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)*)"
    return {
        name: Table(tag or None, tuple(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", rows, re.MULTILINE)))
        for name, tag, rows in re.findall(pattern, page, re.MULTILINE)
    }


TABLES: Final = tables(PAGE.read_text(encoding="utf-8"))


class TypeText:
    """Turns the text of a type into a reader of values."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = re.findall(r'"[^"]*"|-?\d+|\.\.|[(),/]|\w+', text)
        self._next = 0

    def union(self) -> Reader:
        """Read alternatives parted by slashes."""
        readers = [self._atom()]
        while self._take("/"):
            readers.append(self._atom())
        return readers[0] if len(readers) == 1 else lambda value: _first(readers, value)

    def _atom(self) -> Reader:
        token = self._tokens[self._next]
        self._next += 1
        if token.startswith('"'):
            return lambda value: _demand(value, value == token[1:-1], token)
        if token == "(":
            return self._tuple()
        if token == "list":
            return self._list()
        if token in TABLES:
            return lambda value: read_record(token, value)
        bounds = self._bounds()
        return lambda value: _plain(token, bounds, value)

    def _bounds(self) -> tuple[int, ...]:
        if not self._take("("):
            return ()
        found = [int(self._word())]
        while self._take(".."):
            found.append(int(self._word()))
        assert self._take(")")
        return tuple(found)

    def _list(self) -> Reader:
        assert self._take("(")
        item = self.union()
        most = int(self._word()) if self._take(",") else ARRAY_ITEMS_MAX
        assert self._take(")")
        return lambda value: [item(one) for one in _array(value, most)]

    def _tuple(self) -> Reader:
        items = [self.union()]
        while self._take(","):
            items.append(self.union())
        assert self._take(")")

        def read(value: object) -> Value:
            array = _array(value, len(items))
            _demand(None, len(array) == len(items), f"{len(items)} items")
            return [item(one) for item, one in zip(items, array, strict=True)]

        return read

    def _take(self, token: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next] == token:
            self._next += 1
            return True
        return False

    def _word(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1]


def _plain(kind: str, bounds: tuple[int, ...], value: object) -> Value:
    """Read a value of one of the page's plain types."""
    if kind in ("uint", "int"):
        low, high = (0, 2**63 - 1) if kind == "uint" else bounds or (-(2**63), 2**64 - 1)
        is_number = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return _demand(value, is_number, f"{kind} {low}..{high}")
    if kind.startswith("bytes"):
        exact = int(kind[5:] or 0)
        is_bytes = isinstance(value, bytes) and (not exact or len(value) == exact)
        return _demand(value, is_bytes and (not bounds or len(_bytes(value)) <= bounds[0]), f"{kind}{bounds}")
    if kind == "nil":
        return _demand(value, value is None, kind)
    is_text = isinstance(value, str) and (not bounds or len(value) <= bounds[0])
    if kind == "name":
        is_text = isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", value) is not None
    if kind == "line":
        is_text = isinstance(value, str) and re.fullmatch(r"[ -~]{0,128}", value) is not None
    assert kind in ("text", "name", "line"), kind
    return _demand(value, is_text, f"{kind}{bounds}")


def _demand(value: object, holds: bool, needed: str) -> Value:
    if not holds:
        raise RefusedError(f"needed {needed}, got {value!r:.80}")
    assert value is None or isinstance(value, int | str | bytes)
    return value


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _array(value: object, most: int) -> list[object]:
    if not isinstance(value, list) or len(value) > most:
        raise RefusedError(f"needed an array of at most {most} items, got {value!r:.80}")
    return value


def _first(readers: Sequence[Reader], value: object) -> Value:
    for reader in readers:
        try:
            return reader(value)
        except RefusedError:
            continue
    raise RefusedError(f"none of the alternatives fits {value!r:.80}")


def read_record(kind: str, value: object) -> Rec:
    """Read the array of a record."""
    table = TABLES[kind]
    head = [] if table.tag is None else [table.tag]
    array = _array(value, len(head) + len(table.fields))
    if len(array) != len(head) + len(table.fields) or array[: len(head)] != head:
        raise RefusedError(f"{kind}: needed tag {head} and {len(table.fields)} fields, got {value!r:.80}")
    fields = {
        name: TypeText(text).union()(item) for (name, text), item in zip(table.fields, array[len(head) :], strict=True)
    }
    record = Rec(kind, fields)
    if kind in _BESIDE:
        _BESIDE[kind](record)
    return record


def make(kind: str, /, **values: Value) -> Rec:
    """Return a record with these fields, in the order of its table."""
    names = [name for name, _ in TABLES[kind].fields]
    assert set(names) == set(values), (kind, names)
    return Rec(kind, {name: values[name] for name in names})


def encode(value: Value | tuple[Value, ...]) -> bytes:
    """Return canonical bytes."""
    packed: bytes = msgpack.packb(_tree(value), use_bin_type=True)
    return packed


def _tree(value: Value | tuple[Value, ...]) -> object:
    if isinstance(value, Rec):
        tag = TABLES[value.kind].tag
        return [*([] if tag is None else [tag]), *(_tree(item) for item in value.fields.values())]
    if isinstance(value, list | tuple):
        return [_tree(item) for item in value]
    return value


def decode(kind: str, data: bytes, bytes_max: int) -> Rec:
    """Return the record that `data` canonically encodes."""
    if len(data) > bytes_max:
        raise RefusedError(f"{kind}: at most {bytes_max} bytes, got {len(data)}")
    try:
        tree = msgpack.unpackb(
            data, use_list=True, max_array_len=ARRAY_ITEMS_MAX, max_str_len=TEXT_BYTES_MAX, max_map_len=0, max_ext_len=0
        )
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise RefusedError(f"{kind}: {error}") from error
    record = read_record(kind, tree)
    if encode(record) != data:
        raise RefusedError(f"{kind}: not canonical")
    return record


# Section 13.2: what is said beside the tables


def _tensor(tensor: Rec) -> None:
    name, shape = tensor.text("name"), tensor.numbers("shape")
    x, e = tensor.number("exponent"), tensor.number("update_exponent")
    _demand(name, 1 <= len(name) <= 256 and all(" " <= letter <= "~" for letter in name), "printable ASCII")
    _demand(name, name != "__metadata__", "a name that is not reserved")
    _demand(None, len(shape) <= 8 and all(size >= 1 for size in shape) and prod(shape) <= 2**30 - 8, "a shape")
    _demand(x, abs(x) <= 64, "an exponent of -64..64")
    _demand(e, x - 24 <= e <= x + 7, "an update exponent near the exponent")


def _schema(schema: Rec) -> None:
    tensors = schema.recs("tensors")
    names = {tensor.text("name") for tensor in tensors}
    _demand(None, 1 <= len(tensors) <= 4096 and len(names) == len(tensors), "1 to 4096 tensors of different names")
    _demand(None, sum(prod(tensor.numbers("shape")) for tensor in tensors) <= 2**30 - 8, "a model of bounded size")


def _rule(rule: Rec) -> None:
    keep, cap = rule.number("keep"), rule.number("weight_cap_permille")
    _demand(None, 0 <= rule.number("f") <= 512, "f of 0..512")
    name, pre, f = rule.text("rule"), rule.texts("pre"), rule.number("f")
    _demand(None, pre[pre[:1] == ["arc/1"] :] in ([], ["nnm/1"], ["bucketing/1"]), "clipping before one mixing")
    _demand(keep, 0 <= keep <= (1024 if name == "multi-krum/1" else 0), "keep")
    weighted = name.startswith("weighted-")
    _demand(cap, cap == 0 or (2 <= cap <= 1000 and weighted), "a weight cap")
    if weighted and name != "weighted-mean/1":
        _demand(cap, 2 * f * (2**15 * cap // 1000 if cap else 2**15) < 2**15, "a cap that f rows cannot make half of")
    bucket, radius, root = rule.number("bucket"), rule.number("radius_micros"), rule.text("root")
    _demand(bucket, 2 <= bucket <= 16 if "bucketing/1" in pre else bucket == 0, "a bucket")
    _demand(radius, 1 <= radius < 2**63 if name == "centred-clipping/1" else radius == 0, "a radius")
    _demand(
        root,
        re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", root) is not None if name == "fltrust/1" else root == "",
        "a root",
    )
    _demand(None, not ("bucketing/1" in pre and (weighted or root)), "rows that are told apart are not drawn by lot")
    _demand(None, not ("nnm/1" in pre and root), "a root that is not mixed")


def _optimiser(spec: Rec) -> None:
    adaptive = spec.text("optimiser") != "momentum/1"
    rate, kept = spec.number("rate_micros"), spec.number("momentum_permille")
    squares, floor = spec.number("variance_permille"), spec.number("floor_micros")
    _demand(rate, 1 <= rate <= 10**9, "a rate")
    _demand(kept, 0 <= kept <= 999, "a momentum")
    _demand(squares, 0 <= squares <= (999 if adaptive else 0), "how much of squares is kept")
    _demand(floor, 1 <= floor <= 10**9 if adaptive else floor == 0, "a floor")


_BESIDE: Final[Mapping[str, Callable[[Rec], None]]] = {
    "TensorSpec": _tensor,
    "ModelSchema": _schema,
    "RuleSpec": _rule,
    "OptimiserSpec": _optimiser,
}
