"""`foedus participant`: who may speak. One law: a key speaks for one name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url
from foedus.cli.output import AsJson, CommandError, print_facts, print_json, print_table

if TYPE_CHECKING:
    from node.api.answers import ParticipantItem

app = typer.Typer(help="Who may speak: trainers and officers.", no_args_is_help=True)
PAGE = 200


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="participant")


@app.command("list")
def participant_list(*, url: Url = URL_DEFAULT, limit: Limit = 200, as_json: AsJson = False) -> None:
    """List participants with their organisations, roles and keys."""
    node = Node(url)
    if as_json:
        node.print_json("participants", limit=limit)
        return
    from node.api.answers import ParticipantsAnswer

    items = node.get(ParticipantsAnswer, "participants", limit=limit).items
    rows = [(one.name, one.organisation, ", ".join(one.roles), one.public_key) for one in sorted(items, key=_name)]
    print_table("Participants", ("name", "organisation", "roles", "public key"), rows)


@app.command("show")
def participant_show(
    who: Annotated[str, typer.Argument(help="Name, or public key (64 hex digits).")],
    *,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show one participant, and how often it has spoken."""
    from genesis.reading import nearest
    from node.api.answers import NonceAnswer

    node = Node(url)
    known = list(_all(node))
    found = [one for one in known if who in {one.name, one.public_key}]
    if not found:
        raise CommandError(f"no participant is named {who}; {nearest(who, [one.name for one in known])}")
    one = found[0]
    said = node.get(NonceAnswer, "accounts", one.public_key, "nonce").committed
    if as_json:
        facts = {"name": one.name, "organisation": one.organisation, "roles": list(one.roles)}
        print_json({**facts, "public_key": one.public_key, "transactions": said})
        return
    print_facts(
        f"Participant {one.name}:",
        {
            "organisation": one.organisation,
            "roles": ", ".join(one.roles),
            "public key": one.public_key,
            "transactions": str(said),
        },
    )


def _all(node: Node) -> Iterator[ParticipantItem]:
    """Yield everybody, page by page."""
    from node.api.answers import ParticipantsAnswer

    after: str | None = None
    while True:
        page = node.get(ParticipantsAnswer, "participants", limit=PAGE, after=after)
        yield from page.items
        if page.next is None:
            return
        after = page.next


def _name(one: ParticipantItem) -> str:
    return one.name
