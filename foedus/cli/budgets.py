"""`foedus budget`: how much a site's data may have told. One law: beside each figure stands who answers for it."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url
from foedus.cli.decisions import propose_by_vote, tell
from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile
from foedus.cli.speaking import Key, TlsCa, TrustedGenesis, reaching

if TYPE_CHECKING:
    from foedus.client.opening import Reached
    from node.api.answers import SubmittedAnswer

app = typer.Typer(help="Privacy budgets of sites.", no_args_is_help=True)
Organisation = Annotated[str, typer.Argument(help="The institution.")]
DataSet = Annotated[str, typer.Argument(metavar="DATA_SET", help="What the terms of tasks call the data.")]
NANO = 10**9
MICRO = 10**6


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="budget")


@app.command("list")
def budget_list(*, url: Url = URL_DEFAULT, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List privacy budgets and what of them is gone."""
    node = Node(url)
    if as_json:
        node.print_json("budgets", limit=limit)
        return
    from node.api.budget_answers import ATTESTED, BudgetsAnswer

    rows = [
        (
            one.organisation,
            one.data_set,
            f"{_shown(one.period_nanos)} of {_shown(one.period_limit_nanos)}",
            f"{_shown(one.lifetime_nanos)} of {_shown(one.lifetime_limit_nanos)}",
            f"10^-{one.delta_digits}",
            str(one.opened),
            str(len(one.reservations)),
        )
        for one in node.get(BudgetsAnswer, "budgets", limit=limit).items
    ]
    heads = ("site", "data set", "epsilon, period", "epsilon, lifetime", "delta", "opened", "reserved")
    print_table("Privacy budgets", heads, rows)
    print("The sums are enforced. Attested by each site, and checked by nobody: " + "; ".join(ATTESTED) + ".")


@app.command("show")
def budget_show(
    organisation: Organisation, data_set: DataSet, *, url: Url = URL_DEFAULT, as_json: AsJson = False
) -> None:
    """Show one site's budget for a data set, and what its figures rest on."""
    node = Node(url)
    if as_json:
        node.print_json("budgets", organisation, data_set)
        return
    from node.api.budget_answers import BudgetItem

    one = node.get(BudgetItem, "budgets", organisation, data_set)
    print_facts(
        f"Privacy budget of {one.organisation} for {one.data_set}:",
        {
            "epsilon, period": f"{_shown(one.period_nanos)} of {_shown(one.period_limit_nanos)}",
            "epsilon, lifetime": f"{_shown(one.lifetime_nanos)} of {_shown(one.lifetime_limit_nanos)}",
            "delta": f"10^-{one.delta_digits}",
            "period": f"{one.period_ms} ms" if one.period_ms else "never ends",
            "opened updates": str(one.opened),
            "reserved": ", ".join(f"{held.task}/{held.round}" for held in one.reservations) or "nothing",
            "enforced": "; ".join(one.enforced),
            "attested": "; ".join(one.attested),
        },
    )


@app.command("cost")
def cost(
    *,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise over the clipping bound.", min=0)],
    sampling: Annotated[float, typer.Option(help="How likely an example takes part in a step.", min=0, max=1)] = 1.0,
    steps: Annotated[int, typer.Option(help="Noisy steps in a round.", min=0, max=1_000_000)] = 1,
    rounds: Annotated[int, typer.Option(help="How many rounds.", min=1, max=100_000)] = 1,
    delta_digits: Annotated[int, typer.Option(help="delta = 10^-this.", min=2, max=12)] = 5,
    as_json: AsJson = False,
) -> None:
    """Say what rounds by a mechanism cost, as the chain would charge them; needs no node."""
    from fl.privacy.account import costs_of
    from fl.privacy.epsilon import epsilon_nanos
    from fl.privacy.records import NOISE_MICROS_MAX, Mechanism
    from fl.privacy.renyi import NANOS_MAX

    noise_micros = int(noise * MICRO)
    if noise_micros > NOISE_MICROS_MAX:
        raise CommandError(f"--noise: at most {NOISE_MICROS_MAX // MICRO}, got {noise}")
    costs = costs_of(Mechanism(noise_micros, ceil(sampling * MICRO), steps))
    epsilons = [
        epsilon_nanos(tuple(min(NANOS_MAX, count * one) for one in costs), delta_digits) for count in (1, rounds)
    ]
    if as_json:
        facts: dict[str, Json] = {"round_nanos": epsilons[0], "all_nanos": epsilons[1], "delta_digits": delta_digits}
        print_json(facts)
        return
    shown = {"one round": _shown(epsilons[0]), f"{rounds} rounds": _shown(epsilons[1]), "delta": f"10^-{delta_digits}"}
    print_facts("Epsilon, if the noise is added and examples are drawn in secret:", shown)


@app.command("propose")
def propose(  # noqa: PLR0913 - options of a command
    organisation: Organisation,
    data_set: DataSet,
    *,
    key: Key,
    period_epsilon: Annotated[float, typer.Option(help="Largest epsilon of a period.", min=0)],
    lifetime_epsilon: Annotated[float, typer.Option(help="Largest epsilon of all time.", min=0)],
    period_ms: Annotated[int, typer.Option(help="Length of a period; 0 for one that never ends.", min=0)] = 0,
    delta_digits: Annotated[int, typer.Option(help="delta = 10^-this.", min=2, max=12)] = 5,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, a site's budget for a data set; what was spent stays spent."""
    from fl.privacy.records import SetBudget

    limits = _nanos(period_epsilon), _nanos(lifetime_epsilon)
    action = SetBudget(organisation, data_set, period_ms, *limits, delta_digits)
    outcome = propose_by_vote(url, action, key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("tighten")
def tighten(  # noqa: PLR0913 - options of a command
    data_set: DataSet,
    *,
    key: Key,
    period_epsilon: Annotated[float, typer.Option(help="Largest epsilon of a period.", min=0)],
    lifetime_epsilon: Annotated[float, typer.Option(help="Largest epsilon of all time.", min=0)],
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Lower the limits of your own institution, at once and without a vote."""
    from fl.privacy.records import TightenBudget

    said = TightenBudget(data_set, _nanos(period_epsilon), _nanos(lifetime_epsilon))

    async def work(reached: Reached) -> SubmittedAnswer:
        from fl.application import BUDGET_TIGHTEN
        from foedus.client.statements import say

        assert reached.key is not None, "a key was given"
        return await say(reached.wire, reached.key, reached.trust.chain_id, BUDGET_TIGHTEN, said)

    answer = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    if as_json:
        print_json({"transaction": answer.id, "height": answer.height})
    else:
        print_facts("Tightened:", {"transaction": answer.id, "block": str(answer.height)})


def _nanos(epsilon: float) -> int:
    from fl.privacy.renyi import NANOS_MAX

    nanos = int(epsilon * NANO)
    if nanos >= NANOS_MAX:
        raise CommandError(f"an epsilon below {NANOS_MAX // NANO} is needed, got {epsilon}")
    return nanos


def _shown(nanos: int) -> str:
    from fl.privacy.renyi import NANOS_MAX

    return "without bound" if nanos >= NANOS_MAX else f"{nanos / NANO:.4f}"
