"""The command line `foedus`. One law: every command says what it did, in words for people and in JSON for scripts.

Modules here are light: what a command needs is imported when it runs, so that `foedus --help` answers at once. Commands
raise the typed errors of the rooms; `main` turns those that a person can do something about into one message and exit
code 1 (2 for wrong usage, 3 when an audit found differences).
"""

from __future__ import annotations

import importlib.util
import os
import sys

import typer

from foedus.cli import (
    audit,
    backup,
    budgets,
    completion,
    decisions,
    doctor,
    facts,
    genesis,
    keys,
    local,
    models,
    node,
    participants,
    policies,
    queries,
    replay,
    rounds,
    sites,
    submit,
    tasks,
    token,
    validators,
    verify,
)
from foedus.cli.output import AsJson, CommandError, fail, is_debugging, print_json

app = typer.Typer(
    name="foedus",
    help="A consortium ledger that trains models: every model is certified, every update is on the record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # with markup, `--help` would import half of rich: 0.2 s
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    keys,
    genesis,
    local,
    node,
    doctor,
    backup,
    token,
    queries,
    tasks,
    validators,
    policies,
    budgets,
    sites,
    decisions,
    participants,
    rounds,
    submit,
    models,
    facts,
    verify,
    audit,
    replay,
    completion,
):
    module.register(app)
if importlib.util.find_spec("foedus.cli.demo") is not None:
    importlib.import_module("foedus.cli.demo").register(app)


@app.command(help="Print the version.")
def version(*, as_json: AsJson = False) -> None:
    """Print the installed version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        found = installed("foedus")
    except PackageNotFoundError:
        found = "not installed (running from the source tree)"
    if as_json:
        print_json({"version": found})
    else:
        print(found)


def main() -> None:
    """Run the command that the process's arguments name; exit with its code."""
    try:
        app(prog_name="foedus")
    except CommandError as error:
        fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has had enough; Python would complain once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if is_debugging() or not _is_for_people(error):
            raise
        fail(str(error))


def _is_for_people(error: Exception) -> bool:
    """Tell whether an error is one of ours, whose messages say what to do, or the disk's."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in {
        "foedus",
        "node",
        "genesis",
        "consensus",
        "fl",
        "ledger",
    }
