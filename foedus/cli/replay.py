"""`foedus replay`: a recorded log of consensus events once more. One law: exit 3 says that a step differs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.output import EXIT_DIFFERENT, AsJson, Json, print_json

if TYPE_CHECKING:
    from node.replaying import Replay


def register(root: typer.Typer) -> None:
    """Add the command of this module."""
    root.command("replay")(replay)


def replay(
    path: Annotated[Path, typer.Argument(metavar="LOG", help="A segment, or the directory `recording` of a node.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Run a node's recorded consensus events through the same core and compare every effect; exit 3 on a difference."""
    from node.replaying import replay as replayed
    from node.replaying import segments_of

    found = [replayed(segment) for segment in segments_of(path)]
    if as_json:
        print_json({"identical": not any(one.difference for one in found), "segments": [_tree(one) for one in found]})
    else:
        for one in found:
            _print(one)
    if any(one.difference for one in found):
        sys.exit(EXIT_DIFFERENT)


def _tree(one: Replay) -> dict[str, Json]:
    difference = one.difference
    return {
        "path": str(one.path),
        "validator": one.validator,
        "version": one.version,
        "first_height": one.first,
        "last_height": one.last,
        "events": one.entries,
        "difference": None
        if difference is None
        else {
            "entry": difference.entry,
            "event": difference.event,
            "effect": difference.effect,
            "recorded": difference.recorded,
            "replayed": difference.replayed,
        },
    }


def _print(one: Replay) -> None:
    whose = f"validator {one.validator}" if one.validator else "a follower"
    what = f"{one.path}: {one.entries} events of {whose}, heights {one.first} to {one.last}, version {one.version}"
    difference = one.difference
    if difference is None:
        print(f"{what}: identical")
        return
    print(f"{what}: DIFFERENT at entry {difference.entry} ({difference.event}), effect {difference.effect}")
    print(f"  recorded  {difference.recorded}")
    print(f"  replayed  {difference.replayed}")
