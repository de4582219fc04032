"""Passphrases and the keys they open. One law: a passphrase is never an argument, where other users could read it.

It comes from `--passphrase-file`, else from `FOEDUS_PASSPHRASE`, else a person is asked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.output import CommandError

if TYPE_CHECKING:
    from ledger.identity import SigningKey

VARIABLE = "FOEDUS_PASSPHRASE"
NEW_VARIABLE = "FOEDUS_NEW_PASSPHRASE"

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help=f"File whose first line opens the key; else {VARIABLE}, else you are asked."
    ),
]


def open_key(path: Path, passphrase_file: Path | None = None) -> SigningKey:
    """Return the key in a file; a person is asked for the passphrase of a sealed one when nothing else tells it.

    Raises:
        KeyFileError: see `genesis.keys.read_key`.
        CommandError: it is sealed, and there is nobody to ask.
    """
    from genesis.keys import card_of_key, read_key

    if not card_of_key(path).is_sealed:
        return read_key(path)
    return read_key(path, passphrase=known_passphrase(path, passphrase_file))


def known_passphrase(path: Path, passphrase_file: Path | None) -> str:
    """Return what opens the sealed key file at `path`; errors as `open_key`."""
    from genesis.keys import read_passphrase

    if passphrase_file is not None:
        return read_passphrase(passphrase_file)
    if told := os.environ.get(VARIABLE):
        return told
    return _ask(f"Passphrase of {path}", f"{path} is sealed: give --passphrase-file, or set {VARIABLE}")


def chosen_passphrase(path: Path, passphrase_file: Path | None, variable: str, option: str) -> str:
    """Return a new passphrase for `path`; a person types it twice.

    Raises:
        CommandError: there is nobody to ask, or the two differ.
    """
    from genesis.keys import read_passphrase

    if passphrase_file is not None:
        return read_passphrase(passphrase_file)
    if told := os.environ.get(variable):
        return told
    missing = f"a passphrase for {path} is needed: give {option}, or set {variable}"
    first = _ask(f"New passphrase for {path}", missing)
    if _ask("The same once more", missing) != first:
        raise CommandError("the two passphrases differ; nothing was changed")
    return first


def _ask(question: str, missing: str) -> str:
    from getpass import getpass

    if not sys.stdin.isatty():
        raise CommandError(missing)
    answer = getpass(f"{question}: ", stream=sys.stderr)
    if not answer:
        raise CommandError("an empty passphrase protects nothing; nothing was changed")
    return answer
