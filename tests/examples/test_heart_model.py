"""Logistic regression, its scores, and the baselines the demo is judged against."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from examples.attack import sign_flip
from examples.heart.baselines import Baselines, measure
from examples.heart.data import load_site, load_sites
from examples.heart.model import accuracy, auc, initial_model, log_odds, predict, train


def counted_auc(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Compare every sick patient with every healthy one."""
    pairs = [
        1.0 if sick > healthy else 0.5 if sick == healthy else 0.0
        for sick in scores[labels == 1]
        for healthy in scores[labels == 0]
    ]
    return sum(pairs) / len(pairs)


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40))
def test_the_auc_is_the_share_of_pairs_in_the_right_order(patients: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in patients], dtype=np.float64)
    labels = np.array([label for _, label in patients], dtype=np.float64)
    if labels.min() == labels.max():
        with pytest.raises(ValueError, match="both classes"):
            auc(scores, labels)
    else:
        assert auc(scores, labels) == pytest.approx(counted_auc(scores, labels))


def test_training_follows_the_gradient_of_the_loss_it_names() -> None:
    site = load_site("Cleveland")
    l2 = 0.01
    model = train(initial_model(), site.train)
    weight, bias = model["weight"].astype(np.float64), model["bias"].astype(np.float64)

    def loss(weight: NDArray[np.float64]) -> float:
        odds = site.train.features @ weight + bias
        return float(np.mean(np.logaddexp(0, odds) - site.train.labels * odds) + l2 / 2 * weight @ weight)

    step = 1e-5
    numeric = np.array([(loss(weight + step * e) - loss(weight - step * e)) / (2 * step) for e in np.eye(len(weight))])
    taken = train(model, site.train, epochs=1, rate=1.0, l2=l2)["weight"].astype(np.float64) - weight
    np.testing.assert_allclose(taken, -numeric, atol=1e-6)


def test_training_twice_gives_the_same_bits_and_leaves_its_input() -> None:
    site = load_site("Hungary")
    model = train(initial_model(), site.train)
    before = {name: values.copy() for name, values in model.items()}

    first, second = train(model, site.train), train(model, site.train)

    for name, values in first.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, second[name])
        np.testing.assert_array_equal(model[name], before[name])


def test_probabilities_and_log_odds_call_the_same_patients_sick() -> None:
    site = load_site("Cleveland")
    model = train(initial_model(), site.train, epochs=20)

    probable = predict(model, site.test.features)

    assert ((probable > 0) & (probable < 1)).all()
    assert ((probable > 0.5) == (log_odds(model, site.test.features) > 0)).all()
    assert accuracy(log_odds(model, site.test.features), site.test.labels) > 0.7


def test_a_sign_flip_goes_ten_times_the_step_the_other_way() -> None:
    base = {"weight": np.array([1.0, 2.0], np.float32)}
    new = {"weight": np.array([1.5, 2.0], np.float32)}

    np.testing.assert_array_equal(sign_flip(base, new)["weight"], np.array([-4.0, 2.0], np.float32))


@pytest.fixture(scope="module")
def baselines() -> Baselines:
    return measure(load_sites())


def test_pooled_records_beat_every_hospital_alone(baselines: Baselines) -> None:
    assert baselines.pooled.auc == pytest.approx(0.906, abs=0.002)
    assert max(score.auc for score in baselines.alone.values()) < baselines.pooled.auc - 0.02


def test_the_mean_is_as_good_as_pooling_until_one_hospital_lies(baselines: Baselines) -> None:
    assert baselines.mean.auc == pytest.approx(baselines.pooled.auc, abs=0.01)
    assert baselines.mean_under_attack.auc < 0.5
