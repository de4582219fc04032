"""A demo from start to end. One law: whatever happens, nothing keeps running that was not asked to."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from fl.records import TaskSpec
from foedus.demo.council import Council
from foedus.demo.processes import Processes
from foedus.demo.report import Outcome
from foedus.demo.table import Display
from foedus.demo.use_case import Score, UseCase
from foedus.demo.watch import Watch
from genesis.local import LocalConsortium, LocalPlan, make_local
from genesis.presets import PRESETS, rule_named

LOOK_SECONDS: Final = 0.1
START_SECONDS_MAX: Final = 30.0
ROUND_SECONDS_MAX: Final = 60.0
"""A demo in which no round ends for so long has failed."""

DOWN_SECONDS: Final = 2.0
"""How long the killed validator stays down."""

CATCH_UP_SECONDS_MAX: Final = 20.0
COLLECT_MS: Final = 3_000
"""How long a round waits for whoever does not come."""


class DemoFailedError(Exception):
    """The demo did not come to its end; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose."""

    rounds: int
    rule: str | None
    """None for the use case's own."""

    attack: str | None
    """None for no attack."""

    malicious_from: int
    fault: bool
    """Kill a validator in mid-run."""

    data: Path | None
    """Where everything is kept; None for a directory that is removed at the end."""

    keep: bool
    """Leave the nodes running."""

    quiet: bool
    """Show nothing while it runs."""


def run_demo(use_case: UseCase, options: Options) -> Outcome:
    """Run a demo.

    Raises:
        DemoFailedError: nodes did not start, or no round ended for a minute.
        ProcessFailedError: a node or trainer ended by itself.
        LocalConsortiumError: the data directory is in use.
    """
    with ExitStack() as stack:
        directory = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foedus-"))) / "demo"
        began = time.monotonic()
        spec = _task(use_case, options)
        consortium = make_local(
            directory,
            LocalPlan(use_case.organisations, use_case.trainers, (spec,), chain_name=use_case.name),
            time_ms=time.time_ns() // 1_000_000,
        )
        processes = stack.enter_context(Processes(directory / "logs"))
        display = stack.enter_context(Display(use_case, options.rounds, quiet=options.quiet))
        watch = Watch({node.name: node.url for node in consortium.nodes}, use_case)
        play = _Play(use_case, options, consortium, processes, display, watch)
        play.start()
        play.train()
        play.settle()
        overall, sites = play.final_scores()
        story = use_case.story
        told = {} if story is None else story.end(watch)
        rejected, refusals, height = watch.rejected(), tuple(watch.refusals()), watch.height
        if not options.keep:
            processes.stop()
        outcome = Outcome(
            use_case=use_case,
            rule=play.rule,
            attack=options.attack if use_case.malicious else None,
            rounds=sum(seen.status == "certified" for seen in watch.rounds),
            height=height,
            overall=overall,
            sites=sites,
            comparison=use_case.compare(
                options.rounds, options.malicious_from if options.attack else options.rounds + 1
            ),
            rejected=rejected,
            refusals=refusals,
            validator_killed_at=play.killed_at,
            validator_caught_up=play.caught_up,
            audit=_audit(consortium, _data(consortium, play.victim)),
            exported={} if story is None else _audit(consortium, _export(consortium, play.victim)),
            story=told,
            statements=() if story is None else tuple(story.statements),
            seconds=time.monotonic() - began,
        )
        if options.keep:
            _keep_running(watch, consortium, processes, outcome)
        return outcome


def _task(use_case: UseCase, options: Options) -> TaskSpec:
    preset = PRESETS[use_case.name]
    own = preset.task(use_case.trainers, None, None).rule
    rule = None if options.rule is None else rule_named(options.rule, own.f)
    spec = preset.task(use_case.trainers, options.rounds, rule)
    return msgspec.structs.replace(spec, collect_ms=COLLECT_MS)


