"""Noise on an update at the site: of the size that was asked for, the same when tried again, never shared."""

from __future__ import annotations

import numpy as np
import pytest

from fl.records import RoundState
from foedus.client.noise import NoiseError, gaussian, with_noise
from ledger.digest import ZERO_DIGEST, digest
from ledger.fields import Height
from ledger.identity import SigningKey

KEY = SigningKey(digest("test-noise"))
BASE = {"a": np.zeros((300, 100), np.float32), "b": np.ones(5_000, np.float32)}


def round_(number: int = 1) -> RoundState:
    return RoundState("t", number, "open", 0, (0,), Height(1), 0, 0, Height(0), (), (), 0, "", ZERO_DIGEST)


def trained(step: float) -> dict[str, np.ndarray]:
    return {name: array + np.float32(step) for name, array in BASE.items()}


def noise_of(number: int = 1, *, step: float = 0.0, noise: float = 0.5, clip: float = 2.0) -> np.ndarray:
    noisy = with_noise(KEY, round_(number), BASE, trained(step), clip=clip, noise=noise)
    return np.concatenate([(noisy[name] - BASE[name]).ravel() for name in sorted(noisy)])


def test_noise_is_gaussian_of_the_size_that_was_asked_for() -> None:
    drawn = noise_of(noise=0.5, clip=2.0)

    assert drawn.size == 35_000
    assert abs(drawn.mean()) < 5 / drawn.size**0.5
    assert abs(drawn.std() - 1.0) < 0.02
    assert abs(np.mean(np.abs(drawn) > 1.96) - 0.05) < 0.006


def test_the_difference_is_scaled_down_before_the_noise() -> None:
    still = with_noise(KEY, round_(), BASE, trained(1.0), clip=1.0, noise=0.0)
    length = sum(float(np.sum((still[name] - BASE[name]) ** 2)) for name in still) ** 0.5

    assert length == pytest.approx(1.0)
    short = with_noise(KEY, round_(), BASE, trained(1e-6), clip=1.0, noise=0.0)
    assert np.allclose(short["a"], BASE["a"] + np.float32(1e-6))


def test_a_submission_that_is_tried_again_has_the_same_noise_and_nobody_can_average_it_away() -> None:
    assert np.array_equal(noise_of(), noise_of())


def test_two_updates_of_a_round_or_two_rounds_or_two_keys_share_no_noise() -> None:
    first = noise_of()
    other_key = with_noise(SigningKey(digest("other")), round_(), BASE, trained(0.0), clip=2.0, noise=0.5)
    others = [noise_of(step=1e-9), noise_of(2), np.concatenate([other_key["a"].ravel(), other_key["b"] - 1.0])]

    for other in others:
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.03


def test_odd_numbers_of_coordinates_are_filled() -> None:
    assert gaussian(bytes(32), 7).shape == (7,)
    assert np.isfinite(gaussian(bytes(32), 100_001)).all()


@pytest.mark.parametrize(
    "clip,noise,hint",
    [(None, 1.0, "give clip"), (0.0, 1.0, "give clip"), (float("inf"), 1.0, "give clip"), (1.0, -1.0, "at least 0")],
)
def test_noise_that_would_hide_nothing_is_refused(clip: float | None, noise: float, hint: str) -> None:
    with pytest.raises(NoiseError, match=hint):
        with_noise(KEY, round_(), BASE, trained(0.0), clip=clip, noise=noise)


def test_a_model_that_is_no_number_is_refused() -> None:
    with pytest.raises(NoiseError, match="NaN"):
        with_noise(KEY, round_(), BASE, trained(float("nan")), clip=1.0, noise=1.0)
