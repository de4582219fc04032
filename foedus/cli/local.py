"""`foedus local`: a consortium on this machine. One law: nothing that exists is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.output import AsJson, CommandError, print_facts, print_json

if TYPE_CHECKING:
    from fl.records import TaskSpec
    from genesis.local import LocalPlan

ORGANISATIONS_DEFAULT = 4

app = typer.Typer(help="A whole consortium on this machine, to try and to test.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="local")


@app.command("init")
def init(  # noqa: PLR0913 - options of a command
    directory: Annotated[Path, typer.Argument(help="Where to put keys, genesis document and node settings.")],
    *,
    nodes: Annotated[int | None, typer.Option(help="How many nodes; 4, or what the task was made for.", min=1)] = None,
    participants: Annotated[
        int | None, typer.Option(help="How many trainers; one a node, or what the task was made for.", min=0)
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task to begin with: heart, digits or fraud; none by default.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="Aggregation rule, such as nnm or multi-krum (docs/rules.md).")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the task.", min=1)] = None,
    base_port: Annotated[
        int | None, typer.Option(help="First of the ports; free ones by default.", min=1, max=65_535)
    ] = None,
    containers: Annotated[
        bool,
        typer.Option("--containers", help="Each node has a host of its own that is named like it; APIs speak HTTPS."),
    ] = False,
    chain_name: Annotated[str, typer.Option(help="Name of the chain, for people.")] = "local",
    as_json: AsJson = False,
) -> None:
    """Make keys, genesis document and settings for every node and participant in one step."""
    import time
    from dataclasses import replace

    from genesis.local import make_local

    plan = _plan(nodes, participants, task, rule, rounds)
    plan = replace(plan, base_port=base_port, containers=containers, chain_name=chain_name)
    made = make_local(directory, plan, time_ms=time.time_ns() // 1_000_000)
    if as_json:
        print_json(
            {
                "directory": str(made.directory),
                "chain_id": made.document.chain_id.hex(),
                "genesis": str(made.genesis),
                "nodes": [
                    {"name": node.name, "config": str(node.config), "url": node.url, "peer_port": node.peer_port}
                    for node in made.nodes
                ],
                "participants": {name: str(path) for name, path in made.participants.items()},
                "tasks": [spec.id for spec in plan.tasks],
            }
        )
        return
    facts = {"chain": made.document.chain_id.hex(), "genesis": str(made.genesis)}
    facts |= {f"node {node.name}": f"foedus node run --config {node.config}   # {node.url}" for node in made.nodes}
    facts["participants"] = f"{len(made.participants)} keys in {made.directory / 'participants'}"
    print_facts("Made a consortium:", facts)


def _plan(
    nodes: int | None,
    participants: int | None,
    task: str | None,
    rule: str | None,
    rounds: int | None,
) -> LocalPlan:
    from genesis.local import LocalPlan
    from genesis.presets import PRESETS, rule_named
    from genesis.reading import nearest

    if task is not None and task not in PRESETS:
        raise CommandError(f"no task is named {task}; {nearest(task, list(PRESETS))}")
    if task is None and (rule is not None or rounds is not None):
        raise CommandError("--rule and --rounds belong to a task: name one with --task heart")
    preset = PRESETS[task] if task is not None else None
    organisations = _names("site", nodes, preset.organisations if preset else (), ORGANISATIONS_DEFAULT)
    trainers = _names("participant", participants, preset.trainers if preset else (), len(organisations))
    specs: tuple[TaskSpec, ...] = ()
    if preset is not None:
        liars = preset.task(preset.trainers, None, None).rule.f
        specs = (preset.task(trainers, rounds, None if rule is None else rule_named(rule, liars)),)
    return LocalPlan(organisations, trainers, specs)


def _names(kind: str, count: int | None, known: tuple[str, ...], default: int) -> tuple[str, ...]:
    """Return `count` names: the known ones when they are as many, else numbered ones."""
    if known and count in {None, len(known)}:
        return known
    total = default if count is None else count
    return tuple(f"{kind}-{number}" for number in range(1, total + 1))
