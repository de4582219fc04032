"""Which validator set decided which height. One law: a certificate is judged by the set of its own height.

A set *reigns* from its first height to the one before the next reign. The state keeps the reigns and their sets, so
that evidence about an old height can be judged, and so that whoever knows an old set can follow to the new one: the
last header under a set, signed by its quorum, names the next set by its hash. Nothing is written before the first
change: a chain that never had one holds the set of the next height and no more.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta

from ledger.application import STATE_VALUE_BYTES_MAX, Overlay, StateReader
from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.fields import DigestField, Height, HeightField
from ledger.validators import ValidatorSet

REIGNS_MAX: Final = 4_096
"""Reigns that are kept, the latest; more changes than a consortium makes in its life."""

VALIDATORS_KEY: Final = b"ledger/validators"
"""Set that decides the next height."""

VALIDATORS_PENDING_KEY: Final = b"ledger/validators-pending"
"""Set that decides the height after the next, when it differs."""

REIGNS_KEY: Final = b"ledger/reigns"
"""Which set decides from which height on; absent as long as there has been one set."""

SET_PREFIX: Final = b"ledger/set/"
"""By hash, every set that stands in the reigns."""

_CACHED_MAX: Final = 16
"""Decoded values that are remembered: they are pure functions of immutable bytes, and asked for at every block."""


class Reign(Record):
    """A set and where its reign begins."""

    first: HeightField
    """The first height that it decides."""

    validators_hash: DigestField


class Reigns(Record):
    """All reigns that are known."""

    reigns: Annotated[tuple[Reign, ...], Meta(max_length=REIGNS_MAX)]
    """Ascending by first height; the last one reaches the height after the state, or begins there."""


def set_key(validators_hash: bytes) -> bytes:
    """State key of the set with this hash."""
    return SET_PREFIX + validators_hash


def validators_of(state: StateReader) -> ValidatorSet:
    """Return the set that decides the height after `state`."""
    value = state.get(VALIDATORS_KEY)
    assert value is not None, f"{VALIDATORS_KEY!r} is part of every state since genesis"
    return _set(value)


def coming_validators_of(state: StateReader) -> ValidatorSet:
    """Return the set that decides the second height after `state`."""
    value = state.get(VALIDATORS_PENDING_KEY)
    return validators_of(state) if value is None else _set(value)


def reigns_of(state: StateReader) -> tuple[Reign, ...]:
    """Return all reigns that the state knows, ascending; the one of genesis begins at height 1."""
    value = state.get(REIGNS_KEY)
    if value is None:
        return (Reign(Height(1), validators_of(state).hash),)
    return _reigns(value)


def validators_at(state: StateReader, height: int) -> ValidatorSet | None:
    """Return the set that decides `height`, as far as `state` knows; None when its reign is forgotten.

    Heights beyond the next one belong to the latest reign unless another set is decided upon meanwhile.
    """
    value = state.get(REIGNS_KEY)
    if value is None:
        return validators_of(state) if height >= 1 else None
    found = next((reign for reign in reversed(_reigns(value)) if reign.first <= height), None)
    return None if found is None else set_of(state, found.validators_hash)


def set_of(state: StateReader, validators_hash: bytes) -> ValidatorSet | None:
    """Return the set with this hash when it reigns or has reigned, else None."""
    value = state.get(set_key(validators_hash))
    if value is not None:
        return _set(value)
    present = validators_of(state)
    return present if present.hash == validators_hash else None


def late_sets(state: StateReader, height: int, *, heights_max: int, sets_max: int) -> tuple[ValidatorSet, ...]:
    """Return the sets that decided one of the last `heights_max` heights up to `height`, the latest first.

    Args:
        state: while or after executing the block at `height`.
        height: the latest one that counts.
        heights_max: how far back.
        sets_max: how many sets at most.
    """
    reigns = reigns_of(state)
    ended = [*(reign.first for reign in reigns[1:]), height + 1]
    named = [
        reign.validators_hash
        for reign, end in zip(reigns, ended, strict=True)
        if reign.first <= height and end - 1 > height - heights_max
    ]
    found = (set_of(state, one) for one in reversed(named[-sets_max:]))
    return tuple(one for one in found if one is not None)


def promote(state: Overlay, height: int) -> None:
    """Let a set that waits decide the height after `height`, the one being executed."""
    pending = state.get(VALIDATORS_PENDING_KEY)
    if pending is None:
        return
    before, following = state.get(VALIDATORS_KEY), _set(pending)
    assert before is not None, "a set reigns at every height"
    reigns = reigns_of(state)
    if state.get(REIGNS_KEY) is None:
        state.put(set_key(reigns[0].validators_hash), before)
    kept = (*reigns, Reign(Height(height + 1), following.hash))[-REIGNS_MAX:]
    _forget(state, reigns, kept)
    state.put(set_key(following.hash), pending)
    state.put(REIGNS_KEY, encode(Reigns(kept)))
    state.put(VALIDATORS_KEY, pending)
    state.delete(VALIDATORS_PENDING_KEY)


def _forget(state: Overlay, before: tuple[Reign, ...], kept: tuple[Reign, ...]) -> None:
    named: set[Digest] = {reign.validators_hash for reign in kept}
    for reign in before[: len(before) + 1 - len(kept)]:
        if reign.validators_hash not in named:
            state.delete(set_key(reign.validators_hash))


@lru_cache(maxsize=_CACHED_MAX)
def _set(value: bytes) -> ValidatorSet:
    return decode(value, ValidatorSet, bytes_max=STATE_VALUE_BYTES_MAX)


@lru_cache(maxsize=_CACHED_MAX)
def _reigns(value: bytes) -> tuple[Reign, ...]:
    return decode(value, Reigns, bytes_max=STATE_VALUE_BYTES_MAX).reigns
