"""The command. One law: what was not run is said."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Final

from benchmarks.robustness import goals, mediswarm
from benchmarks.robustness.contestants import PEERS
from benchmarks.robustness.goals import DESIGN_ATTACKS
from benchmarks.robustness.peers import PeerMissingError, Peers
from benchmarks.robustness.study import POOLED, Cell, Scene, Study, Table, digits, heart, local, mnist
from benchmarks.robustness.tables import Rows, as_markdown, as_svg, as_text, retained_line
from fl.optimisers import OptimiserSpec

BOTH: Final = ("mean", "arc-nnm")
OTHERS: Final = ("nnm", "arc-nnm-cc", "caf", "flame", "multi-krum", "geometric-median", "median")
HARD: Final = ("none", "sign flip", "label flip", "FOE x10", "NaN bytes", "adaptive any")
"""Attacks that hurt the default most and do not resemble each other: those that all is compared with."""

BLATANT: Final = (*HARD, "sign flip x10", "scale x1000", "gaussian")
FIFTEEN: Final = digits("0.1", participants=15, rounds=400)
MOMENTUM: Final = OptimiserSpec("momentum/1", 100_000, 900)
ADAM: Final = OptimiserSpec("adam/1", 5_000, 900, 990, 1_000)
SECTIONS: Final[dict[str, tuple[Table, ...]]] = {
    "unlike": (
        *(Table(digits(alpha), ("arc-nnm",)) for alpha in ("0.3", "iid", "0.1", "1")),
        *(Table(digits(alpha), ("mean",), BLATANT) for alpha in ("0.3", "iid", "0.1", "1")),
    ),
    "fifteen": (
        Table(FIFTEEN, ("arc-nnm",), tuple({**dict.fromkeys(DESIGN_ATTACKS), "min-max": None, "adaptive any": None})),
        Table(replace(FIFTEEN, rounds=150), ("arc-nnm",), DESIGN_ATTACKS),
    ),
    "local": (
        Table(local("0.3"), (*BOTH, "arc-nnm-cc", "geometric-median"), HARD),
        *(Table(local(alpha), BOTH, HARD) for alpha in ("iid", "0.1")),
    ),
    "heart": (Table(heart(), ("mean", "nnm", "arc-nnm", "weighted-trimmed-mean", "geometric-median")),),
    "rules": (Table(digits("0.3"), OTHERS, HARD),),
    "share": tuple(Table(digits("0.3", liars=liars), ("arc-nnm",), HARD) for liars in (1, 2, 4)),
    "momentum": (Table(digits("0.3", momentum=0.0), ("arc-nnm",), HARD),),
    "unequal": (Table(digits("unequal"), ("mean", "arc-nnm", "weighted-trimmed-mean"), HARD),),
    "optimisers": tuple(Table(replace(digits("0.3"), optimiser=one), ("arc-nnm",), HARD) for one in (MOMENTUM, ADAM)),
    "mnist": (Table(mnist("0.3"), BOTH, BLATANT),),
}
PEERS_SECTION: Final = "peers"
MEDISWARM: Final = "mediswarm"
QUICK_ATTACKS: Final = (
    "none",
    "sign flip",
    "label flip",
    "scale x1000",
    "ALIE",
    "FOE x10",
    "NaN bytes",
    "backdoor x10",
)


def main() -> None:
    """Run what is asked for."""
    options = _options()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    wanted = options.only or (
        ["unlike", "heart", MEDISWARM] if options.quick else [*SECTIONS, PEERS_SECTION, MEDISWARM]
    )
    tables: dict[str, Rows] = {}
    skipped: list[str] = []
    with ExitStack() as stack:
        peers = stack.enter_context(Peers(options.peers_python)) if options.peers_python else None
        study = Study(1 if options.quick else options.seeds, options.cache, peers)
        for table in _tables(wanted, peers, skipped, quick=options.quick):
            try:
                rows = _shown(study, table)
            except ImportError as error:
                skipped.append(f"{table.scene.title}: {error}")
                continue
            tables[table.scene.title] = {**tables.get(table.scene.title, {}), **rows}
    moved = mediswarm.errors(1 if options.quick else options.seeds) if MEDISWARM in wanted else {}
    reached = goals.reached(tables, moved)
    for rule, cases in moved.items():
        print(f"{rule:26} error of the aggregate: " + ", ".join(f"{case} {error:.3f}" for case, error in cases.items()))
    for line in (*goals.lines(reached), *(f"skipped: {reason}" for reason in skipped)):
        print(line)
    if options.out is not None:
        _write(options.out, tables)
    if options.json:
        figures = {
            title: {
                rule: {attack: round(100 * cell.accuracy, 2) for attack, cell in cells.items()}
                for rule, cells in rows.items()
            }
            for title, rows in tables.items()
        }
        print(
            json.dumps(
                {"goals": reached, "tables": figures, "mediswarm": moved, "skipped": skipped, "seconds": process_time()}
            )
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description="Training under attack.")
    parser.add_argument("--quick", action="store_true", help="one seed, few rounds, some attacks: under a minute")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS, PEERS_SECTION, MEDISWARM])
    parser.add_argument("--cache", type=Path, help="keeps the cells that are known")
    parser.add_argument("--out", type=Path, help="writes robustness-tables.md and robustness.svg into this directory")
    parser.add_argument("--peers-python", type=Path, help="an interpreter that has ByzFL and Flower")
    return parser.parse_args()


def _tables(wanted: list[str], peers: Peers | None, skipped: list[str], *, quick: bool) -> Iterator[Table]:
    for name in wanted:
        for table in SECTIONS.get(name, ()):
            yield replace(table, scene=_quick(table.scene), attacks=QUICK_ATTACKS) if quick else table
    if PEERS_SECTION not in wanted:
        return
    for library, rules in PEERS.items():
        if peers is None:
            skipped.append(f"{library}: no interpreter was given by --peers-python")
            continue
        try:
            peers.rule(library, rules[0], 1)
        except PeerMissingError as error:
            skipped.append(str(error))
        else:
            yield Table(digits("0.3"), tuple(f"{library}:{rule}" for rule in rules), HARD)


def _quick(scene: Scene) -> Scene:
    return replace(scene, rounds=min(scene.rounds, 100))


def _shown(study: Study, table: Table) -> dict[str, dict[str, Cell]]:
    """Run a table and print it, with what it is held against."""
    together = study.cell(table.scene, POOLED, "none")
    rows = dict(study.cells(table))
    print(as_text(table.scene.title, rows))
    print(f"{'in one place':16}  {100 * together.accuracy:.1f}")
    for rule, cells in rows.items():
        if ":" in rule:  # what others kept is not known
            continue
        print(
            f"retained by {rule}, per cent of each participant, nobody lying: {retained_line(cells['none'].retained)}"
        )
    print(flush=True)
    return rows


def _write(directory: Path, tables: dict[str, Rows]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join(f"**{title}**\n\n{as_markdown(rows)}" for title, rows in tables.items())
    (directory / "robustness-tables.md").write_text(text + "\n", encoding="utf-8")
    (directory / "robustness.svg").write_text(as_svg(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
