"""`foedus status`, `block`, `tx`: what a node knows. One law: they ask, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url, moment, short
from foedus.cli.output import AsJson, print_facts, print_table

if TYPE_CHECKING:
    from node.api.answers import BlockItem
    from node.view import PeerLink

block_app = typer.Typer(help="Blocks of the chain.", no_args_is_help=True)
tx_app = typer.Typer(help="Transactions and what became of them.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.command("status")(status)
    root.add_typer(block_app, name="block")
    root.add_typer(tx_app, name="tx")


def status(*, url: Url = URL_DEFAULT, as_json: AsJson = False) -> None:
    """Tell how a node is doing, and why it is stuck when it is."""
    node = Node(url)
    if as_json:
        node.print_json("status")
        return
    from node.view import NodeStatus

    now = node.get(NodeStatus, "status")
    facts = {
        "node": f"{now.name} ({'validator' if now.validator else 'observer'}), foedus {now.version}",
        "chain": now.chain_id,
        "height": f"{now.height}, decided {moment(now.tip_time_ms)} UTC",
        "behind": f"{now.behind} blocks" if now.behind else "",
        "pruned": f"blocks below {now.blocks_from}, but for their headers" if now.blocks_from > 1 else "",
        "view": str(now.view),
        "waiting": f"{now.mempool_transactions} transactions, {now.mempool_bytes} bytes",
        "latency": "" if now.commit_ms is None else f"{now.commit_ms:.1f} ms from queue to block (median)",
        "stuck": now.stuck or "no",
    }
    for peer in now.peers:
        facts[f"peer {peer.name}"] = _link(peer)
    for reason in now.reasons:
        facts[reason.code] = "; ".join(filter(None, (facts.get(reason.code), reason.detail)))
    print_facts(f"{url}:", {name: value for name, value in facts.items() if value})


def _link(peer: PeerLink) -> str:
    if peer.connected:
        trip = "" if peer.round_trip_ms is None else f", {peer.round_trip_ms:.1f} ms"
        return f"connected{trip}"
    return "NOT connected, reached through others" if peer.reachable else "NOT connected"


@block_app.command("list")
def block_list(*, url: Url = URL_DEFAULT, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the latest blocks."""
    node = Node(url)
    if as_json:
        node.print_json("blocks", limit=limit)
        return
    from node.api.answers import BlocksAnswer

    rows = [
        (str(one.height), short(one.id), moment(one.time_ms), str(one.proposer), _transactions(one))
        for one in node.get(BlocksAnswer, "blocks", limit=limit).items
    ]
    print_table("Blocks", ("height", "id", "time (UTC)", "proposer", "transactions"), rows)


def _transactions(block: BlockItem) -> str:
    return "pruned" if block.pruned else str(block.transactions)


@block_app.command("show")
def block_show(
    block: Annotated[str, typer.Argument(help="Height, id, or latest.")],
    *,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show a block: header, who signed it, its transactions with their results."""
    node = Node(url)
    if as_json:
        node.print_json("blocks", block)
        return
    from node.api.answers import BlockAnswer

    one = node.get(BlockAnswer, "blocks", block)
    seals = ", ".join(str(seal.validator) for seal in one.certificate.seals)
    print_facts(
        f"Block {one.header.height}:",
        {
            "id": one.id,
            "parent": one.header.parent_id,
            "time": f"{moment(one.header.time_ms)} UTC",
            "proposer": f"validator {one.header.proposer}",
            "certificate": f"view {one.certificate.view}, signed by validators {seals}",
            "state root": one.header.state_root,
        },
    )
    rows = [
        (str(place), identity, receipt.code, receipt.detail)
        for place, (identity, receipt) in enumerate(zip(one.transactions, one.receipts, strict=False))
    ]
    print_table("Transactions", ("index", "id", "result", "detail"), rows)
    for event in (event for receipt in one.receipts for event in receipt.events):
        print(f"event  {event.kind}  {event.subject}  {event.detail}".rstrip())


@tx_app.command("list")
def tx_list(
    *,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as update.")] = None,
    url: Url = URL_DEFAULT,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest transactions with their results."""
    node = Node(url)
    if as_json:
        node.print_json("transactions", limit=limit, kind=kind)
        return
    from node.api.answers import TransactionsAnswer

    rows = [
        (one.id, f"{one.height}/{one.index}", one.kind, short(one.sender), one.code)
        for one in node.get(TransactionsAnswer, "transactions", limit=limit, kind=kind).items
    ]
    print_table("Transactions", ("id", "block/index", "kind", "sender", "result"), rows)


@tx_app.command("show")
def tx_show(
    transaction: Annotated[str, typer.Argument(help="Its id (64 hex digits).")],
    *,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show a transaction, where it stands, and what became of it."""
    node = Node(url)
    if as_json:
        node.print_json("transactions", transaction)
        return
    from node.api.answers import TransactionAnswer

    one = node.get(TransactionAnswer, "transactions", transaction)
    print_facts(
        f"Transaction {one.id}:",
        {
            "block": f"{one.height}, transaction {one.index}",
            "kind": one.kind,
            "sender": one.sender,
            "nonce": str(one.nonce),
            "bytes": str(len(one.raw) // 2),
            "result": f"{one.receipt.code} {one.receipt.detail}".rstrip(),
        },
    )
    for event in one.receipt.events:
        print(f"event  {event.kind}  {event.subject}  {event.detail}".rstrip())
