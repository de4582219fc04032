"""Changes to a packed record that leave most of it whole, so that what is reached lies behind the first check."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgpack

Value: TypeAlias = "bool | int | float | bytes | str | list[Value] | dict[Value, Value] | None"
Change: TypeAlias = Callable[[Value, random.Random], Value]

INTEGERS: Final = (-(2**63), -(2**31), -1, 0, 1, 2, 31, 127, 128, 255, 2**16, 2**31, 2**32, 2**63 - 1, 2**64 - 1)
HEADERS: Final = (
    b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1 items
    b"\xdc\xff\xff",
    b"\xdf\xff\xff\xff\xff",  # a map
    b"\xc6\xff\xff\xff\xff",  # bytes
    b"\xdb\xff\xff\xff\xff",  # text
    b"\xc9\xff\xff\xff\xff\x01",  # an extension
    b"\xd6\xff\x00\x00\x00\x00",  # a time
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # not a number
    b"\x91" * 600,
    b"\xdc\x00\x01" * 200,
    b"\xcd\x00\x01",  # an integer that is longer than it needs to be
    b"\xc1",
)
"""What is cheap to send and dear to believe."""

ODD: Final[tuple[Value, ...]] = (None, True, 0, -1, 1.5, b"", bytes(32), "", "name", [], [[]], [None] * 40, {0: 0})


def mutate(data: bytes, seed: int, others: Sequence[bytes] = ()) -> bytes:
    """Return another encoding, always the same for the same arguments."""
    chance = random.Random(seed)
    value = _unpack(data)
    if value is None or chance.random() < 0.2:
        return _splice(data, chance)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        value = _change_somewhere(value, chance, others)
    packed = _pack(value)
    return packed if chance.random() < 0.9 else _splice(packed, chance)


def _unpack(data: bytes) -> Value:
    try:
        value: Value = msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogateescape")
    except Exception:  # noqa: BLE001 - whatever cannot be unpacked is changed as bytes
        return None
    return value


def _pack(value: Value) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")
    return packed


def _change_somewhere(value: Value, chance: random.Random, others: Sequence[bytes]) -> Value:
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        changed = list(value)
        changed[place] = _change_somewhere(value[place], chance, others)
        return changed
    if isinstance(value, bytes) and len(value) > 40 and chance.random() < 0.5:
        inner = _unpack(value)  # a transaction in a block, a payload in a transaction
        if isinstance(inner, list):
            return _pack(_change_somewhere(inner, chance, others))
    return _change(value, chance, others)


def _change(value: Value, chance: random.Random, others: Sequence[bytes]) -> Value:
    match value:
        case list() if value and chance.random() < 0.8:
            return _change_list(value, chance)
        case bool() | int() if chance.random() < 0.7:
            return _near(value, chance)
        case bytes() if chance.random() < 0.7:
            return _change_bytes(value, chance)
        case str() if chance.random() < 0.7:
            return chance.choice((value + "x", value[:-1], value.upper(), value + "\n", "\udc80", "x" * 70, ""))
    if others and chance.random() < 0.3:
        return _unpack(chance.choice(others))
    return chance.choice(ODD)


def _near(value: int, chance: random.Random) -> int:
    changed = chance.choice((value + 1, value - 1, chance.choice(INTEGERS), -value))
    return max(INTEGERS[0], min(changed, INTEGERS[-1]))


def _change_list(value: list[Value], chance: random.Random) -> list[Value]:
    place, other = chance.randrange(len(value)), chance.randrange(len(value))
    match chance.randrange(5):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return [*value[:place], value[other], *value[place:]]
        case 2:
            return [*value, None]
        case 3:
            return value * chance.choice((2, 3, 200)) if len(value) < 200 else value[::-1]
        case _:
            swapped = list(value)
            swapped[place], swapped[other] = swapped[other], swapped[place]
            return swapped


def _change_bytes(value: bytes, chance: random.Random) -> bytes:
    match chance.randrange(4):
        case 0:
            return value[:-1]
        case 1:
            return value + b"\0"
        case 2:
            return bytes(len(value))
        case _:
            return _flip(value, chance)


def _flip(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return b"\0"
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]


def _splice(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    end = min(len(data), place + chance.choice((0, 1, 4, 32)))
    match chance.randrange(4):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + chance.choice(HEADERS) + data[end:]
        case 2:
            return data[:place] + struct.pack(">Q", chance.choice(INTEGERS) & (2**64 - 1)) + data[end:]
        case _:
            return _flip(data, chance)
