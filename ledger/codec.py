"""Canonical bytes: one value has one encoding. One law: what does not re-encode to itself is refused.

A record is a MessagePack *array* of its fields in order of definition; a record with a tag starts with
the tag's string. Integers take their shortest form, byte strings are `bin`, text is UTF-8 `str`. There are
no maps, no floats and no extension types. Decoding checks, in this order: size, types, MessagePack limits,
canonicality.

Types come before limits because the reader that knows them makes objects only of what the record has room for: read
without types, 1 MiB of tiny arrays is 30 MiB of objects.
"""

from functools import cache
from threading import Lock
from typing import Any, Final, TypeVar, dataclass_transform

import msgpack
import msgspec

RecordT = TypeVar("RecordT", bound="Record")

ARRAY_ITEMS_MAX: Final = 20_000
"""Items of one array in any record."""

_encoder: Final = msgspec.msgpack.Encoder()
_learning: Final = Lock()
"""Held while msgspec learns what a type consists of: what it knows half way it shows to other threads, which crash."""


class CodecError(ValueError):
    """The bytes are not the canonical encoding of the record that was expected."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of everything that is hashed, signed, stored or sent between nodes."""


def encode(record: object) -> bytes:
    """Return the canonical bytes of a record (or of a tuple of plain values)."""
    return _encoder.encode(record)


def decode(data: bytes, record_type: type[RecordT], *, bytes_max: int) -> RecordT:
    """Return the record that `data` encodes.

    Args:
        data: bytes from anywhere.
        record_type: a `Record`, or a union of tagged ones.
        bytes_max: longest input that is looked at.

    Raises:
        CodecError: too long, of another type, not MessagePack within the limits, or not canonical.
    """
    if len(data) > bytes_max:
        message = f"{_name(record_type)}: at most {bytes_max} bytes are accepted, got {len(data)}"
        raise CodecError(message)
    try:
        record: RecordT = _decoder(record_type).decode(data)
        msgpack.unpackb(
            data,
            raw=True,
            use_list=False,
            max_str_len=min(bytes_max, 65_536),
            max_bin_len=bytes_max,
            max_array_len=ARRAY_ITEMS_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        # msgpack and msgspec raise subclasses of ValueError for content, the rest for hostile nesting.
        message = f"{_name(record_type)}: not a valid encoding: {error}"
        raise CodecError(message) from error
    if _encoder.encode(record) != data:
        message = f"{_name(record_type)}: not in canonical form"
        raise CodecError(message)
    return record


def settle(kind: type) -> None:
    """Have a type learnt before msgspec reads values of it by itself (JSON, say), so that any thread may read them."""
    with _learning:
        msgspec.msgpack.Decoder(kind)


@cache
def _decoder(record_type: type[RecordT]) -> msgspec.msgpack.Decoder[Any]:
    with _learning:
        return msgspec.msgpack.Decoder(record_type, strict=True)


def _name(record_type: object) -> str:
    return str(getattr(record_type, "__name__", record_type))
