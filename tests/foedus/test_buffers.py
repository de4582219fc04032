"""A module's state: floats are carried by the chain, counters and flags stay with whoever trains."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import foedus
from fl.grid import WORD_MAX, quantise_update
from fl.schema import schema_for
from foedus.cli.model_files import schema_of
from foedus.cli.output import CommandError

Arrays = dict[str, NDArray[np.generic]]
STATE: Arrays = {
    "norm.weight": np.ones(3, np.float32),
    "norm.running_mean": np.array([0.5, -1.0, 2.0], np.float16),
    "norm.running_var": np.array([1e-7, 1.0, 2.0], np.float32),
    "norm.num_batches_tracked": np.array(1_234, np.int64),
    "mask": np.array([True, False, True]),
}
FLOATS = {"norm.weight", "norm.running_mean", "norm.running_var"}


def test_counters_and_flags_are_not_carried_and_floats_are() -> None:
    assert set(foedus.carried_state(STATE)) == FLOATS


def test_a_state_is_whole_again_with_its_own_counters_and_its_own_kinds_of_numbers() -> None:
    model: Arrays = {name: np.full(3, 0.25, np.float32) for name in FLOATS}

    whole = foedus.restored_state(model, STATE)

    assert {name: array.dtype for name, array in whole.items()} == {name: one.dtype for name, one in STATE.items()}
    assert whole["norm.num_batches_tracked"] == 1_234
    assert whole["mask"].tolist() == [True, False, True]
    assert all((whole[name] == 0.25).all() for name in FLOATS)
    assert whole["mask"] is not STATE["mask"]


def test_a_variance_that_the_grid_rounded_below_zero_is_zero() -> None:
    model = foedus.carried_state(STATE) | {"norm.running_var": np.array([-(2.0**-24), 1.0, 2.0], np.float32)}

    assert foedus.restored_state(model, STATE)["norm.running_var"].tolist() == [0.0, 1.0, 2.0]
    assert foedus.restored_state(model, STATE)["norm.running_mean"].min() == -1.0


@pytest.mark.parametrize("change", [{"norm.weight": None}, {"other": np.zeros(1)}, {"norm.weight": np.ones(4)}])
def test_a_model_of_another_module_is_refused(change: dict[str, NDArray[np.generic] | None]) -> None:
    model = foedus.carried_state(STATE) | change
    with pytest.raises(foedus.InvalidUpdateError, match=r"missing|unknown|shape"):
        foedus.restored_state({name: array for name, array in model.items() if array is not None}, STATE)


@pytest.mark.parametrize("state", [{"a": np.zeros(2, complex)}, {"a": np.array(["x"])}, {"a": np.zeros(2, np.int64)}])
def test_what_no_rule_can_average_is_refused(state: Arrays) -> None:
    with pytest.raises(foedus.InvalidUpdateError):
        foedus.carried_state(state)


def test_no_task_is_made_of_a_counter() -> None:
    with pytest.raises(CommandError, match=r"norm.num_batches_tracked.*carried_state"):
        schema_of(STATE | {"mask": np.zeros(3, np.float32)})


def test_why_a_counter_is_not_carried() -> None:
    """A hundred batches are beyond what an update of a new task can say: every participant's word is cut off."""
    counter: Arrays = {"num_batches_tracked": np.array(100)}
    schema = schema_for(counter)

    words, saturated = quantise_update(counter, schema, schema.initial_exponents)

    assert (words.tolist(), saturated) == ([WORD_MAX], 1)


def test_a_module_with_batch_norm_goes_there_and_back() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    module(torch.randn(8, 4))
    state = {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}

    carried = foedus.carried_state(state)
    whole = foedus.restored_state(carried, state)
    module.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in whole.items()})

    assert set(state) - set(carried) == {"1.num_batches_tracked"}
    assert int(module[1].num_batches_tracked) == 1