@dataclass(slots=True)
class _Play:
    """The demo's course of events."""

    use_case: UseCase
    options: Options
    consortium: LocalConsortium
    processes: Processes
    display: Display
    watch: Watch
    killed_at: int | None = None
    caught_up: bool | None = None
    refusals_noted: int = 0
    looked_s: float = 0.0
    """When it looked last."""

    decided: bool = False
    """Whether the vote in mid-run has been."""

    @property
    def victim(self) -> str:
        """The validator that is killed: not an attacker's, so that its trainer is missed."""
        return next(name for name in self.use_case.organisations if name not in self.use_case.malicious)

    def start(self) -> None:
        """Start nodes, wait until all of them answer, have members decide, start trainers."""
        for node in self.consortium.nodes:
            self.processes.start_node(node.name, node.config)
        self._until(self._all_connected, START_SECONDS_MAX, "the nodes did not find each other")
        if self.use_case.story is not None:
            self.use_case.story.begin(self.council, self.options.rounds)
        urls = [node.url for node in self.consortium.nodes]
        for place, trainer in enumerate(self.use_case.trainers):
            own = self.watch.urls.get(trainer, urls[place % len(urls)])
            key = str(self.consortium.participants[trainer])
            command = [*self.use_case.command(trainer), "--url", own, "--key", key]
            command += ["--genesis", str(self.consortium.genesis)]
            if self.options.attack and trainer in self.use_case.malicious:
                command += ["--malicious-from", str(self.options.malicious_from), "--attack", self.options.attack]
            self.processes.start(f"trainer-{trainer}", command)

    def train(self) -> None:
        """Watch until the task is finished; kill a validator half way and start it again."""
        last_progress, seen, down_since = time.monotonic(), 0, 0.0
        while not self.watch.finished or down_since:
            self._look()
            if len(self.watch.rounds) > seen:
                seen, last_progress = len(self.watch.rounds), time.monotonic()
                self._note_refusals()
                self._go_on(seen)
            if time.monotonic() - last_progress > ROUND_SECONDS_MAX:
                raise DemoFailedError(f"no round ended for {ROUND_SECONDS_MAX:.0f} s: see {self.processes.logs}")
            if self.options.fault and self.killed_at is None and seen >= self.options.rounds // 2:
                self._kill()
                down_since = time.monotonic()
            if down_since and time.monotonic() - down_since > DOWN_SECONDS:
                self._restart()
                down_since = 0.0

    def settle(self) -> None:
        """Wait until the killed validator has caught up."""
        if self.killed_at is None:
            return
        try:
            self._until(self._victim_is_level, CATCH_UP_SECONDS_MAX, "the killed validator did not catch up")
            self.caught_up = True
        except DemoFailedError:
            self.caught_up = False

    def final_scores(self) -> tuple[Score, dict[str, Score]]:
        """Judge the last certified model."""
        task = self.watch.task
        assert task is not None, "the task has been read, or training would not have ended"
        sites, overall = self.use_case.score(self.watch.model(task.version))
        return overall, sites

    @property
    def council(self) -> Council:
        """Those who decide."""
        made = self.consortium
        return Council(self.watch.urls, made.participants, made.genesis, made.document.validators.quorum)

    @property
    def rule(self) -> str:
        """What the last rounds were aggregated by."""
        task = self.watch.task
        assert task is not None, "the task has been read, or training would not have ended"
        return " + ".join([*task.rule.pre, task.rule.rule])

    def _go_on(self, number: int) -> None:
        """Have members decide what they do after this round."""
        if self.use_case.story is not None and not self.decided:
            note = self.use_case.story.after_round(self.council, number)
            self.decided = bool(note)
            if note:
                self.display.note(note)

    def _note_refusals(self) -> None:
        refusals = self.watch.refusals()
        for name, code, detail in refusals[self.refusals_noted :]:
            self.display.note(f"refused: {name}: {code}: {detail}")
        self.refusals_noted = len(refusals)

    def _kill(self) -> None:
        self.killed_at = self.watch.height
        self.processes.kill(f"node-{self.victim}")
        self.display.note(f"SIGKILL: validator {self.victim} at height {self.killed_at}")

    def _restart(self) -> None:
        node = next(node for node in self.consortium.nodes if node.name == self.victim)
        self.processes.start_node(node.name, node.config)
        self.display.note(f"validator {self.victim} starts again at height {self.watch.height}")

    def _look(self) -> None:
        """Look at all processes, not more often than a person could read it."""
        time.sleep(max(0.0, self.looked_s + LOOK_SECONDS - time.monotonic()))  # each look asks over HTTP
        self.looked_s = time.monotonic()
        self.processes.require_alive()
        self.watch.look()
        self.display.update(self.watch)

    def _until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            if condition():
                return
            if time.monotonic() > deadline:
                raise DemoFailedError(f"{otherwise} within {seconds:.0f} s: see {self.processes.logs}")

    def _all_connected(self) -> bool:
        states = self.watch.nodes.values()
        return all(state is not None and all(peer.connected for peer in state.peers) for state in states)

    def _victim_is_level(self) -> bool:
        state = self.watch.nodes[self.victim]
        return state is not None and state.height == self.watch.height


def _data(consortium: LocalConsortium, name: str) -> Path:
    return next(node for node in consortium.nodes if node.name == name).data


def _audit(consortium: LocalConsortium, path: Path) -> dict[str, int]:
    """Run `foedus audit` on a node's data or an export, as anybody would."""
    found = _told("audit", str(path), "--genesis", str(consortium.genesis))
    return {name: found[name] for name in ("blocks", "updates", "aggregates", "differences")}


def _export(consortium: LocalConsortium, name: str) -> Path:
    """Run `foedus export` on a node's data; return the file."""
    target = consortium.directory / "export"
    _told("export", str(_data(consortium, name)), str(target), "--genesis", str(consortium.genesis))
    return target


def _told(*words: str) -> dict[str, int]:
    command = [sys.executable, "-m", "foedus", *words, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: dict[str, int] = json.loads(ended.stdout)
    except ValueError as error:
        raise DemoFailedError(f"foedus {words[0]} ended with {ended.returncode}: {ended.stderr.strip()}") from error
    return found


def _keep_running(watch: Watch, consortium: LocalConsortium, processes: Processes, outcome: Outcome) -> None:
    console = Console(stderr=True, soft_wrap=True)
    outcome.show(console)
    console.print(f"\nThe consortium keeps running; its data is in {consortium.directory}. Ctrl-C ends it.")
    for name, url in watch.urls.items():
        console.print(f"  {name}: {url}")
    try:
        while processes.running:
            processes.wait_for_one()
    except KeyboardInterrupt:
        console.print("stopping")
