"""`foedus token`: who may use a node's HTTP API. One law: a token is shown once and kept nowhere.

The commands work on the node's data directory, whether the node runs or not; a running node follows at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import moment
from foedus.cli.node import ConfigPath
from foedus.cli.output import AsJson, CommandError, print_json, print_table, say

if TYPE_CHECKING:
    from node.tokens import Token

MS_PER_DAY = 86_400_000

app = typer.Typer(help="Bearer tokens of a node's HTTP API.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="For people: who or what will use it.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="token")


@app.command("new")
def new(
    name: Name,
    *,
    scope: Annotated[
        str, typer.Option(help="read; submit: also upload payloads; admin: also change how the node runs.")
    ] = "read",
    days: Annotated[int | None, typer.Option(help="Days until it ends; never by default.", min=1, max=3_650)] = None,
    config: ConfigPath = Path("node.toml"),
    as_json: AsJson = False,
) -> None:
    """Make a token and print it: the only time that anybody sees it."""
    import time

    from genesis.reading import nearest
    from node.tokens import SCOPES, new_token

    chosen = next((one for one in SCOPES if one == scope), None)
    if chosen is None:
        raise CommandError(f"no scope is named {scope}; {nearest(scope, list(SCOPES))}")
    now_ms = time.time_ns() // 1_000_000
    expires_ms = None if days is None else now_ms + days * MS_PER_DAY
    made, text = new_token(_directory(config), name, chosen, now_ms=now_ms, expires_ms=expires_ms)
    if as_json:
        print_json({**_shown(made), "token": text})
        return
    print(text)
    say(f"This is the token {name}; it is not kept, so note it now. Use it as `Authorization: Bearer TOKEN`.")


@app.command("list")
def list_(*, config: ConfigPath = Path("node.toml"), as_json: AsJson = False) -> None:
    """List the tokens, without what opens anything."""
    from node.tokens import read_tokens

    tokens = read_tokens(_directory(config))
    if as_json:
        print_json([_shown(token) for token in tokens])
        return
    rows = [(one.name, one.scope, moment(one.created_ms), moment(one.expires_ms or 0) or "never") for one in tokens]
    print_table("Tokens", ("name", "scope", "made", "ends"), rows)


@app.command("revoke")
def revoke(name: Name, *, config: ConfigPath = Path("node.toml"), as_json: AsJson = False) -> None:
    """Take a token back; a running node refuses it from the next request on."""
    from node.tokens import revoke_token

    gone = revoke_token(_directory(config), name)
    if as_json:
        print_json(_shown(gone))
        return
    print(f"{name} is revoked")


def _directory(config: Path) -> Path:
    from node.config import load_config

    directory = load_config(config).config.node.data_dir
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _shown(token: Token) -> dict[str, str | int | None]:
    return {
        "name": token.name,
        "scope": token.scope,
        "created_ms": token.created_ms,
        "expires_ms": token.expires_ms,
    }
