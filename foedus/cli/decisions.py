"""`foedus proposal`: what organisations decide together. One law: a command proposes or agrees, it never decides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url, moment
from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile
from foedus.cli.speaking import Key, TlsCa, TrustedGenesis, reaching

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fl.membership.records import Action, ProposalState
    from fl.records import Contribution
    from foedus.audit.dry_run import DryRun
    from foedus.client.opening import Reached
    from node.api.answers import SubmittedAnswer

    Outcome = tuple[SubmittedAnswer, ProposalState | None]

HOUR_MS = 3_600_000

app = typer.Typer(help="What is up for a vote.", no_args_is_help=True)
PausedTask = Annotated[str | None, typer.Argument(metavar="[TASK]", help="The task; all tasks when none is named.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="proposal")


@app.command("list")
def proposal_list(*, url: Url = URL_DEFAULT, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List what is or was up for a vote, newest first."""
    node = Node(url)
    if as_json:
        node.print_json("proposals", limit=limit)
        return
    from node.api.membership_answers import ProposalsAnswer

    rows = [
        (str(one.number), one.action, one.subject, one.status, ", ".join(one.approvals), moment(one.lapses_ms))
        for one in node.get(ProposalsAnswer, "proposals", limit=limit).items
    ]
    print_table("Proposals", ("number", "action", "about", "status", "approved by", "lapses (UTC)"), rows)


