"""`foedus demo`: see it work on this machine. One law: it is the same software that institutions run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foedus.cli.output import CommandError, print_json

ROUNDS_DEFAULT = 25
MALICIOUS_FROM = 5


def register(root: typer.Typer) -> None:
    """Add the command of this module."""
    root.command("demo")(demo)


def demo(  # noqa: PLR0913 - options of a command
    *,
    use_case: Annotated[str, typer.Option("--use-case", help="What is learned: heart, digits or fraud.")] = "heart",
    rounds: Annotated[int, typer.Option(help="Rounds of training.", min=1, max=1_000)] = ROUNDS_DEFAULT,
    rule: Annotated[
        str | None, typer.Option(help="Aggregation rule, such as nnm or multi-krum (docs/rules.md).")
    ] = None,
    attack: Annotated[str, typer.Option(help="What malicious trainers do: sign-flip, or none.")] = "sign-flip",
    malicious_from: Annotated[int, typer.Option(help="First round of the attack.", min=1)] = MALICIOUS_FROM,
    no_fault: Annotated[bool, typer.Option("--no-fault", help="Do not kill a validator in mid-run.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Keep keys, settings and each node's data in this new directory.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the consortium running and print its URLs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Start a consortium of real processes, train under attack, kill a validator, compare, audit."""
    from rich.console import Console

    from examples.attack import ATTACKS
    from foedus.demo.run import Options, run_demo
    from foedus.demo.use_case import USE_CASES
    from genesis.reading import nearest

    if use_case not in USE_CASES:
        raise CommandError(f"no use case is named {use_case}; {nearest(use_case, list(USE_CASES))}")
    if attack not in {*ATTACKS, "none"}:
        raise CommandError(f"no attack is named {attack}; {nearest(attack, [*ATTACKS, 'none'])}")
    options = Options(
        rounds=rounds,
        rule=rule,
        attack=None if attack == "none" else attack,
        malicious_from=malicious_from,
        fault=not no_fault,
        data=data,
        keep=keep,
        quiet=False,
    )
    outcome = run_demo(USE_CASES[use_case](), options)
    if not keep:
        outcome.show(Console(stderr=as_json, soft_wrap=True))
    if as_json:
        print_json(outcome.as_json())
