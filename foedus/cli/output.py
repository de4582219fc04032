"""What commands print. One law: results go to standard output, everything else to standard error.

With `--json` a command prints exactly one JSON value, and nothing that is not JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, NoReturn, TypeAlias

import typer

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of text.")]

EXIT_FAILED = 1
EXIT_DIFFERENT = 3
EXIT_PARTIAL = 4
"""Nothing differs, and not everything that was asked for could be checked."""


class CommandError(Exception):
    """A command cannot do what was asked; the message says what to do about it."""


def print_json(value: Json) -> None:
    """Print one JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns: a table on a terminal, tab-separated lines elsewhere."""
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_facts(title: str, facts: Mapping[str, str]) -> None:
    """Print names with their values, one a line."""
    width = max((len(name) for name in facts), default=0)
    if sys.stdout.isatty():
        print(title)
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def say(message: str) -> None:
    """Tell the person something that is not the result."""
    print(message, file=sys.stderr)


def fail(message: str) -> NoReturn:
    """Say why the command failed and end the process."""
    say(f"foedus: {message}")
    sys.exit(EXIT_FAILED)


def is_debugging() -> bool:
    """Tell whether the person asked for tracebacks (`FOEDUS_DEBUG=1`)."""
    return os.environ.get("FOEDUS_DEBUG", "") not in {"", "0"}
