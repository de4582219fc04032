"""Plans of consortia for tests."""

from __future__ import annotations

from pathlib import Path

from genesis.local import LocalConsortium, LocalPlan, make_local
from genesis.presets import PRESETS

GENESIS_MS = 1_760_000_000_000


def heart_plan() -> LocalPlan:
    preset = PRESETS["heart"]
    return LocalPlan(preset.organisations, preset.trainers, (preset.task(preset.trainers, None, None),))


def make(directory: Path, plan: LocalPlan | None = None) -> LocalConsortium:
    return make_local(directory, heart_plan() if plan is None else plan, time_ms=GENESIS_MS)
