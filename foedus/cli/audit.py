"""`foedus audit` and `foedus export`: a chain, checked and carried without a node. One law: they change nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.output import EXIT_DIFFERENT, EXIT_PARTIAL, AsJson, CommandError, Json, print_facts, print_json, say

if TYPE_CHECKING:
    from foedus.audit import Report

Genesis = Annotated[
    Path | None,
    typer.Option(
        "--genesis", help="The genesis document that you trust; looked for beside a data directory by default."
    ),
]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.command("audit")(audit)
    root.command("export")(export)


def audit(
    path: Annotated[Path, typer.Argument(help="A node's directory, its data directory or a copy of it, or an export.")],
    *,
    genesis: Genesis = None,
    round_report: Annotated[
        str | None,
        typer.Option("--report", metavar="TASK/ROUND", help="Explain this round as well, from the updates here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a chain from genesis, run every aggregate again, compare every stored byte; exit 3 on differences.

    Exit 4 when nothing differs and nothing could be executed, since the past is pruned here.
    """
    from foedus.audit import audit as run
    from foedus.audit import open_history

    wanted = None if round_report is None else _round_named(round_report)
    with open_history(path, genesis) as history, _progress("auditing", shown=not as_json) as on_block:
        report = run(history, source=str(path), on_block=on_block, explain=wanted)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
        if report.explained is not None:
            from foedus.cli.round_plot import print_report

            print_report(report.explained)
    if wanted is not None and report.explained is None:
        say(f"round {wanted[1]} of {wanted[0]} cannot be explained: it is not certified here, or its words are not")
    if report.differences:
        sys.exit(EXIT_DIFFERENT)
    if report.blocks_from > 1:
        sys.exit(EXIT_PARTIAL)


def export(
    path: Annotated[Path, typer.Argument(help="A node's directory, its data directory or a copy of it.")],
    target: Annotated[Path, typer.Argument(help="File to write.")],
    *,
    genesis: Genesis = None,
    as_json: AsJson = False,
) -> None:
    """Write a node's chain, receipts and models (never an update) into one file that `foedus audit` checks anywhere."""
    from foedus.audit import open_history
    from foedus.audit.export import write_export

    with open_history(path, genesis) as history, _progress("exporting", shown=not as_json) as on_block:
        written = write_export(history, target, on_block=on_block)
    facts: dict[str, Json] = {
        "file": str(target),
        "chain_id": history.document.chain_id.hex(),
        "blocks": written.blocks,
        "models": written.models,
        "models_missing": written.models_missing,
        "bytes": target.stat().st_size,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts("Exported:", {name: str(value) for name, value in facts.items()})


def _round_named(text: str) -> tuple[str, int]:
    task, _, number = text.rpartition("/")
    if not task or not (number.isascii() and number.isdigit() and len(number) <= 12):
        raise CommandError(f"TASK/ROUND such as heart/3 is needed, got {text}")
    return task, int(number)


def _print(report: Report) -> None:
    skipped = (
        f" ({report.aggregates_skipped} more not: their updates are not here)" if report.aggregates_skipped else ""
    )
    print_facts(
        f"Audit of {report.source}:",
        {
            "chain": report.chain_id.hex(),
            "blocks": f"{report.blocks} executed again, with their certificates",
            "transactions": f"{report.transactions} with their signatures and receipts",
            "updates": f"{report.updates} accepted",
            "aggregates": f"{report.aggregates} computed again{skipped}",
            "payloads": f"{report.payloads} hashed again",
            "state": f"{report.state_entries} entries",
            "differences": str(report.differences),
            "seconds": f"{report.seconds:.2f}",
        },
    )
    if report.blocks_from > 1:
        say(
            f"NOT EXECUTED: the blocks below {report.blocks_from} are pruned here. {report.headers} headers were "
            "followed from genesis by their certificates, and compared with what is stored. Audit a node that keeps "
            "all blocks, or an export of one, to have them executed."
        )
    for difference in report.found:
        say(f"DIFFERS ({difference.kind}) {difference}")
    if report.differences > len(report.found):
        say(f"and {report.differences - len(report.found)} more")


@contextmanager
def _progress(what: str, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on standard error while the work goes on, when a person sits there."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda height, last: bar.update(task, completed=height, total=last)
