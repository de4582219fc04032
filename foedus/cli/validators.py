"""`foedus validator`, `evidence`: who decides, by whose vote. One law: nobody changes the set alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Url, short
from foedus.cli.decisions import proposing, tell
from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile, open_key
from foedus.cli.speaking import Key, TlsCa, TrustedGenesis, reaching

if TYPE_CHECKING:
    from fl.membership.records import Action, ProposalState
    from foedus.client.opening import Reached
    from node.api.answers import SubmittedAnswer

app = typer.Typer(help="Who decides: joining, leaving, new keys.", no_args_is_help=True)
evidence_app = typer.Typer(help="What validators were convicted of.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The institution.")]
Out = Annotated[Path, typer.Option(help="File to write.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="validator")
    root.add_typer(evidence_app, name="evidence")


@app.command("list")
def validator_list(
    *,
    height: Annotated[int | None, typer.Option(help="Whose set; the next height's by default.", min=1)] = None,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List who decides a height, and what becomes of the set."""
    node = Node(url)
    if as_json:
        node.print_json("validators", height=height)
        return
    from node.api.membership_answers import ChangesAnswer, ValidatorsAnswer

    now = node.get(ValidatorsAnswer, "validators", height=height)
    rows = [(one.name, short(one.public_key), one.address) for one in now.items]
    title = f"Validators of height {now.height}: {now.quorum} of {len(now.items)} decide"
    print_table(title, ("name", "key", "address"), rows)
    if height is not None:
        return
    changes = node.get(ChangesAnswer, "validators", "changes")
    names, coming = {one.name for one in now.items}, {one.name for one in changes.coming}
    for name in sorted(coming - names):
        print(f"{name} joins from height {changes.height} on")
    for name in sorted(names - coming):
        print(f"{name} leaves before height {changes.height}")
    for one in changes.waiting:
        print(f"{one.name} waits for its {'new seat' if one.validator else 'seat to be taken away'}")
    for held in changes.suspended:
        print(f"{held.name} is suspended for {held.offence}{' and still sits' if held.sits else ''}")


@app.command("add")
def add(
    card: Annotated[Path, typer.Argument(metavar="CARD", help="Its card, made by `foedus genesis card --join`.")],
    *,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that an institution joins; that is your organisation's approval too."""

    async def work(reached: Reached) -> tuple[SubmittedAnswer, ProposalState | None]:
        from fl.membership.records import AddMember
        from foedus.client.membership import propose
        from genesis.cards import load_card

        return await propose(reached, AddMember(load_card(card, chain_id=reached.trust.chain_id)))

    outcome = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("remove")
def remove(
    name: Name,
    *,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that an institution leaves; it has no vote on that."""
    from fl.membership.records import RemoveMember

    outcome = _propose(url, RemoveMember(name), key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("reinstate")
def reinstate(
    name: Name,
    *,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that a suspended validator gets its seat back."""
    from fl.membership.records import ReinstateMember

    outcome = _propose(url, ReinstateMember(name), key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("replace-keys")
def replace_keys(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What `foedus validator replacement` has written.")],
    *,
    key: Key,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Propose, as an officer, that a validator which lost its keys gets new ones; it takes an hour after the vote."""
    from fl.membership.records import ReplaceKeys
    from ledger.codec import decode

    action = decode(path.read_bytes(), ReplaceKeys, bytes_max=65_536)
    outcome = _propose(url, action, key, passphrase_file, genesis, tls_ca)
    tell("Proposed:", outcome, url, as_json=as_json)


@app.command("replacement")
def replacement(  # noqa: PLR0913 - options of a command
    name: Name,
    *,
    validator: Annotated[Path, typer.Option(help="New key file that the node votes with.")],
    transport: Annotated[Path, typer.Option(help="New key file of the node's connections.")],
    address: Annotated[str | None, typer.Option(help="host:port of the node; as it was by default.")] = None,
    out: Out = Path("replacement.bin"),
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """After your validator's keys are lost: prove that you hold new ones, for the others to vote on."""
    from ledger.codec import encode
    from ledger.validators import Validator

    new = [open_key(validator, passphrase_file), open_key(transport, passphrase_file)]

    async def work(reached: Reached) -> bytes:
        from foedus.client import membership

        before = await membership.record_of(reached, name)
        where = before.address if address is None else address
        after = Validator(name, new[0].public_key, new[1].public_key, where)
        return encode(membership.replacement(reached, before, after, new))

    content = reaching(url, work, genesis=genesis, tls_ca=tls_ca)
    if out.exists():
        raise CommandError(f"{out} exists; name another file, or remove it first")
    out.write_bytes(content)
    facts: dict[str, str] = {"file": str(out), "name": name}
    if as_json:
        print_json({**facts})
    else:
        print_facts("Wrote the request:", facts | {"next": "foedus validator replace-keys FILE, by another's officer"})


@app.command("rotate")
def rotate(  # noqa: PLR0913 - options of a command
    *,
    config: Annotated[Path, typer.Option("--config", "-c", envvar="FOEDUS_CONFIG", help="The node's settings.")],
    key: Key,
    address: Annotated[str | None, typer.Option(help="host:port of the node; as it was by default.")] = None,
    only_address: Annotated[bool, typer.Option("--only-address", help="Keep the keys.")] = False,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Give your validator new keys, as its officer; its running node goes on with them by itself."""
    import msgspec

    from foedus.cli.rotation import new_keys
    from node.config import load_config

    settings = load_config(config).config
    old = open_key(settings.keys.validator, passphrase_file)
    new = [] if only_address else new_keys(settings, passphrase_file)

    async def work(reached: Reached) -> SubmittedAnswer:
        from foedus.client import membership

        before = await membership.record_of(reached, settings.node.name)
        after = msgspec.structs.replace(before, address=before.address if address is None else address)
        if new:
            after = msgspec.structs.replace(after, public_key=new[0].public_key, transport_key=new[1].public_key)
        return await membership.rotate(reached, before, after, old, new)

    answer = reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
    facts: dict[str, Json] = {"name": settings.node.name, "transaction": answer.id, "height": answer.height}
    if new:
        facts["public_key"] = new[0].public_key.hex()
    if as_json:
        print_json(facts)
    else:
        print_facts("Rotated:", {name: str(value) for name, value in facts.items()})


@evidence_app.command("list")
def evidence_list(*, url: Url = URL_DEFAULT, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List proven offences, each with the transaction that holds the proof."""
    node = Node(url)
    if as_json:
        node.print_json("evidence", limit=limit)
        return
    from node.api.membership_answers import OffencesAnswer

    rows = [
        (one.validator, one.kind, str(one.offence_height), str(one.view), str(one.height), one.transaction)
        for one in node.get(OffencesAnswer, "evidence", limit=limit).items
    ]
    print_table("Evidence", ("validator", "kind", "at height", "view", "shown in block", "transaction"), rows)


def _propose(
    url: str,
    action: Action,
    key: Path,
    passphrase_file: Path | None,
    genesis: Path | None,
    tls_ca: Path | None,
) -> tuple[SubmittedAnswer, ProposalState | None]:
    return reaching(url, proposing(action), key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)
