"""Recordings of replicas, replayed against the specification. One law: the specification says what is a step, not we.

A recording becomes a Quint module whose one run follows it line by line; the run is stopped by the first line that the
specification does not allow, or whose disk is not as it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.specification.cores import FIRST, HEIGHTS, SECOND, VIEW_MAX, Entry, Recording
from tests.specification.quint import SPECIFICATION, Search, search
from tests.specification.words import CHANGE, Claim, Memory, Move, Said

_STOPPED: Final = "stopped at line"

_MODULE: Final = """module recorded {{
  import consensus(
    FIRST = {first}, SECOND = {second}, LIARS = Set({liars}), BLOCKS = Set({blocks}), CHANGES = Set({changes}),
    HEIGHT_MAX = {heights}, VIEW_MAX = {views}, DECIDED = []
  ).*

  type Line = {{ kind: str, move: Move, height: int, mine: Memory }}

  pure def claim(view: int, block: str): Claim = {{ view: view, block: block }}

  pure def did(kind: str, who: int, view: int, block: str, demanded: Claim, height: int, mine: Memory): Line = {{
    kind: "did", move: {{ kind: kind, who: who, view: view, block: block, demanded: demanded }}, height: height,
    mine: mine,
  }}

  pure def spoke(kind: str, who: int, height: int, view: int, claim: Claim): Line = {{
    kind: "said", move: {{ kind: kind, who: who, view: view, block: "", demanded: claim }}, height: height,
    mine: blank([], 0),
  }}

  pure val ANEW: Line = {{ kind: "anew", move: NO_MOVE, height: 0, mine: blank([], 0) }}

  pure def disk(view: int, demanded: Claim, prepared: Claim, locked: Claim, asked: int): Memory =
    {{ ...blank([], 0), view: view, demanded: demanded, prepared: prepared, locked: locked, asked: asked }}

  /// A proposal may carry another certificate than the one that opened the view; it is the block that counts then.
  pure def isSame(move: Move, other: Move): bool =
    if (move.kind == "prepare") {{ ...move, demanded: NONE }} == {{ ...other, demanded: NONE }} else move == other

  pure def isHeard(now: State, line: Line): bool = {{
    val vote = {{
      height: line.height, view: line.move.view, block: line.move.demanded.block, sender: line.move.who,
    }}
    if (line.move.kind == "prepare") now.prepares.contains(vote)
    else if (line.move.kind == "commit") now.commits.contains(vote)
    else now.changes.contains(
      {{ height: line.height, view: line.move.view, prepared: line.move.demanded, sender: line.move.who }})
  }}

  pure def isAllowed(now: State, line: Line): bool =
    if (line.kind == "anew") true
    else if (line.kind == "said") now.isHeard(line)
    else and {{
      now.movesOf(line.move.who).exists(move => isSame(move, line.move)),
      val mine = now.after(line.move, false).disk.get(line.move.who)
      heightOf(mine) == line.height and {{ ...mine, chain: [] }} == line.mine,
    }}

  pure def follow(now: State, line: Line): State =
    if (line.kind == "anew") BEGINNING else if (line.kind == "said") now else now.after(line.move, false)

  pure val LINES: List[Line] = [
{lines}
  ]

  pure def conforms(lines: List[Line]): bool = {{
    val done = lines.foldl({{ now: BEGINNING, place: 0, isStopped: false }}, (done, line) =>
      if (done.isStopped) done
      else if (not(done.now.isAllowed(line) and isSafe(done.now))) {{ ...done, isStopped: true }}
      else {{ ...done, now: done.now.follow(line), place: done.place + 1 }})
    q::debug("{stopped}", done.place) == lines.length() and isSafe(done.now)
  }}
}}
"""


def first_difference(recordings: Iterable[Recording], liars: frozenset[int], directory: Path) -> str:
    """Replay recordings; return the first line that the specification does not allow, or ""."""
    entries: list[Entry | None] = []
    blocks: set[str] = set()
    for recording in recordings:
        entries += [None, *recording.entries]
        blocks |= set(recording.names.all())
    text = _MODULE.format(
        first=list(FIRST),
        second=list(SECOND),
        liars=", ".join(map(str, sorted(liars))),
        blocks=", ".join(f'"{name}"' for name in sorted(blocks)),
        changes=", ".join(f'"{name}"' for name in sorted(blocks) if name.startswith(CHANGE)),
        heights=HEIGHTS,
        views=VIEW_MAX,
        stopped=_STOPPED,
        lines=",\n".join(f"    {_line(entry)}" for entry in entries),
    )
    source = directory / "recorded.qnt"
    source.write_text(SPECIFICATION.read_text(encoding="utf-8") + text, encoding="utf-8")
    found = search(Search("recorded", 1, 0, invariant="conforms(LINES)"), source)
    if not found.violated:
        return ""
    place = int(found.output.split(_STOPPED)[1].split()[0])
    before = "".join(f"\n  {entry}" for entry in entries[max(0, place - 8) : place])
    return f"line {place} is no step of the specification: {entries[place]}; before it:{before}"


def _line(entry: Entry | None) -> str:
    match entry:
        case None:
            return "ANEW"
        case Entry(Said(kind, who, height, view, claim)):
            return f'spoke("{kind}", {who}, {height}, {view}, {_claim(claim)})'
        case Entry(Move(kind, who, view, block, demanded), Memory() as after):
            words = ", ".join(map(_claim, (after.demanded, after.prepared, after.locked)))
            mine = f"disk({after.view}, {words}, {after.asked})"
            return f'did("{kind}", {who}, {view}, "{block}", {_claim(demanded)}, {after.height}, {mine})'
        case _:
            raise AssertionError(entry)


def _claim(claim: Claim) -> str:
    return "NONE" if claim == Claim() else f'claim({claim.view}, "{claim.block}")'
