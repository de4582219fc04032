"""`foedus round`: rounds of learning and who contributed. One law: a rejected update is shown with its reason."""

from __future__ import annotations

from typing import Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Task, Url, figures, moment
from foedus.cli.output import AsJson, print_facts, print_json, print_table

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
    as_json: AsJson = False,
) -> None:
    """Show a round: its updates, and what the rule made of each."""
    import json

    from node.api.answers import RoundAnswer, UpdatesAnswer

    node = Node(url)
    name = node.task(task)
    path = ("tasks", name, "rounds", number)
    if as_json:
        updates = json.loads(node.body(*path, "updates", limit=200))
        print_json({**json.loads(node.body(*path)), "updates": updates["items"]})
        return
    one = node.get(RoundAnswer, *path)
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


def _retained(count: int | None, of: int | None) -> str:
    return "" if count is None or of is None else f"{count}/{of}"
