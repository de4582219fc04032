"""`foedus reward`: who has how many credits, what for, and moving them. One law: only a signed word moves credits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Task, Url
from foedus.cli.decisions import proposing, tell
from foedus.cli.output import AsJson, Json, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile
from foedus.cli.speaking import Key, TlsCa, TrustedGenesis, reaching

if TYPE_CHECKING:
    from foedus.client.opening import Reached
    from ledger.codec import Record
    from node.api.answers import SubmittedAnswer

app = typer.Typer(help="Credits: pots, statements, transfers.", no_args_is_help=True)
Organisation = Annotated[str, typer.Argument(help="The organisation.")]
AmountOf = Annotated[int, typer.Argument(help="How many credits.", min=1, max=2**53 - 1)]
Memo = Annotated[str, typer.Option("--memo", help="What it is for, at most 128 characters.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="reward")


@app.command("balance")
def balance(
    organisation: Annotated[str | None, typer.Argument(help="Of whom; of all without it.")] = None,
    *,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Tell balances, what was earned and reputations; and where all credits are."""
    from node.api.reward_answers import AccountAnswer, AccountsAnswer, TreasuryAnswer

    node = Node(url)
    if organisation is not None:
        if as_json:
            node.print_json("rewards", "accounts", organisation)
            return
        found = node.get(AccountAnswer, "rewards", "accounts", organisation)
        facts = {"balance": found.balance, "earned": found.earned, "reputation": found.reputation}
        print_facts(f"Credits of {organisation}:", {name: str(value) for name, value in facts.items()})
        return
    if as_json:
        node.print_json("rewards", "accounts", limit=200)
        return
    items = node.get(AccountsAnswer, "rewards", "accounts", limit=200).items
    rows = [(one.organisation, str(one.balance), str(one.earned), str(one.reputation)) for one in items]
    print_table("Credits", ("organisation", "balance", "earned", "reputation"), rows)
    whole = node.get(TreasuryAnswer, "rewards")
    print(
        f"{whole.minted} issued - {whole.burned} redeemed = {whole.balances} in accounts + {whole.escrow} in pots + "
        f"{whole.treasury} in the treasury"
    )


@app.command("statement")
def statement(
    organisation: Organisation, *, url: Url = URL_DEFAULT, limit: Limit = 20, as_json: AsJson = False
) -> None:
    """List what moved an organisation's credits, newest first."""
    node = Node(url)
    path = ("rewards", "accounts", organisation, "statement")
    if as_json:
        node.print_json(*path, limit=limit)
        return
    from node.api.reward_answers import StatementAnswer

    going = {"sent", "funded", "redeemed", "slashed"}
    rows = [
        (
            str(one.number),
            str(one.height),
            one.kind,
            f"{'-' if one.kind in going else '+'}{one.amount}",
            str(one.balance),
            one.subject,
            one.memo,
        )
        for one in node.get(StatementAnswer, *path, limit=limit).items
    ]
    columns = ("number", "block", "kind", "amount", "balance", "with", "memo")
    print_table(f"Statement of {organisation}", columns, rows)


@app.command("pot")
def pot(*, task: Task = None, url: Url = URL_DEFAULT, as_json: AsJson = False) -> None:
    """Show what a task's rounds are paid from."""
    node = Node(url)
    name = node.task(task)
    if as_json:
        node.print_json("tasks", name, "pot")
        return
    from node.api.reward_answers import PotAnswer

    found = node.get(PotAnswer, "tasks", name, "pot")
    facts = {"in it": found.escrow, "funded": found.funded, "paid": found.paid, "to the treasury": found.returned}
    print_facts(f"Pot of {name}:", {what: str(value) for what, value in facts.items()})


