"""The exact rules on the examples while participants lie: the figures the demo is held to, without a ledger."""

from functools import partial

import pytest

import examples.digits.baselines as digits_baselines
import examples.digits.model as digits_model
from examples.digits.data import load_split
from examples.heart.baselines import MALICIOUS_FROM, ROUNDS, Baselines, measure, score
from examples.heart.data import SITES, Site, load_sites
from examples.heart.model import initial_model, train
from fl.aggregators import RuleSpec
from genesis.presets.digits import digits_task
from genesis.presets.heart import heart_task
from tests.examples.federation import Outcome, federate

MIXED = RuleSpec("trimmed-mean/1", 1, pre=("nnm/1",))
CLIPPED_AND_MIXED = RuleSpec("trimmed-mean/1", 1, pre=("arc/1", "nnm/1"))


@pytest.fixture(scope="module")
def sites() -> tuple[Site, ...]:
    return load_sites()


@pytest.fixture(scope="module")
def baselines(sites: tuple[Site, ...]) -> Baselines:
    return measure(sites)


def heart_federation(sites: tuple[Site, ...], rule: RuleSpec, malicious: int) -> Outcome:
    return federate(
        heart_task(SITES).schema,
        initial_model(),
        [partial(train, samples=site.train) for site in sites],
        [len(site.train) for site in sites],
        rule,
        malicious=[malicious],
        malicious_from=MALICIOUS_FROM,
        rounds=ROUNDS,
    )


@pytest.mark.parametrize("malicious", range(4), ids=SITES)
def test_with_mixing_any_one_hospital_may_lie(sites: tuple[Site, ...], baselines: Baselines, malicious: int) -> None:
    """Within .02 of pooled, better than every hospital alone, and the liar is left out each time it lies."""
    outcome = heart_federation(sites, MIXED, malicious)
    auc = score(outcome.model, sites).auc

    assert auc >= baselines.pooled.auc - 0.02
    assert auc > max(alone.auc for alone in baselines.alone.values())
    assert outcome.left_out == tuple((ROUNDS - MALICIOUS_FROM + 1) * (index == malicious) for index in range(4))


@pytest.mark.parametrize("malicious", range(4), ids=SITES)
def test_the_mean_does_not_survive_one_lying_hospital(sites: tuple[Site, ...], malicious: int) -> None:
    outcome = heart_federation(sites, RuleSpec("weighted-mean/1", 0), malicious)

    assert score(outcome.model, sites).auc < 0.5


def test_clipping_before_mixing_hides_the_liar_among_four(sites: tuple[Site, ...], baselines: Baselines) -> None:
    """Clipped to an honest length, a tenfold sign flip is no longer far away: SECURITY.md warns of it."""
    outcome = heart_federation(sites, CLIPPED_AND_MIXED, SITES.index("Cleveland"))

    assert score(outcome.model, sites).auc < baselines.pooled.auc - 0.05
    assert outcome.left_out[0] == 0


def test_the_presets_describe_the_models_of_the_examples() -> None:
    for task, model in (
        (heart_task(SITES), initial_model()),
        (digits_task([f"participant-{number}" for number in range(10)]), digits_model.initial_model()),
    ):
        assert [(tensor.name, tensor.shape) for tensor in task.schema.tensors] == [
            (name, values.shape) for name, values in model.items()
        ]
    assert heart_task(SITES).rounds == ROUNDS
    assert digits_task([f"participant-{number}" for number in range(10)]).rounds == digits_baselines.ROUNDS


def test_multi_krum_learns_the_digits_while_three_of_ten_lie() -> None:
    split = load_split()
    malicious = digits_baselines.MALICIOUS
    task = digits_task([f"participant-{number}" for number in range(10)])

    outcome = federate(
        task.schema,
        digits_model.initial_model(),
        [partial(digits_model.train, samples=own) for own in split.participants],
        [len(own) for own in split.participants],
        task.rule,
        malicious=malicious,
        malicious_from=1,
        rounds=12,
    )

    assert digits_model.accuracy(outcome.model, split.test) > 0.88
    assert all(outcome.left_out[index] == 12 for index in malicious)
