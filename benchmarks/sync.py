"""How fast a new node catches up: by blocks from genesis, and by headers and a certified state.

    python -m benchmarks.sync [--blocks 3000] [--headers 12000] [--transactions 2] [--json]

A consortium of four with a long chain on three disks; the fourth node starts with nothing, while the other three run on
the same machine. Blocks are timed from the first to the last that it has on its disk, executed; headers by the node's
own count, from the first to the last whose certificate it has verified. Beside the rates stand those for each second of
processor time that the node had, which other work on the machine does not change. With `--json` the last line is one
object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.consortium import fsync_ms
from benchmarks.long_chain import Author, copy_chain, height_of
from benchmarks.waiting import until
from foedus.cli.api import Node
from foedus.cli.output import CommandError
from foedus.demo.processes import Processes
from genesis.local import LocalConsortium, LocalNode, LocalPlan, make_local
from node.store import StoreError
from node.view import NodeStatus, SyncStatus

SECONDS_MAX: Final = 600.0
AGE_MS: Final = 100_000_000
NAMES: Final = tuple(f"site-{number:02d}" for number in range(1, 5))


@contextmanager
def long_chain(blocks: int, transactions: int) -> Iterator[tuple[LocalConsortium, Processes]]:
    """Run three nodes of four that have a chain of so many blocks."""
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        past_ms = time.time_ns() // 1_000_000 - AGE_MS
        consortium = make_local(Path(directory) / "c", LocalPlan(NAMES, ()), time_ms=past_ms)
        first, *others, _ = consortium.nodes
        Author.of(consortium).write(first, blocks, transactions)
        for node in others:
            copy_chain(first, node)
        with Processes(Path(directory) / "logs") as processes:
            for node in (first, *others):
                processes.start_node(node.name, node.config)
            for node in (first, *others):
                until(lambda node=node: status(node) is not None, SECONDS_MAX, "an answer of the three")  # type: ignore[misc]
            yield consortium, processes


def by_blocks(blocks: int, transactions: int) -> dict[str, float]:
    """Catch up from genesis."""
    with long_chain(blocks, transactions) as (consortium, processes):
        node = consortium.nodes[-1]
        processes.start_node(node.name, node.config)
        until(lambda: _height(node) > 0, SECONDS_MAX, "a first block")
        began, used, first = time.perf_counter(), _cpu_s(processes, node), _height(node)
        until(lambda: _height(node) >= blocks, SECONDS_MAX, "all blocks")
        seconds, used = time.perf_counter() - began, _cpu_s(processes, node) - used
    done = blocks - first
    return {"blocks_per_s": round(done / seconds, 1), "blocks_per_cpu_s": round(done / used, 1), "blocks": blocks}


def by_snapshot(blocks: int) -> dict[str, float]:
    """Catch up with headers and a state."""
    with long_chain(blocks, 0) as (consortium, processes):
        node = consortium.nodes[-1]
        text = node.config.read_text(encoding="utf-8")
        node.config.write_text(text + '\n[sync]\nsnapshot = "first"\n', encoding="utf-8")
        processes.start_node(node.name, node.config)
        until(lambda: status(node) is not None, SECONDS_MAX, "an answer of the new node")
        began, used = time.perf_counter(), _cpu_s(processes, node)
        rates: list[float] = []

        def is_done() -> bool:
            found = status(node)
            sync = SyncStatus() if found is None else found.sync
            if sync.headers_per_s:
                rates.append(sync.headers_per_s)
            return found is not None and found.height >= blocks

        until(is_done, SECONDS_MAX, "the chain's height")
        seconds, used = time.perf_counter() - began, _cpu_s(processes, node) - used
    return {
        "headers_per_s": rates[-1] if rates else 0.0,
        "headers_per_cpu_s": round(blocks / used, 1),
        "headers": blocks,
        "start_to_tip_s": round(seconds, 2),
    }


def status(node: LocalNode) -> NodeStatus | None:
    """Return a node's status; None while it does not answer."""
    try:
        return Node(node.url, seconds_max=5).get(NodeStatus, "status")
    except CommandError:
        return None


def _cpu_s(processes: Processes, node: LocalNode) -> float:
    """Return the processor time that a node has had, all threads together."""
    fields = Path(f"/proc/{processes.running[f'node-{node.name}'].pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _height(node: LocalNode) -> int:
    try:
        return height_of(node.data)
    except StoreError:
        return 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--blocks", type=int, default=3_000)
    parser.add_argument("--headers", type=int, default=12_000)
    parser.add_argument("--transactions", type=int, default=2, help="transactions in each of the blocks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as directory:
        found: dict[str, object] = {
            "processors": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
            "fdatasync_ms": fsync_ms(Path(directory)),
        }
    found |= by_blocks(options.blocks, options.transactions)
    found |= by_snapshot(options.headers)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
