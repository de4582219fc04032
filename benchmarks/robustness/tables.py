"""Tables as text, Markdown and SVG. One law: figures are printed as they are, with no more digits than seeds allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from benchmarks.robustness.attacks import ATTACKS
from benchmarks.robustness.study import Cell

Rows = Mapping[str, Mapping[str, Cell]]
"""Cells by rule and attack."""

CELL_WIDTH: Final = 66
CELL_HEIGHT: Final = 24
LABEL_WIDTH: Final = 190


def percent(share: float) -> str:
    """Return a share as per cent."""
    return f"{100 * share:.1f}"


def worst(cells: Mapping[str, Cell]) -> float:
    """Return the lowest accuracy under any attack."""
    return min(cell.accuracy for cell in cells.values())


def tried(rows: Rows) -> list[str]:
    """Return the attacks that any of the rules was tried with, in their usual order."""
    return [attack for attack in ATTACKS if any(attack in cells for cells in rows.values())]


def as_text(title: str, rows: Rows) -> str:
    """Return a table for a terminal: one line an attack."""
    rules = list(rows)
    attacks = tried(rows)
    width = max(map(len, (*rules, "worst site 00.0")))
    lines = [title, f"{'':16}" + "".join(f"  {rule:>{width}}" for rule in rules)]
    lines += [
        f"{attack:16}" + "".join(f"  {_cell(rows[rule][attack]):>{width}}" for rule in rules) for attack in attacks
    ]
    lines.append(f"{'worst':16}" + "".join(f"  {percent(worst(rows[rule])):>{width}}" for rule in rules))
    return "\n".join(lines)


def as_markdown(rows: Rows) -> str:
    """Return a table of accuracies: one row a rule."""
    attacks = tried(rows)
    lines = ["| | " + " | ".join(attacks) + " | worst |", "|---" * (len(attacks) + 2) + "|"]
    for rule, cells in rows.items():
        figures = " | ".join(percent(cells[attack].accuracy) if attack in cells else "" for attack in attacks)
        lines.append(f"| {rule} | {figures} | **{percent(worst(cells))}** |")
    return "\n".join(lines)


def as_svg(tables: Mapping[str, Rows]) -> str:
    """Return all tables as one picture: a cell is the greener the nearer its accuracy is to the table's best."""
    parts: list[str] = []
    height, widest = 10, 0
    for title, rows in tables.items():
        attacks = tried(rows)
        widest = max(widest, len(attacks))
        best = max(cell.accuracy for cells in rows.values() for cell in cells.values())
        parts.append(_text(8, height + 14, title, "start", bold=True))
        height += 86
        parts += [
            f'<text transform="translate({_x(place) + 36},{height - 6}) rotate(-40)">{escape(attack)}</text>'
            for place, attack in enumerate(attacks)
        ]
        for rule, cells in rows.items():
            parts.append(_text(LABEL_WIDTH - 8, height + 16, rule, "end"))
            for place, attack in enumerate(attacks):
                if attack not in cells:
                    continue
                parts += _box(_x(place), height, cells[attack].accuracy, best)
            height += CELL_HEIGHT
        height += 26
    width = LABEL_WIDTH + widest * CELL_WIDTH + 60
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    head += ' font-size="12">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#fff"/>', *parts, "</svg>\n"])


def retained_line(retained: Sequence[float]) -> str:
    """Return the shares that the rule kept of each participant, ascending."""
    return " ".join(f"{100 * share:.0f}" for share in retained)


def _cell(cell: Cell) -> str:
    said = f"{percent(cell.accuracy)} / {percent(cell.worst_site)}"
    if cell.success:
        said += f" !{100 * cell.success:.0f}"
    return said + (f" {cell.failed:.0f} failed" if cell.failed else "")


def _x(place: int) -> int:
    return LABEL_WIDTH + place * CELL_WIDTH


def _box(x: int, y: int, accuracy: float, best: float) -> list[str]:
    lost = min(max((best - accuracy) / 0.4, 0.0), 1.0)
    colour = f"hsl({120 * (1 - lost):.0f},60%,{78 - 12 * lost:.0f}%)"
    box = f'<rect x="{x}" y="{y}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" fill="{colour}"/>'
    return [box, _text(x + CELL_WIDTH // 2, y + 16, percent(accuracy), "middle")]


def _text(x: int, y: int, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
