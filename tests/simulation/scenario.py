"""What goes wrong in a run, drawn from its seed. One law: the seed decides everything."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

US = 1_000
"""Microseconds in a millisecond; virtual time is kept in microseconds."""

LIARS = ("equivocator", "turncoat", "amnesiac", "replayer", "mute", "agitator", "twins")
"""What bare replicas lie with (`deceits`)."""

WHOLE_LIARS = (*LIARS, "withholder", "falsifier", "pretender", "poisoner")
"""What whole nodes lie with (`whole.lies`)."""


@dataclass(frozen=True, slots=True)
class Partition:
    """For a while, messages pass only inside the two halves; one-way: the half hears the others, who do not hear it."""

    begin_us: int
    end_us: int
    half: frozenset[int]
    one_way: bool = False

    def cuts(self, now_us: int, sender: int, receiver: int) -> bool:
        """Tell whether a message of this moment is lost."""
        if not self.begin_us <= now_us < self.end_us:
            return False
        is_inside = sender in self.half
        return is_inside != (receiver in self.half) and (is_inside or not self.one_way)


@dataclass(frozen=True, slots=True)
class Crash:
    """A node loses its process some effects after `time_us` and comes back later."""

    time_us: int
    node: int
    effects: int
    down_us: int


ChangeKind = Literal["remove", "rotate", "convict"]


@dataclass(frozen=True, slots=True)
class Change:
    """What the consortium does about one of its members."""

    time_us: int
    kind: ChangeKind
    """`remove`: by vote; `rotate`: it changes its key; `convict`: evidence of what a liar signed takes its seat."""

    member: int
    """Whom it is about; nobody in particular for `convict`."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a run is made from, besides the dice of single messages."""

    seed: int
    n: int
    faulty_us: int
    """When the faults stop."""

    drop: float
    duplicate: float
    delay_us: int
    slow: float
    """How many messages take up to a hundred times longer."""

    partitions: tuple[Partition, ...]
    crashes: tuple[Crash, ...]
    liars: tuple[tuple[int, str], ...]
    skew_ms: tuple[int, ...]
    transactions: int
    slow_validation: float
    followers: int
    siege: float
    """How often the first node that appends a block is cut off at that moment, in-flight messages included."""

    fsync_us: tuple[int, ...]
    """How long each node's disk takes to make something durable."""

    changes: tuple[Change, ...] = ()
    """Of the validator set; whole nodes only."""

    @classmethod
    def draw(cls, seed: int, n: int, *, liar: str | None = None, whole: bool = False, storm: bool = False) -> Scenario:
        """Draw a scenario; with `liar`, all liars are of that kind.

        Args:
            seed: of the dice.
            n: how many validators.
            liar: kind of all liars; of each its own when None.
            whole: for whole nodes, which take longer to compute and know more lies.
            storm: power cuts all the time, everywhere, a few effects after each other.
        """
        dice = Random(f"scenario {seed} {n}")
        faulty_us = dice.randrange(4_000, 15_000) * US // (4 if whole else 1)
        f = (n - 1) // 3
        liars = dice.sample(range(n), dice.randint(0, f) if liar is None else f)
        is_calm = dice.random() < 0.15
        return cls(
            seed,
            n,
            faulty_us,
            0.0 if is_calm else dice.choice((0.0, 0.02, 0.1, 0.3)),
            0.0 if is_calm else dice.choice((0.0, 0.05, 0.3)),
            dice.choice((500, 2_000, 20_000)),
            0.0 if is_calm else dice.choice((0.0, 0.02, 0.2)),
            () if is_calm else tuple(_partition(dice, n, faulty_us) for _ in range(dice.randint(0, 3))),
            _storm(dice, n, faulty_us) if storm else () if is_calm else _crashes(dice, n, faulty_us),
            tuple((index, liar or dice.choice(WHOLE_LIARS if whole else LIARS)) for index in sorted(liars)),
            tuple(dice.randint(-1_500, 1_500) for _ in range(n + 1)),
            dice.randint(2, 8) if whole else dice.randint(5, 30),
            dice.choice((0.0, 0.0, 0.1)),
            dice.randint(0, 1),
            0.0 if is_calm else dice.choice((0.0, 0.0, 0.2)),
            tuple(_fsync_us(dice) for _ in range(n + 1)),
            _changes(seed, n, faulty_us, frozenset(liars)) if whole else (),
        )


def _changes(seed: int, n: int, faulty_us: int, liars: frozenset[int]) -> tuple[Change, ...]:
    """Change the set now and then, and only so that it still bears its liars and a round still has its updates."""
    dice = Random(f"changes {seed} {n}")
    f, honest = (n - 1) // 3, [index for index in range(n) if index not in liars]
    changes = list[Change]()
    if n < 4 or dice.random() < 0.6:
        return ()
    if dice.random() < 0.5:
        changes.append(Change(dice.randrange(faulty_us), "rotate", dice.choice(honest)))
    if liars and len(liars) - 1 <= (n - 2) // 3 and dice.random() < 0.7:
        changes.append(Change(dice.randrange(faulty_us), "convict", 0))
    elif len(liars) <= min(f - 1, (n - 2) // 3):
        changes.append(Change(dice.randrange(faulty_us), "remove", dice.choice(honest)))
    return tuple(changes)


def _partition(dice: Random, n: int, faulty_us: int) -> Partition:
    begin = dice.randrange(faulty_us)
    half = frozenset(dice.sample(range(n), dice.randint(1, max(1, n - 1))))
    end = min(faulty_us, begin + dice.randrange(4_000 * US))
    return Partition(begin, end, half, one_way=dice.random() < 0.3)


def _fsync_us(dice: Random) -> int:
    """Most disks are quick, some take longer than a view."""
    return 0 if dice.random() < 0.85 else dice.choice((2, 30, 300)) * US


def _crashes(dice: Random, n: int, faulty_us: int) -> tuple[Crash, ...]:
    single = tuple(_crash(dice, n, faulty_us) for _ in range(dice.choice((0, 1, 3, 3 * n))))
    if dice.random() > 0.2:
        return single
    blackout_us, down_us = dice.randrange(faulty_us), dice.choice((5, 1_000)) * US
    return single + tuple(Crash(blackout_us, node, dice.randint(0, 3), down_us) for node in range(n))


def _storm(dice: Random, n: int, faulty_us: int) -> tuple[Crash, ...]:
    """A power cut of each node every tenth of a second, and its return at once."""
    return tuple(
        Crash(time, node, dice.randint(0, 20), dice.choice((1, 5, 30)) * US)
        for node in range(n)
        for time in range(dice.randrange(100 * US), faulty_us, 100 * US)
    )


def _crash(dice: Random, n: int, faulty_us: int) -> Crash:
    time = dice.randrange(faulty_us)
    return Crash(time, dice.randrange(n), dice.randint(0, 12), dice.choice((5, 300, 2_500)) * US)
