"""A round's report as a picture: bars on a terminal, lines elsewhere, or an SVG file. One law: the numbers stay exact.

A bar is as long as the update is far from the aggregate; who is left out has another colour and another sign, since
not everybody sees colours.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from foedus.cli.output import print_facts, print_table

if TYPE_CHECKING:
    from node.api.report_answers import RoundReportAnswer, UpdateReportAnswer

BAR_CELLS: Final = 24
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_USED, _LEFT_OUT = "█", "░"


def print_report(report: RoundReportAnswer) -> None:
    """Print a report: with bars on a terminal, as tab-separated lines elsewhere."""
    print_facts(
        f"Round {report.round} of {report.task}, explained:",
        {
            "rule": f"{' + '.join((*report.pre, report.rule))} against {report.f}",
            "aggregate": f"length {length(report.aggregate_norm_micros)}, {report.words} words",
        },
    )
    if sys.stdout.isatty():
        _print_bars(report)
    else:
        print_table("Updates", _COLUMNS, [_row(one, report) for one in report.updates])


_COLUMNS: Final = (
    "participant",
    "distance",
    "length",
    "cosine",
    "influence",
    "retained",
    "last rounds",
    "why",
)


def bar(distance: int, longest: int, *, left_out: bool) -> str:
    """Return a bar of at most `BAR_CELLS` cells, to an eighth of a cell; light cells for who is left out."""
    eighths = 8 * BAR_CELLS * distance // longest if longest else 0
    if left_out:
        return _LEFT_OUT * max(1, eighths // 8)
    return (_USED * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip() or _EIGHTHS[1]


def length(micros: int) -> str:
    """Return millionths as a decimal number of four digits after the point."""
    return f"{micros / 1_000_000:.4f}"


def percent(part: int, whole: int) -> str:
    """Return a part as whole per cent, rounded towards zero as the sentences do."""
    return f"{int(100 * part / whole)} %" if whole else ""


def last_rounds(one: UpdateReportAnswer, report: RoundReportAnswer) -> str:
    """Return what the rule let through of a participant lately, and in how many rounds it was there."""
    there = "" if one.last_rounds == report.rounds_looked_at else f", there in {one.last_rounds}"
    return f"{percent(one.last_retained_permille, 1000)} of {report.rounds_looked_at}{there}"


def _row(one: UpdateReportAnswer, report: RoundReportAnswer) -> tuple[str, ...]:
    return (
        one.participant,
        length(one.distance_micros),
        length(one.norm_micros),
        f"{one.cosine_micros / 1_000_000:+.2f}",
        percent(one.influence_micros, 1_000_000),
        f"{one.retained}/{one.retained_of}",
        last_rounds(one, report),
        one.why,
    )


def _print_bars(report: RoundReportAnswer) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    longest = max((one.distance_micros for one in report.updates), default=0)
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("participant", no_wrap=True)
    table.add_column("distance to the aggregate", no_wrap=True)
    for title in ("cosine", "influence", "retained"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(f"last {report.rounds_looked_at}", justify="right", no_wrap=True)
    for one in report.updates:
        drawn = bar(one.distance_micros, longest, left_out=one.left_out)
        table.add_row(
            Text(one.participant, "dim" if one.left_out else ""),
            Text(drawn.ljust(BAR_CELLS), "red" if one.left_out else "green") + f" {length(one.distance_micros)}",
            f"{one.cosine_micros / 1_000_000:+.2f}",
            percent(one.influence_micros, 1_000_000),
            f"{one.retained}/{one.retained_of}",
            percent(one.last_retained_permille, 1000),
        )
    console = Console(highlight=False)
    console.print(table)
    for one in report.updates:
        console.print(Text(f"{one.participant}: ", "red" if one.left_out else "green") + one.why, soft_wrap=True)
    console.print(
        f"█ used  ░ left out; last {report.rounds_looked_at}: what the rule let through on average", style="dim"
    )
