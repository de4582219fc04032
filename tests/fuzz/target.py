"""What is fuzzed: one decoder, where to begin, and the property that must hold for any bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ledger.codec import CodecError, Record, decode, encode

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder."""

    name: str
    run: Callable[[bytes], object]
    """Returns for all bytes; whatever it raises is a finding."""

    seeds: Callable[[], Sequence[bytes]]
    is_packed: bool = True
    """Its input is MessagePack, and is changed as such."""

    bytes_max: int = 1 << 16
    """Longest input that a campaign tries."""


def record(name: str, kind: type[Record], seeds: Callable[[], Sequence[bytes]], *, bytes_max: int) -> Target:
    """Return the target of one record type that crosses a border."""

    def run(data: bytes) -> None:
        try:
            require_canonical(decode(data, kind, bytes_max=bytes_max), data, kind, bytes_max)
        except CodecError:
            return

    return Target(name, run, seeds)


def require_canonical(decoded: RecordT, data: bytes, kind: type[RecordT], bytes_max: int) -> None:
    """Check that a record has one encoding, and that the encoding is one record's."""
    again = encode(decoded)
    assert again == data, f"decoded, it encodes to {again.hex()}"
    assert decode(again, kind, bytes_max=bytes_max) == decoded, "decoded twice, it is something else"
