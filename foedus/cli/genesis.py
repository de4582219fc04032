"""`foedus genesis`: the ceremony of institutions that share no disk. One law: secrets stay where they are.

Each makes a card, somebody assembles the document, everybody checks and signs it. What travels is cards, the document
and signatures: none of them is secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.output import AsJson, CommandError, print_facts, print_json, say
from foedus.cli.passphrases import PassphraseFile, open_key

if TYPE_CHECKING:
    from fl.records import Participant, Role, TaskSpec
    from genesis.cards import MemberCard
    from genesis.document import GenesisDocument
    from genesis.signatures import GenesisSignatures
    from ledger.identity import SigningKey
    from ledger.parameters import ConsensusParameters

app = typer.Typer(help="Begin a chain together: cards, document, signatures.", no_args_is_help=True)
GenesisPath = Annotated[Path, typer.Argument(metavar="GENESIS", help="The genesis document.")]
Papers = Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Cards and signatures, in any order.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="genesis")


@app.command("card")
def card(  # noqa: PLR0913 - options of a command
    name: Annotated[str, typer.Argument(help="The institution's name in the consortium.")],
    *,
    validator: Annotated[Path | None, typer.Option(help="Key file that the node votes with.")] = None,
    transport: Annotated[Path | None, typer.Option(help="Key file of the node's connections.")] = None,
    address: Annotated[str, typer.Option(help="host:port where other nodes reach the node.")] = "",
    trainer: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="A trainer and its key file; again for more.")
    ] = None,
    officer: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="An officer and its key file; again for more.")
    ] = None,
    join: Annotated[
        Path | None, typer.Option(help="Genesis document of a running chain that the institution asks to join.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; NAME.card.json by default.")] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make this institution's card: its name, address and public keys, each with a proof that you hold it."""
    import time

    from genesis.cards import Membership, card_text, make_card
    from genesis.document import load_document
    from genesis.files import write_new
    from ledger.digest import ZERO_DIGEST
    from ledger.validators import Validator

    if (validator is None) != (transport is None):
        raise CommandError("a node needs both --validator and --transport; an institution without a node neither")
    people, keys = _people(name, trainer or [], officer or [], passphrase_file)
    node = None
    if validator is not None and transport is not None:
        voting, connecting = open_key(validator, passphrase_file), open_key(transport, passphrase_file)
        keys += [voting, connecting]
        node = Validator(name, voting.public_key, connecting.public_key, address)
    chain_id = ZERO_DIGEST if join is None else load_document(join).chain_id
    made = make_card(Membership(name, time.time_ns() // 1_000_000, node, people), keys, chain_id=chain_id)
    target = Path(f"{name}.card.json") if out is None else out
    write_new(target, card_text(made))
    fingerprint = made.membership.fingerprint.hex()
    if as_json:
        print_json({"file": str(target), "name": name, "fingerprint": fingerprint, "keys": len(made.proofs)})
        return
    print_facts("Made a card:", {"file": str(target), "fingerprint": fingerprint, "keys": str(len(made.proofs))})
    say("Give the file to the others, and tell them the fingerprint on another way (such as by telephone).")


@app.command("build")
def build(
    cards: Annotated[list[Path], typer.Argument(metavar="CARD...", help="The cards of all institutions.")],
    *,
    chain_name: Annotated[str, typer.Option(help="Name of the chain, for people.")] = "consortium",
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="A task to begin with: heart, digits, fraud, or a file (`foedus task template`); again for more."
        ),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="Rule of a task that is named, such as nnm.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of a task that is named.", min=1)] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="TOML file with consensus parameters that differ from the defaults.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("genesis.json"),
    as_json: AsJson = False,
) -> None:
    """Assemble the genesis document; the same cards and options give the same bytes, whoever does it."""
    from genesis.cards import load_card
    from genesis.ceremony import assemble
    from genesis.document import document_text
    from genesis.files import write_new

    read = [load_card(path) for path in cards]
    trainers = sorted(one.name for card in read for one in card.membership.participants if "trainer" in one.roles)
    tasks = [_task(name, trainers, rule, rounds) for name in task or []]
    document = assemble(read, chain_name=chain_name, tasks=tasks, parameters=_parameters(parameters))
    write_new(out, document_text(document))
    _describe(document, out, read, as_json=as_json)
    _warn_of_time(document)


