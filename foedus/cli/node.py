"""`foedus node`, `foedus config`: an institution's node. One law: a node with faulty settings does not start."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.output import AsJson, CommandError, print_facts, print_json, print_table
from foedus.cli.passphrases import PassphraseFile, known_passphrase

if TYPE_CHECKING:
    from genesis.document import GenesisDocument
    from ledger.validators import Validator

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - for peers, whose keys are pinned

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", help="The node's settings (TOML).", envvar="FOEDUS_CONFIG", dir_okay=False)
]

ObserveFirst = Annotated[
    bool,
    typer.Option(
        "--observe-first",
        help="After a lost or restored data directory: sign nothing before a block of after this start.",
    ),
]

app = typer.Typer(help="Run an institution's node.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="node")
    root.command("config")(config)


@app.command("run")
def run(
    *, path: ConfigPath = Path("node.toml"), passphrase_file: PassphraseFile = None, observe_first: ObserveFirst = False
) -> None:
    """Run a node until SIGTERM or Ctrl-C; everything it says of itself goes to standard error."""
    with _quick_imports():
        from genesis.keys import card_of_key
        from node.config import load_config
        from node.logs import configure
        from node.service import run_node

    loaded = load_config(path)
    keys = loaded.config.keys
    sealed = [key for key in (keys.validator, keys.transport) if card_of_key(key).is_sealed]
    passphrase = known_passphrase(sealed[0], passphrase_file) if sealed else None
    configure(loaded.config.logging.level, loaded.config.logging.format, node=loaded.config.node.name)
    run_node(loaded.config, passphrase=passphrase, observe_first=observe_first)


@app.command("init")
def init(  # noqa: PLR0913 - options of a command
    directory: Annotated[Path, typer.Argument(help="The node's directory: settings, and later its data.")],
    *,
    genesis: Annotated[Path, typer.Option(help="The genesis document.")],
    validator: Annotated[Path, typer.Option(help="Key file that the node votes with.")],
    transport: Annotated[Path, typer.Option(help="Key file of the node's connections.")],
    card: Annotated[
        Path | None, typer.Option(help="Card of an institution that joins a running chain (`genesis card --join`).")
    ] = None,
    signatures: Annotated[
        Path | None, typer.Option(help="All members' signatures; then the node starts only with them.")
    ] = None,
    peer_host: Annotated[
        str | None,
        typer.Option(help="Address to listen on for other nodes; all, or loopback when that is its address."),
    ] = None,
    peer_port: Annotated[
        int | None, typer.Option(help="Port to listen on for other nodes; that of its address.", min=1, max=65_535)
    ] = None,
    api_host: Annotated[str, typer.Option(help="Address of the HTTP API; others than loopback need TLS.")] = LOOPBACK,
    api_port: Annotated[int, typer.Option(help="Port of the HTTP API.", min=1, max=65_535)] = 8001,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate of the HTTP API (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of that certificate (PEM).")] = None,
    as_json: AsJson = False,
) -> None:
    """Write node.toml for this institution, from the genesis document and its own keys."""
    from genesis.document import load_document
    from genesis.files import write_new
    from genesis.settings import NodeSettings
    from genesis.signatures import load_signatures, require_signed

    document = load_document(genesis)
    if signatures is not None:
        require_signed(document, load_signatures(signatures))
    member = _own_member(document, genesis, validator, transport, card)
    host, _, port = member.address.rpartition(":")
    if peer_port is None and not port:
        raise CommandError(f"the document has no address of {member.name}: name --peer-port")
    if (tls_certificate is None) != (tls_key is None):
        raise CommandError("HTTPS needs both --tls-certificate and --tls-key")
    settings = NodeSettings(
        name=member.name,
        genesis=_from(directory, genesis),
        signatures=None if signatures is None else _from(directory, signatures),
        validator_key=_from(directory, validator),
        transport_key=_from(directory, transport),
        peer=(peer_host or _listen(host), peer_port or int(port)),
        api=(api_host, api_port),
        tls=(_from(directory, tls_certificate), _from(directory, tls_key)) if tls_certificate and tls_key else None,
    )
    target = directory / "node.toml"
    directory.mkdir(parents=True, exist_ok=True)
    write_new(target, settings.text())
    _check(target)
    facts = {"name": member.name, "config": str(target), "chain_id": document.chain_id.hex()}
    if as_json:
        print_json(facts)
    else:
        print_facts("Wrote the settings:", facts | {"next": f"foedus node run --config {target}"})


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import what a node is made of without what it does not need: a restart is in time if its vote is.

    Nothing that is imported is ever garbage, so it is not looked through for any, neither now nor later. A node trusts
    the keys that are pinned and no certificate authority, so none are read (aiohttp reads them all when imported).
    """
    os.environ["SSL_CERT_FILE"] = os.devnull
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def config(*, path: ConfigPath = Path("node.toml"), as_json: AsJson = False) -> None:
    """Print a node's effective settings, each with its source: file, environment or default."""
    from node.config import effective, load_config

    shown = effective(load_config(path))
    if as_json:
        print_json({name: {"value": value, "source": source} for name, (value, source) in shown.items()})
        return
    rows = [(name, "" if value is None else str(value), source) for name, (value, source) in shown.items()]
    print_table(f"Settings of {path}", ("setting", "value", "source"), rows)


def _own_member(
    document: GenesisDocument, genesis: Path, validator: Path, transport: Path, card: Path | None
) -> Validator:
    """Return the validator whose keys these are, by the document or by the card with which it joins."""
    from genesis.cards import load_card
    from genesis.keys import public_key_in

    voting, connecting = public_key_in(validator), public_key_in(transport)
    source, known = genesis, document.validators.members
    if card is not None:
        brought = load_card(card, chain_id=document.chain_id).membership.validator
        source, known = card, () if brought is None else (brought,)
    member = next((one for one in known if one.public_key == voting), None)
    if member is None:
        raise CommandError(f"{source} names no validator with the key in {validator} ({voting.hex()})")
    if member.transport_key != connecting:
        raise CommandError(
            f"{source} names transport key {member.transport_key.hex()} for {member.name}, {transport} holds "
            f"{connecting.hex()}"
        )
    return member


def _from(directory: Path, path: Path) -> str:
    """Return `path` as the settings in `directory` name it: relative when it lies beneath, else absolute."""
    absolute, base = path.absolute(), directory.absolute()
    return str(absolute.relative_to(base)) if absolute.is_relative_to(base) else str(absolute)


def _listen(host: str) -> str:
    """Return where to listen for peers that connect to `host`."""
    from node.config import is_loopback

    return LOOPBACK if is_loopback(host) else EVERY_ADDRESS


def _check(path: Path) -> None:
    """Read the settings as the node will; settings that no node could start with do not stay."""
    from node.config import InvalidConfigError, load_config

    try:
        load_config(path, {})
    except InvalidConfigError:
        path.unlink()
        raise
