"""The digits: who holds which image, and the baselines."""

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.digits.baselines import Baselines, measure
from examples.digits.data import CLASSES, PIXELS, SAMPLES_MIN, Split, load_split
from examples.digits.model import initial_model, train


@pytest.fixture(scope="module")
def split() -> Split:
    return load_split()


def test_every_image_has_one_holder_or_is_a_test_image(split: Split) -> None:
    held = [image for part in (*split.participants, split.test) for image in part.ids]

    assert sorted(held) == list(range(1797))


def test_the_deal_is_the_same_in_every_run_and_follows_the_seed(split: Split) -> None:
    """Sizes written down once: another deal would silently change every published figure."""
    assert [len(part) for part in split.participants] == [45, 154, 94, 159, 62, 156, 245, 120, 109, 294]
    assert [part.ids for part in load_split(seed=2).participants] != [part.ids for part in split.participants]


def test_participants_hold_mostly_a_few_digits(split: Split) -> None:
    common = [
        np.sort(np.bincount(part.labels, minlength=CLASSES))[-3:].sum() / len(part) for part in split.participants
    ]

    assert min(len(part) for part in split.participants) >= SAMPLES_MIN
    assert np.mean(common) > 0.6


def test_every_participant_has_the_same_columns(split: Split) -> None:
    for part in split.participants:
        assert part.features.shape == (len(part), PIXELS)
        assert part.features.min() >= 0
        assert part.features.max() <= 1


def test_training_follows_the_gradient_of_the_loss_it_names(split: Split) -> None:
    own = split.participants[0]
    l2 = 0.01
    model = train(initial_model(), own, epochs=3)
    weight, bias = model["weight"].astype(np.float64), model["bias"].astype(np.float64)

    def loss(weight: NDArray[np.float64]) -> float:
        z = own.features @ weight + bias
        log_share = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return float(-log_share[np.arange(len(own)), own.labels].mean() + l2 / 2 * (weight**2).sum())

    taken = train(model, own, epochs=1, rate=1.0, l2=l2)["weight"].astype(np.float64) - weight
    step = 1e-5
    for row, column in ((20, 3), (36, 0), (42, 9)):
        moved = np.zeros_like(weight)
        moved[row, column] = step
        numeric = (loss(weight + moved) - loss(weight - moved)) / (2 * step)
        assert taken[row, column] == pytest.approx(-numeric, abs=1e-6)


@pytest.fixture(scope="module")
def baselines(split: Split) -> Baselines:
    return measure(split, rounds=10)


def test_nobody_alone_comes_near_pooling(baselines: Baselines) -> None:
    assert max(baselines.alone) < baselines.pooled - 0.1


def test_three_liars_of_ten_make_the_mean_as_bad_as_guessing(baselines: Baselines) -> None:
    assert baselines.mean > baselines.pooled - 0.03
    assert baselines.mean_under_attack < 0.2
