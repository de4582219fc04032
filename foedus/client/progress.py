"""How far a transfer is. One law: nothing is drawn unless it was asked for, and then on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """A transfer on its way; `done` may go back when a part has to be sent again."""

    direction: Literal["upload", "download"]
    done: int
    """Bytes."""

    total: int
    """Bytes."""


Report: TypeAlias = Callable[[Progress], None]


@contextmanager
def reporting(wanted: bool | Report) -> Iterator[Report | None]:  # noqa: FBT001 - what the caller of `connect` said
    """Give what transfers report to: the caller's own, bars on the terminal for True, nothing for False."""
    if wanted is False:
        yield None
    elif wanted is True:
        with _bars() as report:
            yield report
    else:
        yield wanted


@contextmanager
def _bars() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    shown = {direction: bars.add_task(direction, visible=False) for direction in ("upload", "download")}

    def report(progress: Progress) -> None:
        running = progress.done < progress.total
        bars.update(shown[progress.direction], completed=progress.done, total=progress.total, visible=running)

    with bars:
        yield report