@app.command("sign")
def sign(
    genesis: GenesisPath,
    cards: Annotated[
        list[Path] | None, typer.Argument(metavar="[CARD]...", help="Cards that the document must agree with.")
    ] = None,
    *,
    key: Annotated[Path, typer.Option(help="Key file that your node votes with.")],
    out: Annotated[Path | None, typer.Option(help="File to write; NAME.signature.json by default.")] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Agree to a genesis document: compare it with the cards you have, and sign its chain id with your node's key."""
    from genesis.cards import load_card
    from genesis.ceremony import card_faults, members_without_card
    from genesis.document import load_document
    from genesis.files import write_new
    from genesis.signatures import InvalidSignaturesError, sign_genesis, signatures_text

    document = load_document(genesis)
    read = [load_card(path) for path in cards or []]
    faults = card_faults(document, read)
    if faults:
        raise InvalidSignaturesError(f"{genesis} is not what the cards say; nothing was signed", faults)
    signed = sign_genesis(document, open_key(key, passphrase_file))
    (one,) = signed.signatures
    target = Path(f"{one.validator}.signature.json") if out is None else out
    write_new(target, signatures_text(signed))
    _warn_of_time(document)
    if as_json:
        print_json({"file": str(target), "validator": one.validator, "chain_id": document.chain_id.hex()})
        return
    print_facts("Signed:", {"chain": document.chain_id.hex(), "as": one.validator, "file": str(target)})
    unseen = members_without_card(document, read)
    if unseen:
        say(f"Not compared, since you gave no card of theirs: {', '.join(unseen)}.")


@app.command("verify")
def verify(
    genesis: GenesisPath,
    papers: Papers = None,
    *,
    collect: Annotated[
        Path | None, typer.Option(help="Write all signatures into this file, for nodes to check when they start.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a genesis document against cards and signatures, and say who is missing; exit 1 unless all have signed."""
    from genesis.ceremony import card_faults, members_without_card
    from genesis.document import load_document
    from genesis.files import write_new
    from genesis.signatures import UnsignedGenesisError, merge, signatures_text, unsigned

    document = load_document(genesis)
    cards, signatures = _papers(papers or [])
    signed = merge(document, signatures)
    faults, missing = card_faults(document, cards), unsigned(document, signed)
    shown = {card.name for card in cards}
    if as_json:
        print_json(
            {
                "chain_id": document.chain_id.hex(),
                "complete": not faults and not missing,
                "missing": list(missing),
                "faults": faults,
                "members": [
                    {"name": one.name, "card": one.name in shown, "signed": one.name not in missing}
                    for one in document.validators.members
                ],
            }
        )
    else:
        _print_members(document, shown, missing)
    if faults:
        raise CommandError("\n  ".join([f"{genesis} is not what the cards say:", *faults]))
    unseen = members_without_card(document, cards)
    if unseen:
        say(f"Not compared, since you gave no card of theirs: {', '.join(unseen)}.")
    if missing:
        raise UnsignedGenesisError(missing, len(document.validators))
    if collect is not None:
        write_new(collect, signatures_text(signed))
        say(f"Wrote all signatures to {collect}.")


def _people(
    organisation: str, trainers: Sequence[str], officers: Sequence[str], passphrase_file: Path | None
) -> tuple[tuple[Participant, ...], list[SigningKey]]:
    from fl.records import Participant

    roles: dict[str, tuple[Path, tuple[Role, ...]]] = {}
    given: list[tuple[str, Role]] = [(text, "trainer") for text in trainers] + [(text, "officer") for text in officers]
    for text, role in given:
        name, equals, file = text.partition("=")
        if not equals or not name or not file:
            raise CommandError(f"--{role} needs NAME=FILE, such as ward-7=keys/ward-7.key, got {text!r}")
        path, before = roles.get(name, (Path(file), ()))
        if path != Path(file):
            raise CommandError(f"{name} is named with two key files: {path} and {file}")
        roles[name] = (path, (*before, role))
    keys = {name: open_key(path, passphrase_file) for name, (path, _) in roles.items()}
    people = [Participant(name, organisation, keys[name].public_key, role) for name, (_, role) in sorted(roles.items())]
    return tuple(people), list(keys.values())


def _task(name: str, trainers: Sequence[str], rule: str | None, rounds: int | None) -> TaskSpec:
    from genesis.presets import PRESETS, rule_named
    from genesis.reading import nearest
    from genesis.task_plans import load_plan, task_of_plan

    if name in PRESETS:
        preset = PRESETS[name]
        liars = preset.task(preset.trainers, None, None).rule.f
        return preset.task(trainers, rounds, None if rule is None else rule_named(rule, liars))
    if rule is not None or rounds is not None:
        raise CommandError("--rule and --rounds are for heart, digits and fraud; a task file says its own")
    if not Path(name).exists():
        raise CommandError(f"no task and no file is named {name}; {nearest(name, list(PRESETS))}")
    return task_of_plan(load_plan(Path(name)))


def _parameters(path: Path | None) -> ConsensusParameters | None:
    if path is None:
        return None
    import tomllib

    from genesis.files import read_text
    from genesis.reading import FaultsError, read
    from ledger.parameters import ConsensusParameters

    faults: list[str] = []
    try:
        found = read(tomllib.loads(read_text(path, bytes_max=1 << 16)), ConsensusParameters, faults)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CommandError(f"{path} is not TOML: {error}") from error
    if found is None or faults:
        raise FaultsError(str(path), faults)
    return found


def _papers(paths: Sequence[Path]) -> tuple[list[MemberCard], list[GenesisSignatures]]:
    """Tell cards from signatures by what they say they are."""
    from genesis.cards import CARD_BYTES_MAX, CARD_KIND, read_card
    from genesis.files import read_text
    from genesis.signatures import SIGNATURES_KIND, read_signatures

    cards, signatures = [], []
    for path in paths:
        text = read_text(path, bytes_max=CARD_BYTES_MAX)
        if f'"{CARD_KIND}"' in text:
            cards.append(read_card(text, source=str(path)))
        elif f'"{SIGNATURES_KIND}"' in text:
            signatures.append(read_signatures(text, source=str(path)))
        else:
            raise CommandError(f"{path} is neither a card (`foedus genesis card`) nor a signature (`... sign`)")
    return cards, signatures


def _describe(document: GenesisDocument, path: Path, cards: Sequence[MemberCard], *, as_json: bool) -> None:
    fingerprints = {card.name: card.membership.fingerprint.hex() for card in cards}
    if as_json:
        print_json(
            {
                "file": str(path),
                "chain_id": document.chain_id.hex(),
                "chain_name": document.chain_name,
                "members": dict(sorted(fingerprints.items())),
                "quorum": document.validators.quorum,
                "participants": len(document.learning.participants),
                "tasks": [task.id for task in document.learning.tasks],
            }
        )
        return
    facts = {
        "file": str(path),
        "chain": document.chain_id.hex(),
        "nodes": f"{len(document.validators)}, {document.validators.quorum} of them decide",
        "participants": str(len(document.learning.participants)),
        "tasks": ", ".join(task.id for task in document.learning.tasks) or "none",
    }
    print_facts("Assembled:", facts | {f"card of {name}": text for name, text in sorted(fingerprints.items())})


def _print_members(document: GenesisDocument, shown: set[str], missing: Sequence[str]) -> None:
    facts = {"chain": document.chain_id.hex()}
    for member in document.validators.members:
        compared = "as on its card" if member.name in shown else "no card given"
        facts[member.name] = f"{'has NOT signed' if member.name in missing else 'has signed'}, {compared}"
    print_facts(f"Genesis document of {document.chain_name}:", facts)


def _warn_of_time(document: GenesisDocument) -> None:
    import time

    ahead_ms = document.time_ms - time.time_ns() // 1_000_000
    if ahead_ms > document.parameters.clock_drift_ms_max:
        say(
            f"The document's time is {ahead_ms // 1000} s ahead of this machine's clock, and blocks come after it: one "
            "institution's clock was wrong when it made its card, or this one's is."
        )
