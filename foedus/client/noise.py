"""Gaussian noise on an update, at the site. One law: the same update of one round has the same noise, another another.

Noise follows from the participant's key, the round and the update itself. So a submission that is tried again sends the
same bytes and nobody can average the noise away, and two updates of one round do not share it. Uniform bits come from
ChaCha20, so that noise tells nothing of other noise.

Source: Dwork, Roth, "The Algorithmic Foundations of Differential Privacy", 2014, appendix A; Box, Muller, 1958.
Differs from it in: floating point; docs/privacy.md says what that means.
Cost: a copy of the model in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, pi, sqrt
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from fl.records import RoundState
from foedus.client.errors import ClientError
from ledger.digest import digest
from ledger.identity import SigningKey

Arrays = Mapping[str, NDArray[np.float64]]
_NONCE: Final = bytes(16)
_WORD_BYTES: Final = 8
_MANTISSA_BITS: Final = 53


class NoiseError(ClientError):
    """Noise that would hide nothing."""


def with_noise(
    key: SigningKey,
    current: RoundState,
    base: Mapping[str, NDArray[np.generic]],
    new: Mapping[str, NDArray[np.generic]],
    *,
    clip: float | None,
    noise: float,
) -> dict[str, NDArray[np.float64]]:
    """Return a trained model whose difference to the base is clipped, with noise in every coordinate.

    Args:
        key: the participant's.
        current: the round.
        base: the round's model.
        new: the trained model, of the same names and shapes.
        clip: longest L2 norm of the difference; longer ones are scaled down.
        noise: standard deviation of the noise over `clip`; at least 0.

    Raises:
        NoiseError: there is no bound, no such noise, or a difference that is no number.
    """
    if clip is None or not 0 < clip < inf:
        raise NoiseError(f"noise needs a bound on what it hides: give clip a length above 0, got {clip}")
    if not 0 <= noise < inf:
        raise NoiseError(f"noise is a standard deviation over the bound, at least 0, got {noise}")
    names = sorted(new)
    deltas = {name: np.asarray(new[name], np.float64) - np.asarray(base[name], np.float64) for name in names}
    norm = sqrt(sum(float(np.sum(delta**2)) for delta in deltas.values()))
    if not norm < inf:
        raise NoiseError("the difference has an entry that is NaN or infinite")
    factor = min(1.0, clip / norm) if norm else 1.0
    clipped = {name: delta * factor for name, delta in deltas.items()}
    secret = digest(
        "update-noise",
        key.seed,
        f"{current.task}/{current.number}".encode(),
        *(part for name in names for part in (name.encode(), clipped[name].tobytes())),
    )
    drawn = gaussian(secret, sum(delta.size for delta in clipped.values())) * (noise * clip)
    noisy, start = {}, 0
    for name in names:
        end = start + clipped[name].size
        own = drawn[start:end].reshape(clipped[name].shape)
        noisy[name] = np.asarray(base[name], np.float64) + clipped[name] + own
        start = end
    return noisy


def gaussian(secret: bytes, count: int) -> NDArray[np.float64]:
    """Return so many independent standard normal numbers that follow from a secret of 32 bytes; shape (count,)."""
    pairs = (count + 1) // 2
    cipher = Cipher(algorithms.ChaCha20(secret, _NONCE), mode=None).encryptor()
    bits = np.frombuffer(cipher.update(bytes(2 * pairs * _WORD_BYTES)), "<u8")
    uniform = ((bits >> np.uint64(64 - _MANTISSA_BITS)) + 0.5) * 2.0**-_MANTISSA_BITS
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:pairs])), 2.0 * pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
