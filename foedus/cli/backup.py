"""`foedus backup`, `foedus restore`: a node's data kept elsewhere. One law: what comes back signs nothing too early."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.node import ConfigPath
from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json

if TYPE_CHECKING:
    from node.backup import Copied
    from node.config import Config

DATA_NAME = "data"
GENESIS_NAME = "genesis.json"
SIGNATURES_NAME = "signatures.json"


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.command("backup")(backup)
    root.command("restore")(restore)


def backup(
    target: Annotated[Path, typer.Argument(help="Directory to make; must not exist.")],
    *,
    payloads: Annotated[
        bool, typer.Option("--payloads", help="Also updates and models, and the keys that open them.")
    ] = False,
    path: ConfigPath = Path("node.toml"),
    as_json: AsJson = False,
) -> None:
    """Copy a node's chain, settings and genesis document, while it runs; never a signing key."""
    from node.backup import back_up, is_inside
    from node.config import load_config

    config = load_config(path).config
    if is_inside(target, config.node.data_dir):
        raise CommandError(f"{target} is inside the data directory: name a place that is not lost with it")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} exists: nothing is overwritten; name another place")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    copied = back_up(config.node.data_dir, target / DATA_NAME, payloads=payloads)
    shutil.copyfile(path, target / path.name)
    shutil.copyfile(config.genesis.path, target / GENESIS_NAME)
    if config.genesis.signatures is not None:
        shutil.copyfile(config.genesis.signatures, target / SIGNATURES_NAME)
    _tell(f"Copied to {target}:", copied, as_json=as_json)


def restore(
    source: Annotated[Path | None, typer.Argument(help="What `foedus backup` made; nothing with --from-peers.")] = None,
    *,
    from_peers: Annotated[
        bool, typer.Option("--from-peers", help="There is no backup: let the peers give the whole chain.")
    ] = False,
    path: ConfigPath = Path("node.toml"),
    as_json: AsJson = False,
) -> None:
    """Make a lost data directory anew; its node signs nothing before a block of after its start."""
    from genesis.document import load_document
    from node.backup import restore as put_back
    from node.config import load_config

    if (source is None) != from_peers:
        raise CommandError("name a backup, or say --from-peers when there is none")
    config = load_config(path).config
    document = load_document(config.genesis.path)
    copied = put_back(None if source is None else _data_in(source), config.node.data_dir, document.chain_id)
    _tell(f"{config.node.data_dir} is there again; {_next(config)}", copied, as_json=as_json)


def _data_in(source: Path) -> Path:
    return source / DATA_NAME if (source / DATA_NAME).is_dir() else source


def _next(config: Config) -> str:
    return f"start {config.node.name}, and it signs again with the first block of after its start:"


def _tell(title: str, copied: Copied | None, *, as_json: bool) -> None:
    block = "" if copied is None or copied.block_id is None else copied.block_id.hex()
    facts: dict[str, Json] = {
        "height": 0 if copied is None else copied.height,
        "block": block,
        "payloads": 0 if copied is None else copied.payloads,
        "bytes": 0 if copied is None else copied.size_bytes,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts(title, {name: str(value) for name, value in facts.items()})
