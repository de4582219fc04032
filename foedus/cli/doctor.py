"""`foedus doctor`: what is wrong with a node. One law: exit 1 says that somebody has to do something."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.node import ConfigPath
from foedus.cli.output import EXIT_FAILED, AsJson, Json, print_json

if TYPE_CHECKING:
    from foedus.doctor import Report


def register(root: typer.Typer) -> None:
    """Add the command of this module."""
    root.command("doctor")(doctor)


def doctor(
    *,
    path: ConfigPath = Path("node.toml"),
    url: Annotated[str | None, typer.Option(help="The node's HTTP API, when it is not as the settings say.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at a node's settings, keys, disk, clock, ports, peers and progress; say what to do; exit 1 on problems."""
    from foedus.doctor import Report, examine_running, examine_settings

    report = Report()
    readable = examine_settings(report, path)
    if readable is not None:
        examine_running(report, *readable, url=url)
    if as_json:
        print_json(_tree(report))
    else:
        _print(report)
    if report.problems:
        sys.exit(EXIT_FAILED)


def _tree(report: Report) -> dict[str, Json]:
    return {
        "problems": len(report.problems),
        "findings": [
            {"check": one.check, "ok": not one.is_problem, "detail": one.detail, "remedy": one.remedy}
            for one in report.findings
        ],
    }


def _print(report: Report) -> None:
    width = max((len(one.check) for one in report.findings), default=0)
    for one in report.findings:
        print(f"{'PROBLEM' if one.is_problem else 'ok':<7}  {one.check:<{width}}  {one.detail}")
        if one.is_problem:
            print(f"{'':<7}  {'':<{width}}  -> {one.remedy}")
    count = len(report.problems)
    print("Nothing to do." if count == 0 else f"{count} problem{'s' if count > 1 else ''}.")