@app.command("show")
def proposal_show(
    number: Annotated[int, typer.Argument(help="Number of the proposal.", min=1)],
    *,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show what is up for a vote in full, to read before approving it, and what keeps it waiting."""
    node = Node(url)
    if as_json:
        node.print_json("proposals", str(number))
        return
    from node.api.membership_answers import ProposalItem

    one = node.get(ProposalItem, "proposals", str(number))
    facts = {
        "action": one.action,
        "about": one.subject,
        "digest": one.digest,
        "status": one.status,
        "proposed by": one.organisation,
        "approved by": ", ".join(one.approvals),
    }
    if one.policy is not None:
        facts |= {"occasion": one.policy.occasion, "description": one.policy.description.strip()}
        facts |= {f"clause {place}": clause for place, clause in enumerate(one.policy.clauses, start=1)}
    for agreed in (one.terms, one.budget):
        if agreed is not None:
            facts |= {name: str(getattr(agreed, name)) for name in agreed.__struct_fields__}
    facts |= {name: said for name, said in (("held by", one.held_by), ("reason", one.reason)) if said}
    print_facts(f"Proposal {number}:", facts)


@app.command("approve")
def approve(
    number: Annotated[int, typer.Argument(help="Number of the proposal.", min=1)],
    *,
    key: Key,
    digest: Annotated[str | None, typer.Option(help="Digest of the action that you have read.")] = None,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Agree to a proposal as an officer."""

    async def work(reached: Reached) -> Outcome:
        from foedus.client import membership

        proposal = await membership.find_proposal(reached, number)
        if proposal is None:
            raise CommandError(f"no proposal has number {number}; `foedus proposal list` shows all")
        if digest is not None and digest != proposal.digest.hex():
            raise CommandError(f"proposal {number} is {proposal.digest.hex()}, you agree to {digest}: read it again")
        return await membership.approve(reached, proposal)

    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    tell("Approved:", outcome, url, as_json=as_json)


@app.command("pause")
def pause(
    task: PausedTask = None,
    *,
    hours: Annotated[float, typer.Option(help="How long, from the decision; 168 at most.", min=0.001, max=168)] = 24.0,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, to take no updates and no results for a while; f + 1 organisations decide it."""
    from fl.governance.records import PauseLearning

    outcome = propose_by_vote(url, PauseLearning(task, round(hours * HOUR_MS)), key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("resume")
def resume(
    task: PausedTask = None,
    *,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that a pause ends before its time."""
    from fl.governance.records import ResumeLearning

    outcome = propose_by_vote(url, ResumeLearning(task), key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("change-task")
def change_task(
    path: Annotated[Path, typer.Argument(metavar="TASK", help="The task file as it is to be, TOML or JSON.")],
    *,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that a running task goes on under another rule, other limits or participants."""
    from genesis.task_plans import load_plan, task_of_plan

    planned = task_of_plan(load_plan(path))

    async def work(reached: Reached) -> Outcome:
        import msgspec

        from fl.governance.changes import change_between
        from fl.records import TaskState
        from fl.state import task_key
        from foedus.client.facts import read_fact
        from foedus.client.membership import propose

        running = await read_fact(reached.wire, reached.trust, task_key(planned.id), TaskState)
        if running is None:
            raise CommandError(f"there is no task {planned.id}; `foedus task list` shows all")
        after = msgspec.structs.replace(planned, initial_model=running.spec.initial_model)
        try:
            action = change_between(running.spec, after)
        except ValueError as error:
            raise CommandError(str(error)) from error
        return await propose(reached, action)

    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("dry-run")
def dry_run(
    number: Annotated[int, typer.Argument(help="Number of a proposal to change a task.", min=1)],
    path: Annotated[Path, typer.Argument(help="A node's directory or its data directory.")] = Path(),
    *,
    rounds: Annotated[int, typer.Option(help="How many of the last certified rounds are tried.", min=1, max=1000)] = 10,
    genesis: Annotated[Path | None, typer.Option(help="The genesis document, when it is not beside the data.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a proposed change on the last rounds that a node has kept, and list whose verdicts would be others."""
    from foedus.audit.dry_run import dry_run as run
    from foedus.audit.history import open_history
    from foedus.audit.node_data import NodeHistory

    with open_history(path, genesis) as history:
        if not isinstance(history, NodeHistory):
            raise CommandError(f"{path} is an export, which holds no updates: name a node's directory")
        tried = run(history.stored_state(), history.payload, number, rounds_max=rounds)
    if as_json:
        print_json(_dry_run_json(tried))
        return
    rows = [
        (str(one.number), verdict.participant, _verdict(verdict.before), _verdict(verdict.after))
        for one in tried.rounds
        for verdict in one.verdicts
        if verdict.changes
    ]
    print_table(f"{tried.task}: verdicts that would change", ("round", "participant", "as it was", "as proposed"), rows)
    for one in tried.rounds:
        if one.failure:
            print(f"round {one.number} would have failed: {one.failure}")
    kept = f", {tried.skipped} more had updates that are no longer kept" if tried.skipped else ""
    print(f"{tried.before} against {tried.after} on {len(tried.rounds)} rounds{kept}")


def _verdict(one: Contribution) -> str:
    return f"{'left out' if one.left_out else 'used'} ({one.retained} of {one.retained_of})"


def _dry_run_json(tried: DryRun) -> dict[str, Json]:
    rounds: list[Json] = [
        {
            "round": one.number,
            "failure": one.failure,
            "verdicts": [
                {
                    "participant": verdict.participant,
                    "left_out": verdict.before.left_out,
                    "would_be_left_out": verdict.after.left_out,
                }
                for verdict in one.verdicts
            ],
        }
        for one in tried.rounds
    ]
    facts: dict[str, Json] = {"task": tried.task, "before": tried.before, "after": tried.after}
    return facts | {"rounds": rounds, "skipped": tried.skipped}


@app.command("release")
def release(
    task: Annotated[str, typer.Argument(help="The task.")],
    version: Annotated[int, typer.Argument(help="Version of its model.", min=1)],
    *,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that a certified model may be used; your own organisation has no vote on that."""

    async def work(reached: Reached) -> Outcome:
        from fl.governance.records import ReleaseModel
        from fl.records import ModelState
        from fl.state import model_key
        from foedus.client.facts import read_fact
        from foedus.client.membership import propose

        model = await read_fact(reached.wire, reached.trust, model_key(task, version), ModelState)
        if model is None or model.payload is None:
            raise CommandError(f"{task} has no model {version}; `foedus model list {task}` shows all")
        return await propose(reached, ReleaseModel(task, version, model.payload))

    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


def propose_by_vote(
    url: str,
    action: Action,
    key: Path,
    passphrase_file: Path | None,
    genesis: Path | None,
    tls_ca: Path | None,
) -> Outcome:
    """Put an action to the vote as an officer; return what became of it."""
    return reaching(url, proposing(action), key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)


def proposing(action: Action) -> Callable[[Reached], Awaitable[Outcome]]:
    """Return the work that puts an action to the vote."""

    async def work(reached: Reached) -> Outcome:
        from foedus.client.membership import propose

        return await propose(reached, action)

    return work


def tell(title: str, outcome: Outcome, url: str, *, as_json: bool) -> None:
    """Print what became of a proposal or an approval."""
    answer, proposal = outcome
    facts: dict[str, Json] = {"transaction": answer.id, "height": answer.height}
    if proposal is None:
        facts["status"] = "nothing to do"
    else:
        facts |= {
            "number": proposal.number,
            "digest": proposal.digest.hex(),
            "status": proposal.status,
            "approvals": list(proposal.approvals),
        }
    if as_json:
        print_json(facts)
        return
    shown = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in facts.items()}
    if proposal is not None and proposal.status == "open":
        shown["next"] = f"foedus proposal approve {proposal.number} --url {url}, by officers of other organisations"
    print_facts(title, shown)