@app.command("round")
def round_rewards(
    number: Annotated[str, typer.Argument(help="Number, or latest.")] = "latest",
    *,
    task: Task = None,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show how a round's stake was divided, and why."""
    node = Node(url)
    path = ("tasks", node.task(task), "rounds", number, "rewards")
    if as_json:
        node.print_json(*path)
        return
    from node.api.reward_answers import SettlementAnswer

    found = node.get(SettlementAnswer, *path)
    rows = [
        (
            one.participant,
            one.organisation,
            str(one.amount),
            str(one.score),
            f"{one.information_micros / 1e6:.1f}x" + ("" if one.passed else " (no more than noise)"),
            f"{one.cluster_size} like {one.cluster}" if one.cluster_size > 1 else "",
        )
        for one in found.earnings
    ]
    columns = ("participant", "organisation", "credits", "score", "information", "copies")
    print_table(f"Round {found.round} of {found.task}: {found.paid} of {found.stake} credits paid", columns, rows)


@app.command("fund")
def fund(
    amount: AmountOf,
    *,
    key: Key,
    task: Task = None,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Put your organisation's credits into a task's pot, as an officer."""
    from fl.application import REWARD_FUND
    from fl.incentives.records import RewardFunding

    said = RewardFunding(Node(url, tls_ca).task(task), amount)
    _tell("Funded:", _say(url, REWARD_FUND, said, key, passphrase_file, genesis, tls_ca), as_json=as_json)


@app.command("transfer")
def transfer(  # noqa: PLR0913 - options of a command
    to: Organisation,
    amount: AmountOf,
    *,
    key: Key,
    memo: Memo = "",
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Hand your organisation's credits to another one, as an officer."""
    from fl.application import REWARD_TRANSFER
    from fl.incentives.records import RewardTransfer

    said = RewardTransfer(to, amount, memo)
    _tell("Transferred:", _say(url, REWARD_TRANSFER, said, key, passphrase_file, genesis, tls_ca), as_json=as_json)


@app.command("redeem")
def redeem(
    amount: AmountOf,
    *,
    key: Key,
    memo: Memo = "",
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Take your organisation's credits off the chain, since they were settled elsewhere; as an officer."""
    from fl.application import REWARD_REDEEM
    from fl.incentives.records import RewardRedemption

    said = RewardRedemption(amount, memo)
    _tell("Redeemed:", _say(url, REWARD_REDEEM, said, key, passphrase_file, genesis, tls_ca), as_json=as_json)


@app.command("issue")
def issue(  # noqa: PLR0913 - options of a command
    to: Organisation,
    amount: AmountOf,
    *,
    key: Key,
    memo: Memo = "",
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that an organisation gets new credits; the others approve as any proposal."""
    from fl.incentives.records import IssueCredits

    work = proposing(IssueCredits(to, amount, memo))
    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("grant")
def grant(  # noqa: PLR0913 - options of a command
    to: Organisation,
    amount: AmountOf,
    *,
    key: Key,
    memo: Memo = "",
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that an organisation gets credits of the treasury."""
    from fl.incentives.records import GrantCredits

    work = proposing(GrantCredits(to, amount, memo))
    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


def _say(
    url: str,
    kind: str,
    said: Record,
    key: Path,
    passphrase_file: Path | None,
    genesis: Path | None,
    tls_ca: Path | None,
) -> SubmittedAnswer:
    async def work(reached: Reached) -> SubmittedAnswer:
        from foedus.client.statements import say

        assert reached.key is not None, "who says something has a key"
        return await say(reached.wire, reached.key, reached.trust.chain_id, kind, said)

    return reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)


def _tell(title: str, answer: SubmittedAnswer, *, as_json: bool) -> None:
    events = [] if answer.receipt is None else [f"{one.subject}: {one.detail}" for one in answer.receipt.events]
    facts: dict[str, Json] = {"transaction": answer.id, "height": answer.height, "events": events}
    if as_json:
        print_json(facts)
    else:
        print_facts(title, {"transaction": answer.id, "height": str(answer.height), "what": "; ".join(events)})
