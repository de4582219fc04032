"""Tasks as people write them: TOML or JSON. One law: every fault is told at once, by the name the person wrote.

::

    id = "heart"
    rounds = 25
    updates_min = 3
    updates_max = 4

    [rule]
    rule = "trimmed-mean/1"
    f = 1
    pre = ["nnm/1"]

    [[tensors]]
    name = "weight"
    shape = [38]
    exponent = 0

Names are those of `fl.records.TaskSpec`; `tensors` are its schema's. `foedus task template` prints a whole one.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from fl.aggregators import RuleSpec
from fl.optimisers import OptimiserSpec
from fl.records import PARTICIPANTS_MAX, Days, TaskSpec
from fl.schema import ModelSchema, SchemaError, TensorSpec
from genesis.files import read_text
from genesis.reading import FaultsError, Json, read, to_json
from ledger.codec import CodecError, decode, encode
from ledger.fields import NameField, Uint
from ledger.payload import PayloadDescriptor
from ledger.transaction import TRANSACTION_BYTES_MAX

PLAN_BYTES_MAX: Final = 1 << 20
COLLECT_MS_DEFAULT: Final = 60_000
AGGREGATE_MS_DEFAULT: Final = 60_000
Count = Annotated[int, Meta(ge=1, le=PARTICIPANTS_MAX)]


class InvalidTaskError(FaultsError):
    """A task that nobody could propose; `faults` names each reason."""


class TaskPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of a task; what a field means stands with `TaskSpec`."""

    id: NameField
    description: Annotated[str, Meta(max_length=1_024)] = ""
    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    updates_min: Count
    updates_max: Count
    collect_ms: Days = COLLECT_MS_DEFAULT
    aggregate_ms: Days = AGGREGATE_MS_DEFAULT
    clip_norm_micros: Uint = 0
    participants: tuple[NameField, ...] = ()
    """In any order; empty for every trainer."""

    rule: RuleSpec
    tensors: tuple[TensorSpec, ...] = ()
    """In the order of the model's words; may be left out when an initial model says them."""

    optimiser: OptimiserSpec | None = None
    """Left out: aggregates are added to the model."""


def load_plan(path: Path) -> TaskPlan:
    """Read a plan from a file: JSON when its name ends so, else TOML.

    Raises:
        InvalidTaskError: the file cannot be read or is malformed; all faults at once.
    """
    try:
        text = read_text(path, bytes_max=PLAN_BYTES_MAX)
    except FaultsError as error:
        raise InvalidTaskError(error.source, error.faults) from error
    return read_plan(text, source=str(path), is_json=path.suffix == ".json")


def read_plan(text: str, *, source: str, is_json: bool) -> TaskPlan:
    """Return the plan in a text; errors as `load_plan`."""
    faults: list[str] = []
    try:
        tree: object = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidTaskError(source, [f"not {'JSON' if is_json else 'TOML'}: {error}"]) from error
    plan = read(tree, TaskPlan, faults)
    if plan is None or faults:
        raise InvalidTaskError(source, faults)
    return plan


def task_of_plan(
    plan: TaskPlan, *, schema: ModelSchema | None = None, initial_model: PayloadDescriptor | None = None
) -> TaskSpec:
    """Return the task that a plan describes.

    Args:
        plan: what a person wrote.
        schema: of the initial model; stands in for tensors that the plan does not name.
        initial_model: what the first round starts from; None for all zeros.

    Raises:
        InvalidTaskError: no tensors are named, or they cannot be a model.
    """
    source = f"task {plan.id}"
    if not plan.tensors and schema is None:
        raise InvalidTaskError(source, ["tensors: is missing; name the model's tensors, or give an initial model"])
    try:
        shape = ModelSchema(plan.tensors) if plan.tensors else schema
    except SchemaError as error:
        raise InvalidTaskError(source, [f"tensors: {error}"]) from error
    assert shape is not None, "one of the two was given"
    task = TaskSpec(
        id=plan.id,
        description=plan.description,
        schema=shape,
        initial_model=initial_model,
        rule=plan.rule,
        clip_norm_micros=plan.clip_norm_micros,
        updates_min=plan.updates_min,
        updates_max=plan.updates_max,
        collect_ms=plan.collect_ms,
        aggregate_ms=plan.aggregate_ms,
        rounds=plan.rounds,
        participants=tuple(sorted(plan.participants)),
        optimiser=plan.optimiser,
    )
    try:
        return decode(encode(task), TaskSpec, bytes_max=TRANSACTION_BYTES_MAX)
    except CodecError as error:
        raise InvalidTaskError(source, [str(error)]) from error


