"""`foedus round`: rounds of learning and who contributed. One law: a rejected update is shown with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Task, Url, figures, moment
from foedus.cli.output import AsJson, CommandError, print_facts, print_json, print_table, say
from foedus.cli.passphrases import PassphraseFile
from foedus.cli.speaking import reaching

if TYPE_CHECKING:
    from foedus.client.opening import Reached
    from node.api.answers import RoundAnswer
    from node.api.report_answers import RoundReportAnswer

app = typer.Typer(help="Rounds of learning.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="round")


@app.command("list")
def round_list(*, task: Task = None, url: Url = URL_DEFAULT, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the latest rounds of a task."""
    node = Node(url)
    name = node.task(task)
    if as_json:
        node.print_json("tasks", name, "rounds", limit=limit)
        return
    from node.api.answers import RoundsAnswer

    rows = [
        (
            str(one.number),
            one.status,
            str(one.base_version),
            str(one.version or ""),
            str(len(one.participants)),
            moment(one.opened_ms),
            one.reason,
        )
        for one in node.get(RoundsAnswer, "tasks", name, "rounds", limit=limit).items
    ]
    columns = ("round", "status", "base", "model", "updates", "opened (UTC)", "reason")
    print_table(f"Rounds of {name}", columns, rows)


@app.command("show")
def round_show(
    number: Annotated[str, typer.Argument(help="Number, or latest.")] = "latest",
    *,
    task: Task = None,
    url: Url = URL_DEFAULT,
    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", envvar="FOEDUS_KEY", help="Your key file: explanations are for members alone."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write the picture to this SVG file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a round: its updates, what the rule made of each, and why.

    Why is told to members: name your key, or set FOEDUS_TOKEN.
    """
    import json

    from node.api.answers import RoundAnswer, UpdatesAnswer

    node = Node(url)
    name = node.task(task)
    path = ("tasks", name, "rounds", number)
    one = node.get(RoundAnswer, *path)
    report = _report(node, one, key, passphrase_file) if one.status == "certified" else None
    if plot is not None:
        _write_plot(plot, one, report)
    if as_json:
        import msgspec

        updates = json.loads(node.body(*path, "updates", limit=200))
        shown = {**json.loads(node.body(*path)), "updates": updates["items"]}
        print_json({**shown, "report": None if report is None else msgspec.to_builtins(report)})
        return
    print_facts(
        f"Round {one.number} of {name}:",
        {
            "status": f"{one.status} {one.reason}".rstrip(),
            "opened": f"{moment(one.opened_ms)} UTC, block {one.opened_height}",
            "closed": f"block {one.closed_height}" if one.closed_height else "",
            "model": f"{one.base_version} -> {one.version}" if one.version else f"trains from {one.base_version}",
        },
    )
    rows = [
        (
            update.participant,
            str(update.samples),
            _retained(update.retained, update.retained_of),
            "" if update.left_out is None else "left out" if update.left_out else "used",
            str(update.saturated),
            figures(update.metrics),
        )
        for update in node.get(UpdatesAnswer, *path, "updates", limit=200).items
    ]
    columns = ("participant", "samples", "retained", "rule", "saturated", "metrics")
    print_table(f"Updates of round {one.number}", columns, rows)
    if report is not None:
        from foedus.cli.round_plot import print_report

        print_report(report)
    elif one.status == "certified":
        say("why each update was used or left out is told to members: name your key with --key, or set FOEDUS_TOKEN")


def _report(node: Node, one: RoundAnswer, key: Path | None, passphrase_file: Path | None) -> RoundReportAnswer | None:
    """Return a certified round's report, None to who is no member.

    Raises:
        CommandError: the node says why there is none.
    """
    import os

    from node.api.report_answers import RoundReportAnswer

    path = ("tasks", one.task, "rounds", one.number, "report")
    if key is None:
        return node.get(RoundReportAnswer, *path) if os.environ.get("FOEDUS_TOKEN") else None

    async def ask(reached: Reached) -> RoundReportAnswer:
        where = "/v1/" + "/".join(map(str, path))
        return await reached.wire.answer(where, RoundReportAnswer, signed=True)

    return reaching(node.url, ask, key=key, passphrase_file=passphrase_file)


def _write_plot(path: Path, one: RoundAnswer, report: RoundReportAnswer | None) -> None:
    from foedus.cli.round_svg import report_svg

    if report is None:
        raise CommandError(
            f"round {one.number} is {one.status}: a plot needs a certified round, and --key or FOEDUS_TOKEN of a member"
        )
    if path.exists():
        raise CommandError(f"{path} exists; name another file, or remove it first")
    path.write_text(report_svg(report), encoding="utf-8")
    say(f"{path} is written")


def _retained(count: int | None, of: int | None) -> str:
    return "" if count is None or of is None else f"{count}/{of}"
