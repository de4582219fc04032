"""`foedus policy`: what the consortium demands of rounds. One law: a policy whose own tests fail is not proposed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url
from foedus.cli.decisions import propose_by_vote, tell
from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile
from foedus.cli.speaking import Key, TlsCa, TrustedGenesis

if TYPE_CHECKING:
    from genesis.policy_files import PolicyFile

app = typer.Typer(help="What the consortium demands of rounds.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(metavar="FILE", help="A policy file, TOML.")]
Delay = Annotated[int, typer.Option("--delay-ms", help="How long it waits after its vote.", min=0)]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="policy")


@app.command("list")
def policy_list(*, url: Url = URL_DEFAULT, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the policies that are or were in force."""
    node = Node(url)
    if as_json:
        node.print_json("policies", limit=limit)
        return
    from node.api.policy_answers import PoliciesAnswer

    rows = [
        (one.name, one.occasion, f"repealed in {one.repealed_height}" if one.repealed_height else "in force", clause)
        for one in node.get(PoliciesAnswer, "policies", limit=limit).items
        for clause in one.clauses
    ]
    print_table("Policies", ("name", "occasion", "status", "clauses"), rows)


@app.command("show")
def policy_show(
    name: Annotated[str, typer.Argument(help="Name of the policy.")], *, url: Url = URL_DEFAULT, as_json: AsJson = False
) -> None:
    """Show one policy of the consortium."""
    node = Node(url)
    if as_json:
        node.print_json("policies", name)
        return
    from node.api.policy_answers import PolicyItem

    one = node.get(PolicyItem, "policies", name)
    print_facts(
        f"Policy {one.name}:",
        {
            "occasion": one.occasion,
            "description": one.description,
            "status": f"repealed in block {one.repealed_height}" if one.repealed_height else "in force",
            "since block": str(one.adopted_height),
            **{f"clause {number}": clause for number, clause in enumerate(one.clauses, start=1)},
            "costs at most": f"{one.cost_max} steps",
            "tree": one.tree,
        },
    )


@app.command("template")
def template(
    name: Annotated[str | None, typer.Argument(help="Which; all are listed without it.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print a policy file to change and propose; without a name, what there is."""
    from genesis.policy_files import load_policy, templates
    from genesis.reading import nearest

    if name is not None:
        if name not in templates():
            raise CommandError(f"no policy comes by the name {name}; {nearest(name, list(templates()))}")
        text = templates()[name].read_text(encoding="utf-8")
        if as_json:
            print_json({"name": name, "text": text})
        else:
            print(text, end="")
        return
    files = [load_policy(path) for path in templates().values()]
    if as_json:
        fields = ("name", "occasion", "description")
        print_json({"items": [{field: str(getattr(one, field)) for field in fields} for one in files]})
        return
    rows = [(one.name, one.occasion, " ".join(one.description.split())) for one in files]
    print_table("Policies to begin from", ("name", "occasion", "what it demands"), rows)


@app.command("check")
def check(path: File, *, as_json: AsJson = False) -> None:
    """Check that a file holds a policy that could be adopted, and show how it is read."""
    from fl.policies.syntax import text_of
    from genesis.policy_files import load_policy, program_of

    file = load_policy(path)
    program = program_of(file)
    clauses = [text_of(clause.node) for clause in program.clauses]
    if as_json:
        listed: list[Json] = [*clauses]
        facts: dict[str, Json] = {"name": file.name, "occasion": file.occasion, "clauses": listed}
        print_json({**facts, "tree": program.digest.hex(), "cost_max": program.cost_max, "tests": len(file.tests)})
        return
    print_facts(
        f"{path} holds a policy:",
        {
            "name": file.name,
            "occasion": file.occasion,
            **{f"clause {number}": clause for number, clause in enumerate(clauses, start=1)},
            "costs at most": f"{program.cost_max} steps",
            "tree": program.digest.hex(),
            "tests": f"{len(file.tests)}; foedus policy test runs them",
        },
    )


@app.command("test")
def run_tests(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files, TOML.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Run the tests that stand in policy files; exits with 1 when one fails."""
    from genesis.policy_files import load_policy, try_policy

    rows: list[tuple[str, str, str, str, str]] = []
    items: list[Json] = []
    failed = 0
    for path in paths:
        file = load_policy(path)
        for one in try_policy(file):
            failed += not one.passed
            rows.append((file.name, one.name, "passed" if one.passed else "FAILED", one.got, one.detail))
            items.append({"policy": file.name, "test": one.name, "passed": one.passed, "got": one.got})
    if as_json:
        print_json({"failed": failed, "items": items})
    else:
        print_table("Tests", ("policy", "test", "outcome", "verdict", "because"), rows)
    if failed:
        raise typer.Exit(1)


@app.command("propose")
def propose(
    path: File,
    *,
    key: Key,
    delay_ms: Delay = 0,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Put a policy to the vote as an officer; it replaces the one of its name."""
    from fl.policies.records import AdoptPolicy
    from genesis.policy_files import load_policy

    file = load_policy(path)
    _require_passing(file)
    outcome = propose_by_vote(url, AdoptPolicy(file.policy, delay_ms), key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("repeal")
def repeal(
    name: Annotated[str, typer.Argument(help="Name of the policy.")],
    *,
    key: Key,
    delay_ms: Delay = 0,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that a policy is no longer in force."""
    from fl.policies.records import RepealPolicy

    outcome = propose_by_vote(url, RepealPolicy(name, delay_ms), key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("terms")
def terms(  # noqa: PLR0913 - options of a command
    task: Annotated[str, typer.Argument(help="Name of the task, on the chain or still to be proposed.")],
    *,
    key: Key,
    purpose: Annotated[str, typer.Option(help="What the model is for.")] = "",
    data_set: Annotated[str, typer.Option(help="What privacy budgets call the data.")] = "",
    architecture: Annotated[str, typer.Option(help="What kind of model it is.")] = "",
    code_hash: Annotated[str, typer.Option(help="Of the training code.")] = "",
    privacy_tier: Annotated[int, typer.Option(help="0 open, 1 noise, 2 sealed, 3 both.", min=0, max=3)] = 0,
    retention_heights: Annotated[int, typer.Option(help="Payloads are to be erased after so many.", min=0)] = 0,
    reward_share_permille: Annotated[int, typer.Option(help="The most for one site.", min=0, max=1_000)] = 0,
    noise_micros: Annotated[int, typer.Option(help="Noise over the clipping bound, in millionths.", min=0)] = 0,
    sampling_micros: Annotated[
        int, typer.Option(help="How likely an example takes part in a step, in millionths.", min=0, max=1_000_000)
    ] = 1_000_000,
    steps: Annotated[int, typer.Option(help="Noisy steps in a round.", min=0, max=1_000_000)] = 1,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, what a task is for, as far as its specification does not say it."""
    from fl.policies.records import SetTerms
    from fl.privacy.records import Mechanism

    action = SetTerms(
        task,
        purpose,
        data_set,
        architecture,
        code_hash,
        privacy_tier,
        retention_heights,
        reward_share_permille,
        Mechanism(noise_micros, sampling_micros, steps),
    )
    outcome = propose_by_vote(url, action, key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


def _require_passing(file: PolicyFile) -> None:
    from genesis.policy_files import try_policy

    failed = [one for one in try_policy(file) if not one.passed]
    if failed:
        first = failed[0]
        message = f"{len(failed)} of the tests of {file.name} fail: {first.name} wants {first.wanted}, got {first.got}"
        raise CommandError(f"{message}; `foedus policy test` shows all")