def plan_of_task(task: TaskSpec) -> TaskPlan:
    """Return what a person would write to get `task`, but for its initial model."""
    return TaskPlan(
        id=task.id,
        description=task.description,
        rounds=task.rounds,
        updates_min=task.updates_min,
        updates_max=task.updates_max,
        collect_ms=task.collect_ms,
        aggregate_ms=task.aggregate_ms,
        clip_norm_micros=task.clip_norm_micros,
        participants=task.participants,
        rule=task.rule,
        tensors=task.schema.tensors,
        optimiser=task.optimiser,
    )


def plan_text(plan: TaskPlan) -> str:
    """Return a plan as TOML, each setting with what it means."""
    tensors = [
        "\n".join(
            [
                "[[tensors]]",
                _line("name", tensor.name),
                _line("shape", to_json(tensor.shape)),
                _line("exponent", tensor.exponent),
                _line("update_exponent", tensor.update_exponent),
            ]
        )
        for tensor in plan.tensors
    ]
    head = [f"{_line(name, to_json(getattr(plan, name)))}  # {meaning}" for name, meaning in _MEANINGS.items()]
    rule = ["[rule]", *(f"{_line(name, to_json(getattr(plan.rule, name)))}  # {said}" for name, said in _RULE.items())]
    grids = (
        "# A tensor's values lie within 128 * 2^exponent; a first update's entries within 2^update_exponent.\n"
        "# Their order is that of the model's words."
    )
    return "\n\n".join(["\n".join(head), "\n".join(rule), _optimiser_text(plan.optimiser), grids, *tensors]) + "\n"


def _optimiser_text(optimiser: OptimiserSpec | None) -> str:
    if optimiser is None:
        return (
            "# With [optimiser], aggregates move the model by momentum, Adam or Yogi: docs/rules.md, Server optimisers."
        )
    said = [f"{_line(name, to_json(getattr(optimiser, name)))}  # {said}" for name, said in _OPTIMISER.items()]
    return "\n".join(["[optimiser]", *said])


_MEANINGS: Final = {
    "id": "name of the task on the chain; never used twice",
    "description": "for people",
    "rounds": "certified rounds after which it is finished",
    "updates_min": "a round with fewer fails when its time is up",
    "updates_max": "a round with so many closes at once",
    "collect_ms": "how long a round stays open after its first update",
    "aggregate_ms": "how long the validators have for a certified result",
    "clip_norm_micros": "longer updates are scaled down to this L2 length, in millionths; 0 for no bound",
    "participants": "who may submit; empty for every trainer",
}
_RULE: Final = {
    "rule": "how updates become one; docs/rules.md has them all",
    "f": "how many organisations may lie",
    "pre": "before the rule: arc/1 (clips), then nnm/1 (mixes neighbours) or bucketing/1 (mixes by lot)",
    "keep": "multi-krum: how many updates are averaged; 0 for all but f",
    "weight_cap_permille": "weighted rules: largest share of one update; 0 for no cap",
    "bucket": "bucketing: updates of a bucket",
    "radius_micros": "centred-clipping: how far one update pulls, in millionths",
    "root": "fltrust: the participant whose update the others are held against",
}

_OPTIMISER: Final = {
    "optimiser": "momentum/1, adam/1 or yogi/1",
    "rate_micros": "learning rate, in millionths",
    "momentum_permille": "what is kept of the running sum or mean of aggregates, in thousandths",
    "variance_permille": "adam, yogi: what is kept of the running mean of squares, in thousandths",
    "floor_micros": "adam, yogi: added to its root, in millionths of a unit of value",
}


def _line(name: str, value: Json) -> str:
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"
