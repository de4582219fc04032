"""`foedus site`: what institutions declare of themselves. One law: an institution speaks for itself alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url
from foedus.cli.output import AsJson, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile
from foedus.cli.speaking import Key, TlsCa, TrustedGenesis, reaching

if TYPE_CHECKING:
    from foedus.client.opening import Reached
    from node.api.answers import SubmittedAnswer

app = typer.Typer(help="What institutions declare of themselves.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="site")


@app.command("list")
def site_list(*, url: Url = URL_DEFAULT, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List what institutions declare; nobody checks it, policies hold them to it."""
    node = Node(url)
    if as_json:
        node.print_json("sites", limit=limit)
        return
    from node.api.policy_answers import SitesAnswer

    rows = [
        (
            one.organisation,
            one.region,
            ", ".join(one.purposes),
            str(one.privacy_tier),
            f"{one.ethics_id or 'none'}, before height {one.ethics_expiry_height}",
            one.consent,
            ", ".join(one.reviews),
        )
        for one in node.get(SitesAnswer, "sites", limit=limit).items
    ]
    print_table("Sites", ("name", "region", "purposes", "tier", "ethics approval", "consent", "reviews"), rows)


@app.command("declare")
def declare(  # noqa: PLR0913 - options of a command
    *,
    key: Key,
    region: Annotated[str, typer.Option(help="Where the data is.")] = "",
    purpose: Annotated[list[str] | None, typer.Option(help="What it may be used for; again for more.")] = None,
    privacy_tier: Annotated[int, typer.Option(help="0 open, 1 noise, 2 sealed, 3 both.", min=0, max=3)] = 0,
    ethics_id: Annotated[str, typer.Option(help="Ethics approval.")] = "",
    ethics_expiry_height: Annotated[int, typer.Option(help="First height at which it holds no more.", min=0)] = 0,
    consent: Annotated[Literal["given", "withdrawn"], typer.Option(help="given, or withdrawn.")] = "given",
    review: Annotated[list[str] | None, typer.Option(help="What your officers review; again for more.")] = None,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Declare, as an officer, what holds for your institution's data; it replaces what was said before, at once."""
    from fl.policies.records import SiteDeclaration
    from ledger.fields import Height

    said = SiteDeclaration(
        region,
        tuple(sorted(set(purpose or ()))),
        privacy_tier,
        ethics_id,
        Height(ethics_expiry_height),
        consent,
        tuple(sorted(set(review or ()))),
    )

    async def work(reached: Reached) -> SubmittedAnswer:
        from fl.application import SITE_DECLARE
        from foedus.client.statements import say

        assert reached.key is not None, "a key was given"
        return await say(reached.wire, reached.key, reached.trust.chain_id, SITE_DECLARE, said)

    answer = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    if as_json:
        print_json({"transaction": answer.id, "height": answer.height})
    else:
        print_facts("Declared:", {"transaction": answer.id, "block": str(answer.height)})
