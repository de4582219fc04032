"""From trained arrays to an update. One law: the same training gives the same bytes.

So submitting again is no second update. Everything here is pure. The payload's salt, which keeps others from guessing a
small update from its digest, is derived from the participant's secret key, the round and the words: unknown to all
others, equal when the work is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from fl.grid import GridError, quantise_update, update_to_bytes
from fl.records import METRIC_UNIT, METRICS_MAX, Metrics, RoundState
from fl.schema import ModelSchema
from foedus.client.errors import ClientError
from ledger.digest import digest
from ledger.identity import SigningKey
from ledger.payload import PayloadDescriptor, describe

Arrays = Mapping[str, NDArray[np.generic]]


class InvalidUpdateError(ClientError):
    """What was trained cannot be written as an update; the message says which tensor and why."""


@dataclass(frozen=True, slots=True)
class PreparedUpdate:
    """An update's bytes."""

    payload: bytes
    """Salt and int16 words."""

    descriptor: PayloadDescriptor
    saturated: int
    """Words that were cut off at the end of the grid's range."""

    norm: float
    """L2 length of the difference before it was rounded, after it was clipped."""


def prepare_update(
    key: SigningKey, schema: ModelSchema, current: RoundState, base: Arrays, new: Arrays, *, clip: float | None = None
) -> PreparedUpdate:
    """Return the difference between trained and base model on the round's grid.

    Args:
        key: the participant's.
        schema: the task's.
        current: the round.
        base: the round's model.
        new: the trained model, of the same names and shapes.
        clip: longest L2 norm of the difference; longer ones are scaled down. None for no such bound.

    Raises:
        InvalidUpdateError: names, shapes or dtypes differ, or an entry is NaN or infinite.
    """
    try:
        difference = {name: _difference(name, new, base) for name in new}
        norm = float(np.sqrt(sum(float(np.sum(np.square(part))) for part in difference.values())))
        if clip is not None and norm > clip:
            difference = {name: part * (clip / norm) for name, part in difference.items()}
            norm = clip
        words, saturated = quantise_update(difference, schema, current.exponents)
    except GridError as error:
        raise InvalidUpdateError(str(error)) from error
    body = update_to_bytes(words)
    place = f"{current.task}/{current.number}".encode()
    payload = digest("update-salt", key.seed, place, sha256(body).digest()) + body
    return PreparedUpdate(payload, describe(payload), saturated, norm)


def metrics_of(figures: Mapping[str, float] | None) -> Metrics:
    """Return figures as they stand in a transaction: by name, in millionths.

    Raises:
        InvalidUpdateError: too many, or one that is no number.
    """
    given = dict(figures or {})
    if len(given) > METRICS_MAX:
        raise InvalidUpdateError(f"at most {METRICS_MAX} metrics are possible, got {len(given)}")
    for name, value in given.items():
        if not isfinite(value) or abs(value) > 1e12:
            raise InvalidUpdateError(f"metric {name} must be a finite number, got {value}")
    return tuple((name, round(float(value) * METRIC_UNIT)) for name, value in sorted(given.items()))


def _difference(name: str, new: Arrays, base: Arrays) -> NDArray[np.float64]:
    if name not in base:
        raise InvalidUpdateError(f"the model has no tensor {name!r}: it has {sorted(base)}")
    trained, start = np.asarray(new[name]), np.asarray(base[name])
    if trained.shape != start.shape:
        raise InvalidUpdateError(f"{name}: shape {start.shape} is needed, got {trained.shape}")
    if trained.dtype.kind not in "fiu":
        raise InvalidUpdateError(f"{name}: real numbers are needed, got {trained.dtype}")
    return trained.astype(np.float64) - start.astype(np.float64)
