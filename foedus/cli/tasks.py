"""`foedus task`: what is learned, and who agreed to it. One law: nobody starts a task alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url, moment
from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile
from foedus.cli.speaking import Key, TlsCa, TrustedGenesis, reaching

if TYPE_CHECKING:
    from fl.records import TaskSpec, TaskState
    from foedus.cli.model_files import InitialModel
    from foedus.client.opening import Reached
    from genesis.task_plans import TaskPlan
    from ledger.codec import Record
    from node.api.answers import SubmittedAnswer
    from node.api.task_answers import TaskAnswer

app = typer.Typer(help="What is learned.", no_args_is_help=True)
TaskName = Annotated[str, typer.Argument(help="Name of the task.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="task")


@app.command("list")
def task_list(*, url: Url = URL_DEFAULT, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List all tasks and how far they are."""
    node = Node(url)
    if as_json:
        node.print_json("tasks", limit=limit)
        return
    from node.api.task_answers import TasksAnswer

    items = node.get(TasksAnswer, "tasks", limit=limit).items
    rows = [
        (one.id, one.status, str(one.round), f"{one.certified} of {one.rounds}", str(one.version), one.rule.rule)
        for one in items
    ]
    print_table("Tasks", ("task", "status", "round", "certified", "model", "rule"), rows)


@app.command("show")
def task_show(task: TaskName, *, url: Url = URL_DEFAULT, as_json: AsJson = False) -> None:
    """Show what a task learns, how, and from whom."""
    node = Node(url)
    if as_json:
        node.print_json("tasks", task)
        return
    from node.api.task_answers import TaskAnswer

    one = node.get(TaskAnswer, "tasks", task)
    print_facts(
        f"Task {one.id}:",
        {
            "description": one.description,
            "status": f"{one.status}, round {one.round}, {one.certified}/{one.rounds} certified, model {one.version}",
            "approved by": ", ".join(one.approvals) or "everybody, in the genesis document",
            "rule": " -> ".join([*one.rule.pre, one.rule.rule]) + f", against {one.rule.f} liars",
            "updates": f"{one.updates_min} to {one.updates_max} a round",
            "time": f"{one.collect_ms} ms to collect, {one.aggregate_ms} ms to aggregate",
            "model": ", ".join(f"{tensor.name}{list(tensor.shape)}" for tensor in one.tensors),
            "parameters": str(one.parameters),
            "participants": ", ".join(one.participants) or "every trainer",
            "digest": one.digest,
            **_decisions(one),
        },
    )


def _decisions(one: TaskAnswer) -> dict[str, str]:
    """Say what organisations have decided about a running task."""
    said = {}
    if one.paused_until_ms is not None:
        said["now"] = f"paused until {moment(one.paused_until_ms)} UTC"
    if one.change is not None:
        rule = " -> ".join([*one.change.rule.pre, one.change.rule.rule])
        said["soon"] = f"{rule}, {one.change.rounds} rounds from block {one.change.from_height} on"
    return said


