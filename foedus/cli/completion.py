"""`foedus completion`: the shell finishes words. One law: printed, never written into anybody's profile."""

from __future__ import annotations

from typing import Annotated

import typer

from foedus.cli.output import CommandError

SHELLS = ("bash", "zsh", "fish")


def register(root: typer.Typer) -> None:
    """Add the command of this module."""
    root.command("completion")(completion)


def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print a shell's completion script: eval "$(foedus completion bash)"."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # it is what --show-completion prints

    if shell not in SHELLS:
        raise CommandError(f"no completion for {shell}; known are {', '.join(SHELLS)}")
    print(get_completion_script(prog_name="foedus", complete_var="_FOEDUS_COMPLETE", shell=shell))
