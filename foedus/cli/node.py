"""`foedus node run`, `foedus config`: an institution's node. One law: a node with faulty settings does not start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foedus.cli.output import AsJson, print_json, print_table

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", help="The node's settings (TOML).", envvar="FOEDUS_CONFIG", dir_okay=False)
]

app = typer.Typer(help="Run an institution's node.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="node")
    root.command("config")(config)


@app.command("run")
def run(*, path: ConfigPath = Path("node.toml")) -> None:
    """Run a node until SIGTERM or Ctrl-C; everything it says of itself goes to standard error."""
    from node.config import load_config
    from node.logs import configure
    from node.service import run_node

    loaded = load_config(path)
    configure(loaded.config.logging.level, loaded.config.logging.format, node=loaded.config.node.name)
    run_node(loaded.config)


def config(*, path: ConfigPath = Path("node.toml"), as_json: AsJson = False) -> None:
    """Print a node's effective settings, each with its source: file, environment or default."""
    from node.config import effective, load_config

    shown = effective(load_config(path))
    if as_json:
        print_json({name: {"value": value, "source": source} for name, (value, source) in shown.items()})
        return
    rows = [(name, "" if value is None else str(value), source) for name, (value, source) in shown.items()]
    print_table(f"Settings of {path}", ("setting", "value", "source"), rows)
