"""What the demo shows while it runs: a live table on a terminal, one line a round elsewhere. One law: same facts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from foedus.demo.use_case import Score, UseCase
from foedus.demo.watch import RoundSeen, Watch
from node.view import NodeStatus

ROWS_SHOWN_MAX = 12


class Display:
    """Shows a watch on standard error; use as a context manager."""

    def __init__(self, use_case: UseCase, rounds: int, *, quiet: bool = False) -> None:
        """Choose the way to show it by what standard error is."""
        self._use_case = use_case
        self._rounds = rounds
        self._console = Console(stderr=True, highlight=False, quiet=quiet, soft_wrap=True)
        self._live = Live(console=self._console, refresh_per_second=8) if sys.stderr.isatty() and not quiet else None
        self._printed = 0
        self._notes: list[str] = []

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture standing."""
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Show something that happened."""
        self._notes.append(text)
        if self._live is None:
            self._console.print(text)

    def update(self, watch: Watch) -> None:
        """Show the latest look."""
        if self._live is not None:
            self._live.update(Group(self._nodes(watch), self._table(watch), *map(Text, self._notes[-4:])))
            return
        for seen in watch.rounds[self._printed :]:
            self._console.print(self._line(seen, watch))
        self._printed = len(watch.rounds)

    def _nodes(self, watch: Watch) -> Table:
        table = Table(title=f"Foedus: {self._use_case.name}", title_justify="left", header_style="bold")
        for column in ("node", "height", "view", "peers", "commit", ""):
            table.add_column(column, justify="left" if column in {"node", ""} else "right")
        for name, status in watch.nodes.items():
            table.add_row(name, *_node_cells(status))
        return table

    def _table(self, watch: Watch) -> Table:
        table = Table(header_style="bold")
        sites = self._site_names()
        for column in ("round", "height", "updates", "left out", *sites, "all"):
            table.add_column(column, justify="left" if column == "left out" else "right")
        for seen in watch.rounds[-ROWS_SHOWN_MAX:]:
            table.add_row(
                f"{seen.number}/{self._rounds}",
                str(seen.height),
                str(len(seen.accepted)),
                seen.reason or ", ".join(seen.left_out),
                *(_figure(seen.sites.get(name)) for name in sites),
                _figure(seen.overall),
            )
        if watch.current is not None and watch.current.status in {"open", "closed"}:
            waiting = f"{watch.current.status}: {len(watch.current.participants)} updates"
            table.add_row(f"{watch.current.number}/{self._rounds}", str(watch.height), "", waiting)
        table.caption = f"{self._use_case.figure} of the certified model on each site's held-out data"
        return table

    def _line(self, seen: RoundSeen, watch: Watch) -> str:
        views = max((status.view for status in watch.nodes.values() if status is not None), default=0)
        start = f"round {seen.number:>2}/{self._rounds}  height {seen.height:>3}  view {views}  "
        if seen.overall is None:
            return f"{start}failed: {seen.reason}"
        sites = "".join(f"  {name} {_figure(score)}" for name, score in seen.sites.items())
        left_out = f" (left out: {', '.join(seen.left_out)})" if seen.left_out else ""
        commit = _commit(watch.nodes)
        return (
            f"{start}updates {len(seen.accepted)}{left_out}  {self._use_case.figure}{sites}  "
            f"all {_figure(seen.overall)}  commit {commit}"
        )

    def _site_names(self) -> tuple[str, ...]:
        return self._use_case.trainers if self._use_case.figure == "auc" else ()


def _node_cells(status: NodeStatus | None) -> tuple[str, ...]:
    if status is None:
        return ("", "", "", "", "[red]down[/red]")
    connected = sum(peer.connected for peer in status.peers)
    commit = "" if status.commit_ms is None else f"{status.commit_ms:.0f} ms"
    state = f"[yellow]{status.stuck}[/yellow]" if status.stuck else "[green]up[/green]"
    return (str(status.height), str(status.view), f"{connected}/{len(status.peers)}", commit, state)


def _commit(nodes: Mapping[str, NodeStatus | None]) -> str:
    known = sorted(status.commit_ms for status in nodes.values() if status is not None and status.commit_ms is not None)
    return f"{known[len(known) // 2]:.0f} ms" if known else "-"


def _figure(score: Score | None) -> str:
    return "" if score is None else f"{score.figure:.3f}"
