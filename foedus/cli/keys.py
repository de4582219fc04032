"""`foedus keys`: key files. One law: nothing printed here is a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json, print_table
from foedus.cli.passphrases import NEW_VARIABLE, VARIABLE, PassphraseFile, chosen_passphrase, known_passphrase

app = typer.Typer(help="Key files: make, look at, seal and open them.", no_args_is_help=True)
KeyPath = Annotated[Path, typer.Argument(help="The key file.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="keys")


@app.command("new")
def new(
    path: Annotated[Path, typer.Argument(help="File to make; must not exist yet.")],
    *,
    owner: Annotated[str, typer.Option(help="Whose key it is, for people; the file's name by default.")] = "",
    passphrase_file: PassphraseFile = None,
    in_clear: Annotated[
        bool, typer.Option("--in-clear", help="Do not seal it: whoever reads the file has the key.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key that nobody has had before, sealed with a passphrase."""
    from genesis.keys import new_key, write_key

    if in_clear and passphrase_file is not None:
        raise CommandError("--in-clear and --passphrase-file contradict each other")
    if path.exists():
        raise CommandError(f"{path} exists; a key is never overwritten, move it away first")
    passphrase = None if in_clear else _chosen(path, passphrase_file)
    write_key(path, new_key(), owner=owner or path.stem, passphrase=passphrase)
    _tell("Made a key:", path, as_json=as_json)


@app.command("show")
def show(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Key files.")], *, as_json: AsJson = False
) -> None:
    """Tell whose keys these are, and whether they are sealed; nothing secret is opened."""
    facts = [_facts(path) for path in paths]
    if as_json:
        print_json({"keys": facts})
        return
    rows = [
        (str(one["file"]), str(one["owner"]), str(one["public_key"]), "sealed" if one["sealed"] else "in clear")
        for one in facts
    ]
    print_table("Keys", ("file", "owner", "public key", "secret"), rows)


@app.command("encrypt")
def encrypt(path: KeyPath, *, passphrase_file: PassphraseFile = None, as_json: AsJson = False) -> None:
    """Seal a key file that is in clear with a passphrase."""
    from genesis.keys import card_of_key, seal_again

    if card_of_key(path).is_sealed:
        raise CommandError(f"{path} is sealed already; `foedus keys change-passphrase {path}` changes what opens it")
    seal_again(path, passphrase=None, new_passphrase=_chosen(path, passphrase_file))
    _tell("Sealed:", path, as_json=as_json)


@app.command("decrypt")
def decrypt(path: KeyPath, *, passphrase_file: PassphraseFile = None, as_json: AsJson = False) -> None:
    """Put a sealed key file in clear: whoever reads the file has the key from then on."""
    from genesis.keys import seal_again

    _require_sealed(path)
    seal_again(path, passphrase=known_passphrase(path, passphrase_file), new_passphrase=None)
    _tell("In clear now:", path, as_json=as_json)


@app.command("change-passphrase")
def change_passphrase(
    path: KeyPath,
    *,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--new-passphrase-file",
            help=f"File whose first line opens it from now on; else {NEW_VARIABLE}, else asked.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the passphrase of a sealed key file, in one step."""
    from genesis.keys import seal_again

    _require_sealed(path)
    old = known_passphrase(path, passphrase_file)
    fresh = chosen_passphrase(path, new_passphrase_file, NEW_VARIABLE, "--new-passphrase-file")
    seal_again(path, passphrase=old, new_passphrase=fresh)
    _tell("Sealed anew:", path, as_json=as_json)


def _chosen(path: Path, passphrase_file: Path | None) -> str:
    return chosen_passphrase(path, passphrase_file, VARIABLE, "--passphrase-file")


def _require_sealed(path: Path) -> None:
    from genesis.keys import card_of_key

    if not card_of_key(path).is_sealed:
        raise CommandError(f"{path} is in clear; `foedus keys encrypt {path}` seals it")


def _facts(path: Path) -> dict[str, Json]:
    from genesis.keys import card_of_key

    card = card_of_key(path)
    return {
        "file": str(path),
        "owner": card.owner,
        "public_key": card.public_key.hex(),
        "sealed": card.is_sealed,
    }


def _tell(title: str, path: Path, *, as_json: bool) -> None:
    facts = _facts(path)
    if as_json:
        print_json(facts)
    else:
        secret = "sealed with a passphrase" if facts["sealed"] else "in clear, readable by you alone"
        shown = {"file": str(path), "owner": str(facts["owner"]), "public key": str(facts["public_key"])}
        print_facts(title, {**shown, "secret": secret})
