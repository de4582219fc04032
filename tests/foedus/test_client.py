"""The SDK against a real ledger: a participant's loop from connection to finished task."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import foedus
from fl.optimisers import OptimiserSpec
from fl.records import EvaluationState
from fl.state import evaluation_of, update_of
from foedus import aio
from foedus.client.updates import InvalidUpdateError
from genesis.keys import write_key
from ledger.fields import Height
from tests.node.single_node import STRANGER, TRAINER_KEYS, Served, served, toy_task

ALPHA, BETA = TRAINER_KEYS["alpha"], TRAINER_KEYS["beta"]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as opened:
        yield opened


def moved(model: dict[str, np.ndarray], by: float) -> dict[str, np.ndarray]:
    return {name: array + np.float32(by) for name, array in model.items()}


async def first_round(session: aio.Session) -> aio.Round:
    return await anext(session.rounds())


async def test_two_trainers_take_a_task_from_zeros_to_its_end(node: Served) -> None:
    async def train(name: str, by: float) -> list[tuple[int, int, float]]:
        seen = []
        async with aio.connect(node.url, key=TRAINER_KEYS[name], task="toy", genesis=node.node.genesis) as session:
            async for current in session.rounds():
                seen.append((current.number, current.base_version, float(current.model["bias"])))
                await current.submit(moved(current.model, by), samples=10, metrics={"auc": 0.8})
        return seen

    seen, others = await asyncio.gather(train("alpha", 0.25), train("beta", 0.75))

    assert seen == others == [(1, 0, 0.0), (2, 1, 0.5), (3, 2, 1.0)]


async def test_trainers_start_from_the_words_of_a_model_that_momentum_moves(tmp_path: Path) -> None:
    """0.5, then 0.5 + 0.9 * 0.5 more; what is remembered stands behind the words and is not taken for them."""
    task = msgspec.structs.replace(toy_task(), optimiser=OptimiserSpec("momentum/1", 1_000_000, 900))
    seen: list[float] = []

    async def train(node: Served, name: str) -> None:
        async with aio.connect(node.url, key=TRAINER_KEYS[name], task="toy", genesis=node.node.genesis) as session:
            async for current in session.rounds():
                seen.append(float(current.model["weight"][1, 2]))
                await current.submit(moved(current.model, 0.5), samples=10)

    async with served(tmp_path, task) as node:
        await asyncio.gather(train(node, "alpha"), train(node, "beta"))

    assert sorted(seen) == pytest.approx([0.0, 0.0, 0.5, 0.5, 1.45, 1.45], abs=1e-6)


async def test_a_script_without_asyncio_does_the_same(node: Served, tmp_path: Path) -> None:
    write_key(tmp_path / "alpha.key", ALPHA, owner="alpha")

    def script() -> list[int]:
        numbers = []
        with foedus.connect(node.url, key=tmp_path / "alpha.key", task="toy") as session:
            assert session.participant is not None
            assert session.participant.name == "alpha"
            for current in session.rounds():
                numbers.append(current.number)
                current.submit(moved(current.model, 0.5), samples=1)
            session.evaluate({"auc": 0.9}, samples=3)
            assert np.array_equal(session.model()["weight"], np.full((2, 3), 1.5))
            assert np.array_equal(session.model(1)["weight"], np.full((2, 3), 0.5))
            assert session.task().status == "finished"
            assert session.status().height == session.blocks(limit=1).items[0].height
            assert session.block("latest").header.height == session.block(session.status().height).header.height
            assert session.transactions(limit=1).items[0].kind == "evaluation"
        return numbers

    async def partner() -> None:
        async with aio.connect(node.url, key=BETA, task="toy") as session:
            async for current in session.rounds():
                await current.submit(moved(current.model, 0.5), samples=1)

    numbers, _ = await asyncio.gather(asyncio.to_thread(script), partner())

    assert numbers == [1, 2, 3]
    assert not [thread for thread in threading.enumerate() if thread.name == "foedus"]


async def test_an_update_is_the_rounded_difference_and_carries_its_figures(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        done = await current.submit(moved(current.model, 0.125), samples=42, metrics={"loss": 0.5, "auc": 0.75})

    state = update_of(node.node.state(), "toy", 1, "alpha")
    assert state is not None
    assert (state.samples, state.saturated) == (42, 0)
    assert state.metrics == (("auc", 750_000), ("loss", 500_000))
    assert state.payload.id.hex() == done.payload
    words = np.frombuffer(await node.node.payloads.read(state.payload.id, 32, 14), "<i2")
    assert set(words) == {1024}  # 0.125 * 2^13 at exponent 0


async def test_submitting_the_same_again_counts_once(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        first = await current.submit(moved(current.model, 0.25), samples=1)
        again = await current.submit(moved(current.model, 0.25), samples=1)

    assert again.payload == first.payload
    assert again.transaction is None


async def test_a_second_different_update_is_refused_by_name(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        await current.submit(moved(current.model, 0.25), samples=1)
        with pytest.raises(foedus.UpdateRefusedError) as caught:
            await current.submit(moved(current.model, 0.5), samples=1)

    assert caught.value.code == "update.conflicting"
    assert "alpha" in caught.value.detail


async def test_an_update_that_comes_late_is_refused_and_the_loop_goes_on(node: Served) -> None:
    async with (
        aio.connect(node.url, key=ALPHA, task="toy") as slow,
        aio.connect(node.url, key=BETA, task="toy") as quick,
    ):
        stale = await first_round(slow)
        for _ in range(2):
            session = await first_round(quick)
            await session.submit(moved(session.model, 0.1), samples=1)
            node.node.force_close()
            await node.node.seal()
        with pytest.raises(foedus.UpdateRefusedError, match=r"update\.late"):
            await stale.submit(moved(stale.model, 0.5), samples=1)
        assert (await first_round(slow)).number == 3


async def test_a_round_that_has_our_update_is_not_offered_again(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        await current.submit(moved(current.model, 0.25), samples=1)

    async with (
        aio.connect(node.url, key=ALPHA, task="toy") as resumed,
        aio.connect(node.url, key=BETA, task="toy") as partner,
    ):
        waiting = asyncio.ensure_future(first_round(resumed))
        theirs = await first_round(partner)
        await theirs.submit(moved(theirs.model, 0.25), samples=1)
        assert (await waiting).number == 2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": np.full((2, 3), np.nan)}, "weight: every entry must be finite"),
        ({"weight": np.full((2, 3), np.inf)}, "weight: every entry must be finite"),
        ({"weight": np.zeros((3, 2))}, r"weight: shape \(2, 3\) is needed"),
        ({"weight": np.zeros((2, 3), complex)}, "weight: real numbers are needed"),
        ({"extra": np.zeros(2)}, "no tensor 'extra'"),
    ],
)
async def test_what_cannot_be_an_update_never_leaves(node: Served, change: dict[str, np.ndarray], message: str) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        with pytest.raises(InvalidUpdateError, match=message):
            await current.submit({**current.model, **change}, samples=1)

    assert node.node.chain.height == 0


async def test_a_missing_tensor_and_a_senseless_metric_are_named(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        with pytest.raises(InvalidUpdateError, match="missing: \\['bias'\\]"):
            await current.submit({"weight": current.model["weight"]}, samples=1)
        with pytest.raises(InvalidUpdateError, match="metric auc must be a finite number"):
            await current.submit(current.model, samples=1, metrics={"auc": float("nan")})


async def test_clipping_bounds_what_leaves(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        done = await current.submit(moved(current.model, 0.5), samples=1, clip=0.1)

    state = update_of(node.node.state(), "toy", 1, "alpha")
    assert state is not None
    words = np.frombuffer(await node.node.payloads.read(state.payload.id, 32, 14), "<i2") / 2**13
    assert done.norm == 0.1
    assert np.linalg.norm(words) == pytest.approx(0.1, rel=5e-3)


async def test_the_same_words_of_two_participants_have_different_payloads(node: Served) -> None:
    names = set()
    for key in (ALPHA, BETA):
        async with aio.connect(node.url, key=key, task="toy") as session:
            current = await first_round(session)
            names.add((await current.submit(moved(current.model, 0.25), samples=1)).payload)

    assert len(names) == 2


async def test_changing_the_model_in_place_is_training(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        current = await first_round(session)
        current.model["weight"] += 0.25
        current.model["bias"] += 0.25
        done = await current.submit(current.model, samples=1)

    assert done.norm == pytest.approx(0.25 * 7**0.5)


async def test_an_evaluation_counts_once_and_other_figures_are_refused(node: Served) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        await session.evaluate({"auc": 0.75}, samples=3)
        await session.evaluate({"auc": 0.75}, samples=3)
        with pytest.raises(foedus.EvaluationRefusedError, match=r"evaluation\.duplicate"):
            await session.evaluate({"auc": 0.8}, samples=3)
        with pytest.raises(foedus.EvaluationRefusedError, match=r"evaluation\.unknown_model"):
            await session.evaluate({"auc": 0.8}, samples=3, version=7)

    state = evaluation_of(node.node.state(), "toy", 0, "alpha")
    assert state == EvaluationState("toy", 0, "alpha", 3, (("auc", 750_000),), Height(1))


async def test_two_scripts_with_one_key_share_its_nonces(node: Served) -> None:
    async def speak(place: int) -> str:
        async with aio.connect(node.url, key=ALPHA, task="toy") as session:
            if place:
                await session.evaluate({"auc": 0.1}, samples=1)
                return "evaluated"
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)
            return "submitted"

    assert list(await asyncio.gather(speak(0), speak(1))) == ["submitted", "evaluated"]


async def test_a_key_that_is_no_participants_is_refused_at_the_door(node: Served) -> None:
    with pytest.raises(foedus.NotEnrolledError, match=STRANGER.public_key.hex()):
        async with aio.connect(node.url, key=STRANGER, task="toy"):
            pass


async def test_without_a_key_a_session_reads_and_says_what_it_lacks(node: Served) -> None:
    async with aio.connect(node.url, task="toy") as session:
        assert (await session.model())["weight"].shape == (2, 3)
        with pytest.raises(foedus.ClientError, match="needs a participant's key"):
            await first_round(session)
    async with aio.connect(node.url) as session:
        with pytest.raises(foedus.ClientError, match="needs a task"):
            await session.task()
    async with aio.connect(node.url, task="none") as session:
        with pytest.raises(foedus.ClientError, match="the chain has no task none"):
            await session.task()


async def test_large_updates_and_models_travel_in_parts(tmp_path: Path) -> None:
    async with (
        served(tmp_path, toy_task(updates_max=1, width=1_500_000)) as node,
        aio.connect(node.url, key=ALPHA, task="toy", genesis=node.node.genesis) as session,
    ):
        current = await first_round(session)
        generator = np.random.default_rng(1)
        new = {name: generator.uniform(-0.5, 0.5, array.shape) for name, array in current.model.items()}
        await current.submit(new, samples=1)
        following = await first_round(session)

    assert following.number == 2
    for name, array in new.items():
        assert np.max(np.abs(following.model[name] - array)) <= 2.0**-14


def test_importing_foedus_loads_no_server_and_no_arrays() -> None:
    script = "import sys, foedus; print([name for name in ('aiohttp', 'numpy', 'node', 'fl') if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in foedus.__all__:
        assert getattr(foedus, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        foedus.nothing  # noqa: B018
