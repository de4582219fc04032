"""Pads: random vectors that hide updates, and the random numbers that hide their products. One law: nobody sends any.

Formula, with L_A the committee's polynomial of a set A and r(A) a stream of the set's subkey:
pad z(X) = sum over A of r(A) L_A(X), z = z(0); mask of degree f: rho(X) = sum of s(A) L_A(X); a sharing of 0 of degree
2f: sum over A of (t_1(A) X + .. + t_f(A) X^f) L_A(X). Rho and the latter together are a random sharing of degree 2f of
the secret that rho shares with degree f. Source: Cramer, Damgard, Ishai, TCC 2005, sections 3.2 (sharing) and 3.4
(sharings of 0). Differs from it in: the function is AES-256 in counter mode under a key hashed from the subkey and the
purpose; one word in 2^61 is not below the modulus and is replaced by the next spare one, so that elements are uniform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from fl.kernels.field import Elements
from fl.sealed.committee import Committee, point_of
from fl.sealed.field import Field
from ledger.digest import digest

WORD_BYTES: Final = 8
CHUNK_WORDS: Final = 1 << 15
"""Words that are made at a time: 256 KiB, which stay in cache."""

_SPARE: Final = 2
"""Words of room that a block cipher's interface asks for."""

_BLOCK_BYTES: Final = 16
_ZEROS: Final = bytes(WORD_BYTES * CHUNK_WORDS)


class Stream:
    """The elements that a key stands for under one purpose, in order."""

    def __init__(self, field: Field, key: bytes, purpose: bytes, words_max: int = CHUNK_WORDS) -> None:
        """Begin at the first element; at most `words_max`, not above `CHUNK_WORDS`, are taken at a time."""
        self._field = field
        self._key = digest("sealed-stream", key, purpose)
        self._encryptor: CipherContext = _encryptor(self._key, 0)
        self._buffer = np.empty(min(words_max, CHUNK_WORDS) + _SPARE, np.uint64)
        self._spares: CipherContext | None = None

    def next(self, count: int) -> Elements:
        """Return the next elements; the array is used again by the next call."""
        self._encryptor.update_into(memoryview(_ZEROS)[: WORD_BYTES * count], self._buffer.data.cast("B"))
        elements, beyond = self._field.from_words(_native(self._buffer[:count]))
        if beyond:
            self._replace(elements)
        return elements

    def _replace(self, elements: Elements) -> None:
        """Put spare elements, of a stream of their own, where words are not below the modulus."""
        if self._spares is None:
            self._spares = _encryptor(self._key, 1 << 127)
        for place in np.flatnonzero(elements >= np.uint64(self._field.modulus)):
            while elements[place] >= np.uint64(self._field.modulus):
                word = np.frombuffer(self._spares.update(bytes(WORD_BYTES)), "<u8").astype(np.uint64)
                elements[place] = self._field.from_words(word)[0][0]


def pad_share(committee: Committee, validator: int, subkeys: Mapping[int, bytes], out: Elements) -> None:
    """Write a validator's share z(j) of one participant's pad.

    Args:
        committee: the validators.
        validator: j.
        subkeys: of the slot and the participant, by place of each set that the validator is in.
        out: shape (d,).

    Cost: 8 d bytes of AES and d multiplications for each set.
    """
    streams = [(committee.basis(place, validator), subkeys[place]) for place in committee.sets_of(validator)]
    _add_up(committee.field, streams, out)


def whole_pad(committee: Committee, subkeys: Mapping[int, bytes], size: int) -> Elements:
    """Return a participant's own pad z(0), of the subkeys of all sets."""
    pad = np.empty(size, np.uint64)
    _add_up(committee.field, [(1, subkeys[place]) for place in range(len(committee.sets))], pad)
    return pad


def mask_shares(
    committee: Committee, validator: int, subkeys: Mapping[int, bytes], partners: int
) -> list[tuple[int, int]]:
    """Return a validator's shares of the masks that one dealer contributes, for its product with each partner.

    Args:
        committee: the validators.
        validator: j.
        subkeys: of the slot and the dealer, by place.
        partners: how many participants there are.

    Returns:
        Per partner, the shares of degree f and of degree 2f.
    """
    each = committee.f + 1
    drawn = {
        place: random_elements(committee.field, subkeys[place], b"mask", partners * each)
        for place in committee.sets_of(validator)
    }
    return [
        double_share(committee, validator, {place: own[partner * each :][:each] for place, own in drawn.items()})
        for partner in range(partners)
    ]


def double_share(committee: Committee, validator: int, drawn: Mapping[int, Sequence[int]]) -> tuple[int, int]:
    """Return a validator's shares of one random number, of degree f and of degree 2f.

    Args:
        committee: the validators.
        validator: j.
        drawn: by place of each of its sets, s and t_1..t_f.
    """
    low, high, modulus = 0, 0, committee.field.modulus
    for place, (own, *rest) in drawn.items():
        basis, power = committee.basis(place, validator), 1
        low = (low + basis * own) % modulus
        high = (high + basis * own) % modulus
        for part in rest:
            power = power * point_of(validator) % modulus
            high = (high + basis * part * power) % modulus
    return low, high


def random_elements(field: Field, key: bytes, purpose: bytes, count: int) -> list[int]:
    """Return the first elements of a stream as integers."""
    elements: list[int] = random_vector(field, key, purpose, count).tolist()
    return elements


def random_vector(field: Field, key: bytes, purpose: bytes, count: int) -> Elements:
    """Return the first elements of a stream."""
    stream, vector = Stream(field, key, purpose, count), np.empty(count, np.uint64)
    for begin in range(0, count, CHUNK_WORDS):
        part = vector[begin : begin + CHUNK_WORDS]
        part[:] = stream.next(len(part))
    return vector


def _add_up(field: Field, streams: list[tuple[int, bytes]], out: Elements) -> None:
    opened = [(factor, Stream(field, key, b"pad", len(out))) for factor, key in streams]
    for begin in range(0, len(out), CHUNK_WORDS):
        part = out[begin : begin + CHUNK_WORDS]
        part[:] = 0
        for factor, stream in opened:
            field.add_scaled(part, factor, stream.next(len(part)))


def _encryptor(key: bytes, first_block: int) -> CipherContext:
    counter = first_block.to_bytes(_BLOCK_BYTES, "big")
    return Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor()


def _native(words: Elements) -> Elements:
    """Return words that were written little-endian, in place where this machine is little-endian."""
    return words if np.dtype("<u8").isnative else words.byteswap(inplace=True)
