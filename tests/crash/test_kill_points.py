"""SIGKILL before, in and after the effects of real nodes: no word and no acknowledged transaction is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from genesis.local import LocalConsortium
from tests.crash.boundaries import drawn
from tests.crash.campaign import survive
from tests.processes.harness import make_hospitals

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("crash")]


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals."""
    return make_hospitals(tmp_path / "consortium", collect_ms=500)


@pytest.mark.parametrize(
    "deaths, effects_max", [(16, 200), pytest.param(220, 400, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_nodes_killed_at_effects_of_their_stores_and_sockets_lose_nothing(
    boundaries: Path,
    consortium: LocalConsortium,
    tmp_path: Path,
    tell: Callable[[str], None],
    deaths: int,
    effects_max: int,
) -> None:
    """A start is about 30 effects, a block about 50."""
    draw = partial(drawn, effects_max=effects_max)

    tell(survive(consortium, tmp_path / "lives", draw, deaths=deaths, seed=deaths, training=deaths > 100))