@app.command("template")
def template(
    preset: Annotated[str, typer.Argument(help="Task to begin from: heart, digits or fraud.")] = "heart",
    *,
    model: Annotated[
        Path | None, typer.Option(help="A safetensors file whose tensors the task learns, instead of the preset's.")
    ] = None,
    name: Annotated[str | None, typer.Option("--id", help="Name of the task; the preset's by default.")] = None,
    rule: Annotated[str | None, typer.Option(help="Aggregation rule, such as nnm or multi-krum.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the task.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Print a task file to change and propose."""
    import msgspec

    from genesis.presets import PRESETS, rule_named
    from genesis.reading import nearest, to_json
    from genesis.task_plans import plan_of_task, plan_text

    if preset not in PRESETS:
        raise CommandError(f"no task is named {preset}; {nearest(preset, list(PRESETS))}")
    known = PRESETS[preset]
    liars = known.task(known.trainers, None, None).rule.f
    spec = known.task(known.trainers, rounds, None if rule is None else rule_named(rule, liars))
    plan = msgspec.structs.replace(plan_of_task(spec), participants=(), id=name or spec.id)
    if model is not None:
        from foedus.cli.model_files import load_safetensors, schema_of

        tensors = schema_of(load_safetensors(model)).tensors
        plan = msgspec.structs.replace(plan, tensors=tensors, description="")
    if as_json:
        tree = to_json(plan)
        assert isinstance(tree, dict), "a struct becomes an object"
        print_json(tree)
    else:
        print(plan_text(plan), end="")


@app.command("propose")
def propose(
    path: Annotated[Path, typer.Argument(metavar="TASK", help="The task file, TOML or JSON.")],
    *,
    key: Key,
    initial_model: Annotated[
        Path | None, typer.Option("--initial-model", help="safetensors file that the first round starts from.")
    ] = None,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Put a task to the vote as an officer; that is your organisation's approval too."""
    from genesis.task_plans import load_plan

    plan = load_plan(path)
    first = None if initial_model is None else _initial_model(plan, initial_model)
    spec = _spec(plan, first)

    async def work(reached: Reached) -> tuple[SubmittedAnswer, TaskState]:
        from fl.records import TaskProposal
        from foedus.client.transfers import upload
        from ledger.payload import chunk_hashes

        certificate = (
            None
            if first is None
            else await upload(reached.wire, first.payload, first.descriptor, chunk_hashes(first.payload))
        )
        return await _say(reached, "task.propose", TaskProposal(spec, certificate), spec.id)

    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    _tell("Proposed:", outcome, url, as_json=as_json)


@app.command("approve")
def approve(
    task: TaskName,
    *,
    key: Key,
    digest: Annotated[
        str | None, typer.Option(help="Digest of the specification that you have read; what is proposed by default.")
    ] = None,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Agree to a proposed task as an officer; it becomes active when a quorum of organisations has agreed."""

    async def work(reached: Reached) -> tuple[SubmittedAnswer, TaskState]:
        from fl.records import TaskApproval

        state = await _state(reached, task)
        found = state.spec.digest.hex()
        if digest is not None and digest != found:
            raise CommandError(
                f"the proposed {task} has digest {found}, you agree to {digest}: read it again (`foedus task show`)"
            )
        return await _say(reached, "task.approve", TaskApproval(task, state.spec.digest), task)

    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    _tell("Approved:", outcome, url, as_json=as_json)


def _initial_model(plan: TaskPlan, path: Path) -> InitialModel:
    from fl.schema import ModelSchema, SchemaError
    from foedus.cli.model_files import initial_model, load_safetensors, schema_of

    arrays = load_safetensors(path)
    try:
        schema = ModelSchema(plan.tensors) if plan.tensors else schema_of(arrays)
    except SchemaError as error:
        raise CommandError(f"tensors of task {plan.id}: {error}") from error
    return initial_model(arrays, schema)


def _spec(plan: TaskPlan, first: InitialModel | None) -> TaskSpec:
    from genesis.task_plans import task_of_plan

    if first is None:
        return task_of_plan(plan)
    return task_of_plan(plan, schema=first.schema, initial_model=first.descriptor)


async def _say(reached: Reached, kind: str, statement: Record, task: str) -> tuple[SubmittedAnswer, TaskState]:
    from foedus.client.statements import say

    assert reached.key is not None, "a key was given"
    answer = await say(reached.wire, reached.key, reached.trust.chain_id, kind, statement)
    return answer, await _state(reached, task)


async def _state(reached: Reached, task: str) -> TaskState:
    from fl.records import TaskState
    from fl.state import task_key
    from foedus.client.facts import read_fact

    state = await read_fact(reached.wire, reached.trust, task_key(task), TaskState)
    if state is None:
        raise CommandError(f"no task named {task} has been proposed; `foedus task list` shows all")
    return state


def _tell(title: str, outcome: tuple[SubmittedAnswer, TaskState], url: str, *, as_json: bool) -> None:
    answer, state = outcome
    if as_json:
        facts: dict[str, Json] = {
            "task": state.spec.id,
            "digest": state.spec.digest.hex(),
            "status": state.status,
            "approvals": list(state.approvals),
            "transaction": answer.id,
            "height": answer.height,
        }
        print_json(facts)
        return
    waiting = f"foedus task approve {state.spec.id} --url {url}, by officers of other organisations"
    print_facts(
        title,
        {
            "task": state.spec.id,
            "digest": state.spec.digest.hex(),
            "status": state.status,
            "approvals": ", ".join(state.approvals),
            "block": str(answer.height),
            **({"next": waiting} if state.status == "proposed" else {}),
        },
    )
