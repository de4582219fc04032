"""The examples of joining with one's own model really join, train and improve."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

import foedus
from examples import Model
from examples.join.options import Options
from fl.schema import ModelSchema, TensorSpec
from foedus.cli.model_files import initial_model
from genesis.keys import write_key
from ledger.payload import SALT_BYTES
from tests.node.single_node import TRAINER_KEYS, served, toy_task

NEEDS = {"with_numpy": "numpy", "with_sklearn": "sklearn", "with_torch": "torch", "with_opacus": "opacus"}


def schema(model: Model) -> ModelSchema:
    return ModelSchema(tuple(TensorSpec(name, array.shape, 1, 0) for name, array in model.items()))


@pytest.mark.parametrize("name", NEEDS)
async def test_a_model_of_ones_own_learns_on_the_chain(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed: pip install it to run this example")
    script = importlib.import_module(f"examples.join.{name}")
    first = initial_model(script.initial(), schema(script.initial()))
    spec = msgspec.structs.replace(
        toy_task(updates_max=1, rounds=4),
        schema=first.schema,
        initial_model=first.descriptor if np.any(np.frombuffer(first.payload[SALT_BYTES:], "<i4")) else None,
        participants=("alpha",),
    )
    write_key(tmp_path / "alpha.key", TRAINER_KEYS["alpha"], owner="alpha")
    async with served(tmp_path / "node", spec) as node:
        await node.node.payloads.add(first.payload)
        told = Options(url=node.url, key=tmp_path / "alpha.key", task="toy", hospital=1, initial=None)
        await asyncio.to_thread(script.join, told)

        def figures() -> list[float]:
            with foedus.connect(node.url, task="toy", genesis=node.node.genesis) as session:
                assert session.task().status == "finished"
                model = session.model()
            assert all(np.isfinite(array).all() for array in model.values())
            return [
                float(line.split("gets ")[1].split("%")[0])
                for line in capsys.readouterr().out.splitlines()
                if line.startswith("round ")
            ]

        seen = await asyncio.to_thread(figures)

    assert len(seen) == 4
    assert seen[-1] > 80
    assert seen[-1] > seen[0]


def test_noise_of_dp_sgd_is_another_one_each_time_although_the_first_weights_are_everybodys() -> None:
    pytest.importorskip("opacus", reason="opacus is not installed: pip install it to run this example")
    from examples.join import with_opacus, with_torch
    from examples.join.data import load

    features, sick = load(1)
    trained = [with_opacus.train(with_torch.initial(), features, sick) for _ in range(2)]

    assert not np.array_equal(trained[0]["0.weight"], trained[1]["0.weight"])
