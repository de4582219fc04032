"""Nodes that die again and again, each at a place of its own. One law: they are started again, and nothing else.

After each death the disk and all that was ever said are looked at before the next life begins.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from signal import SIGKILL
from typing import Self

from genesis.local import LocalConsortium, LocalNode
from tests.crash.boundaries import Death
from tests.crash.incarnation import Life, live
from tests.crash.words import Words
from tests.processes.harness import SECONDS_MAX, Trainers, grow, height_of, require_equal_chains, until
from tests.processes.stream import Stream

FORKS = multiprocessing.get_context("forkserver")


class Campaign:
    """A consortium whose nodes die as drawn; use it as a context manager."""

    def __init__(
        self,
        consortium: LocalConsortium,
        directory: Path,
        draw: Callable[[random.Random], Death],
        *,
        seed: int,
        revive: Callable[[LocalNode], None] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            consortium: whose nodes.
            directory: for logs and for what was sent; not on a disk that loses its power.
            draw: draws the next death of a node.
            seed: of the draws.
            revive: called between two lives, such as to give a disk its power back.
        """
        self.deaths: Counter[str] = Counter()
        """How many, by place."""

        self._nodes = list(consortium.nodes)
        self._directory = directory
        self._draw = draw
        self._random = random.Random(seed)
        self._revive = revive
        self._living: dict[str, ForkServerProcess] = {}
        self._destinies: dict[str, Death] = {}
        members = consortium.document.validators.members
        places = {member.name: place for place, member in enumerate(members)}
        self._words = {node.name: Words(places[node.name], self._file(node, "sent")) for node in self._nodes}

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._living.values():
            process.kill()
            process.join()

    def die(self, times: int) -> None:
        """Have so many deaths happen, all nodes taking part; whoever dies lives again at once."""
        for node in self._nodes:
            self._begin(node, self._draw(self._random))
        while sum(self.deaths.values()) < times:
            ended = wait([process.sentinel for process in self._living.values()], timeout=SECONDS_MAX)
            assert ended, f"nobody died for {SECONDS_MAX:.0f} s"
            for node in self._nodes:
                if self._living[node.name].sentinel in ended:
                    self._bury(node)
                    self._begin(node, self._draw(self._random))

    def settle(self) -> None:
        """Let all live on without another death, until each of them votes."""
        for node in self._nodes:
            self._living[node.name].kill()
            self._bury(node, expected=True)
            self._words[node.name].begin_life()
            self._begin(node, Death())
        grow(self._nodes, 3)
        until(self._all_vote, "a COMMIT of each node")

    def stop(self) -> None:
        """Ask all to end."""
        for node in self._nodes:
            process = self._living.pop(node.name)
            process.terminate()
            process.join(SECONDS_MAX)
            assert process.exitcode == 0, self._log(node)

    def _begin(self, node: LocalNode, death: Death) -> None:
        sent = self._file(node, "sent")
        sent.touch()
        life = Life(node.config, self._file(node, "log"), sent, death)
        process = FORKS.Process(target=live, args=(life,), name=node.name)
        process.start()
        self._living[node.name], self._destinies[node.name] = process, death

    def _bury(self, node: LocalNode, *, expected: bool = False) -> None:
        """Look at what a death left; one that notices that the power is gone may end by itself before it is killed."""
        process, death = self._living[node.name], self._destinies[node.name]
        process.join()
        by_itself = death.takes_the_power and process.exitcode == 1 and "foedus: StoreUnavailable" in self._log(node)
        assert process.exitcode == -SIGKILL or by_itself, f"{node.name} ended by itself: {self._log(node)}"
        if not expected:
            self.deaths[f"{'power, ' if death.takes_the_power else ''}{death.place.name.lower()}"] += 1
        self._revive(node)
        words = self._words[node.name]
        words.look()
        words.end_life()
        words.require_kept(node.data)

    def _all_vote(self) -> bool:
        for words in self._words.values():
            words.look()
        return all(words.commits > 0 for words in self._words.values())

    def _file(self, node: LocalNode, kind: str) -> Path:
        return self._directory / f"{node.name}.{kind}"

    def _log(self, node: LocalNode) -> str:
        return self._file(node, "log").read_text(errors="replace")[-3_000:]


def survive(
    consortium: LocalConsortium,
    directory: Path,
    draw: Callable[[random.Random], Death],
    *,
    deaths: int,
    seed: int,
    training: bool,
    revive: Callable[[LocalNode], None] = lambda _: None,
) -> str:
    """Let nodes die under load; check that all go on by themselves and nothing is missing; return what was tried."""
    trainers = Trainers(consortium) if training else None
    with Campaign(consortium, directory, draw, seed=seed, revive=revive) as campaign, trainers or nullcontext():
        with Stream(consortium) as stream:
            campaign.die(deaths)
            campaign.settle()
            stream.further(2)
        campaign.stop()
    acknowledged = stream.acknowledged | (trainers.acknowledged if trainers else set())
    require_equal_chains(consortium, acknowledged)
    height = height_of(consortium.nodes[0].data)
    return f"deaths: {dict(campaign.deaths)}, acknowledged transactions: {len(acknowledged)}, blocks: {height}"
