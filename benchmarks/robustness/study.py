"""What is compared with what. One law: every cell is the mean over the same seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

import tests.attacks
from benchmarks.robustness.attacks import ATTACKS
from benchmarks.robustness.contestants import RULES
from benchmarks.robustness.data import Deal, deal
from benchmarks.robustness.federation import Figures, Peer, Setting, run, train_pooled
from benchmarks.robustness.peers import Peers
from benchmarks.robustness.training import Training
from fl.aggregators import RuleSpec
from fl.optimisers import OptimiserSpec

POOLED: Final = "pooled"
MOMENTUM: Final = 0.9


@dataclass(frozen=True, slots=True)
class Scene:
    """Data, sites and liars; everything of a run but rule, attack and seed."""

    data: str
    participants: int
    liars: int
    alpha: str
    rounds: int
    training: Training
    hidden: int
    momentum: float = MOMENTUM
    optimiser: OptimiserSpec | None = None

    @property
    def title(self) -> str:
        """Say it in a line."""
        named = {"iid": "IID", "unequal": "IID of unequal sizes", "as is": "hospitals as they are"}
        sites = named.get(self.alpha, f"Dirichlet {self.alpha}")
        momentum = f"client momentum {self.momentum}" if self.momentum else "no client momentum"
        who = f"{self.data}, {self.participants} participants, {self.liars} lie, {sites}"
        server = "" if self.optimiser is None else f", {self.optimiser.optimiser}"
        steps = f" of {self.training.steps} steps" if self.training.steps > 1 else ""
        return f"{who}, {self.rounds} rounds{steps}, {momentum}{server}"


def digits(
    alpha: str, *, participants: int = 10, liars: int = 3, momentum: float = MOMENTUM, rounds: int = 250
) -> Scene:
    """Return a scene of digits: a network with 32 hidden units, 2,410 parameters, a step of SGD a round."""
    return Scene("digits", participants, liars, alpha, rounds, Training(1, 64, 1.0), 32, momentum)


def local(alpha: str) -> Scene:
    """Return the scene of digits in which everybody takes five steps a round on most of what it holds."""
    return replace(digits(alpha, rounds=150), training=Training(5, 64, 0.5))


def mnist(alpha: str, liars: int = 3) -> Scene:
    """Return a scene of 5,000 images of MNIST: softmax regression, 7,850 parameters."""
    return Scene("mnist", 10, liars, alpha, 100, Training(1, 32, 0.5), 0)


def heart(momentum: float = 0.0) -> Scene:
    """Return the scene of four hospitals, of which one lies: logistic regression."""
    return Scene("heart", 4, 1, "as is", 40, Training(2, 64, 0.3), 0, momentum)


@dataclass(frozen=True, slots=True)
class Table:
    """Rules in rows, attacks in columns."""

    scene: Scene
    rules: tuple[str, ...]
    attacks: tuple[str, ...] = tuple(ATTACKS)


@dataclass(frozen=True, slots=True)
class Cell:
    """Means over the seeds, and the spread of the accuracy."""

    accuracy: float
    deviation: float
    worst_site: float
    success: float
    retained: tuple[float, ...]
    """Means over the seeds of a participant's share, ascending: of the honest and the liars together."""

    failed: float


class Study:
    """Runs cells, each once."""

    def __init__(self, seeds: int, cache_file: Path | None, peers: Peers | None = None) -> None:
        """Begin, with what an earlier study of the same code has found."""
        self._seeds, self._file, self._peers = range(seeds), cache_file, peers
        self._known: dict[str, Cell] = {}
        if cache_file is not None and cache_file.exists():
            for line in cache_file.read_text(encoding="utf-8").splitlines():
                key, found = json.loads(line)
                self._known[key] = Cell(**{**found, "retained": tuple(found["retained"])})

    def cell(self, scene: Scene, rule: str, attack: str) -> Cell:
        """Return one cell; `pooled` as a rule trains in one place."""
        key = json.dumps([_version(), len(self._seeds), msgspec.to_builtins(asdict(scene)), rule, attack])
        if key not in self._known:
            self._known[key] = _mean([self._run(scene, rule, attack, seed) for seed in self._seeds])
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, asdict(self._known[key])]) + "\n")
        return self._known[key]

    def cells(self, table: Table) -> Iterator[tuple[str, dict[str, Cell]]]:
        """Yield a table row by row."""
        for rule in table.rules:
            yield rule, {attack: self.cell(table.scene, rule, attack) for attack in table.attacks}

    def _run(self, scene: Scene, rule: str, attack: str, seed: int) -> Figures:
        dealt = _deal(scene.data, scene.participants, scene.alpha, seed)
        liars = 0 if attack == "none" else scene.liars
        setting = Setting(
            self._rule(rule, scene.liars),
            attack,
            liars,
            scene.rounds,
            scene.training,
            scene.momentum,
            scene.hidden,
            scene.optimiser,
        )
        return train_pooled(dealt, setting, seed) if rule == POOLED else run(dealt, setting, seed)

    def _rule(self, name: str, f: int) -> RuleSpec | Peer:
        library, _, theirs = name.partition(":")
        if not theirs:
            return RULES["mean" if name == POOLED else name](f)
        assert self._peers is not None, f"{name} needs an interpreter that has it"
        return self._peers.rule(library, theirs, f)


@cache
def _deal(data: str, participants: int, alpha: str, seed: int) -> Deal:
    return deal(data, participants, alpha, seed)


def _mean(figures: Sequence[Figures]) -> Cell:
    accuracy = [one.accuracy for one in figures]
    return Cell(
        float(np.mean(accuracy)),
        float(np.std(accuracy)),
        float(np.mean([one.worst_site for one in figures])),
        float(np.mean([one.success for one in figures])),
        tuple(np.mean([sorted(one.retained) for one in figures], axis=0).tolist()),
        float(np.mean([one.failed for one in figures])),
    )


@cache
def _version() -> str:
    """Return what tells this code from others whose cells are worth nothing here."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in ("data", "training", "attacks", "federation")]
    files += [Path(tests.attacks.__file__), *sorted((here.parents[1] / "fl" / "aggregators").glob("*.py"))]
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
