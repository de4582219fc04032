"""Power cuts at the effects of real nodes, each on a disk of its own that loses what was not flushed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from genesis.local import LocalConsortium, LocalNode
from node.store import StoreError
from tests.crash.boundaries import drawn
from tests.crash.campaign import survive
from tests.crash.disks import loop_disks, restore_power
from tests.crash.words import BrokenWordError
from tests.processes.harness import make_hospitals

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("crash")]


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals."""
    return make_hospitals(tmp_path / "consortium", collect_ms=500)


def survive_power_cuts(
    consortium: LocalConsortium, directory: Path, *, deaths: int, effects_max: int, disk_lies: bool = False
) -> str:
    """Let nodes lose their power under load."""
    draw = partial(drawn, effects_max=effects_max, power=True, disk_lies=disk_lies)
    with loop_disks([node.data for node in consortium.nodes], directory / "images") as images:

        def revive(node: LocalNode) -> None:
            restore_power(images[node.data], node.data)

        lives, training = directory / "lives", deaths > 10
        return survive(consortium, lives, draw, deaths=deaths, seed=deaths, training=training, revive=revive)


@pytest.mark.parametrize(
    "deaths, effects_max", [(6, 200), pytest.param(24, 400, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_nodes_that_lose_their_power_lose_nothing_that_they_said_or_acknowledged(
    boundaries: Path,
    consortium: LocalConsortium,
    tmp_path: Path,
    tell: Callable[[str], None],
    deaths: int,
    effects_max: int,
) -> None:
    tell(survive_power_cuts(consortium, tmp_path, deaths=deaths, effects_max=effects_max))


@pytest.mark.soak
def test_a_disk_that_lies_about_its_flushes_is_found_out(
    boundaries: Path, consortium: LocalConsortium, tmp_path: Path
) -> None:
    """No node can survive such a disk; this shows that the test above would notice words that are not kept."""
    with pytest.raises((BrokenWordError, StoreError)):
        survive_power_cuts(consortium, tmp_path, deaths=24, effects_max=400, disk_lies=True)
