"""Aggregation beside Flower, ByzFL and numpy, in one run on one machine.

    python -m benchmarks.aggregation [--quick] [--json] [--peers-python PATH]

For every rule, K updates and d words: seconds of our rule (Gram matrix, decision, last pass; `rule`), of the whole of
what a round computes (range, norms, peaks and the rule; `round`), of plain numpy on float32, and of the peers, each in
turn, the fewest of some repetitions. Flower counts with the faster of its two APIs. The peers are found in the
interpreter that `--peers-python` names, an environment of their own, since this project does not depend on them:

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install numpy scipy torch torchvision matplotlib seaborn "flwr==1.42.0" "byzfl==0.0.11"

With --json the last line is one object: `ratio_vs_flower` and `ratio_vs_byzfl` {rule: {K: ratio}}, of the largest size
that was measured; `cpu_ratio_vs_flower` and `cpu_ratio_vs_byzfl`, the same of processor seconds of all threads, which
other work on the machine does not spoil as much; `seconds` {d: {rule: {K: all of it}}}; `bandwidth_fraction` {rule:
{K: share of the read bandwidth measured in the same run}}; `peak_memory_ratio` {K: Flower's peak over ours}; `start`:
seconds that a new interpreter needs to import, for a first aggregation and for a second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tracemalloc
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from fl.aggregators import RuleSpec, Work, decide
from fl.aggregators.clip import WHOLE
from fl.aggregators.combine import LastPass, last_pass
from fl.aggregators.gram import gram_matrix
from fl.aggregators.mixing import mixed_gram
from fl.aggregators.nnm import nearest_neighbourhoods
from fl.aggregators.plan import Situation
from fl.aggregators.registry import RULES
from fl.aggregators.rows import Rows
from fl.aggregators.weights import apportion
from fl.kernels import library
from fl.schema import Segment
from node.aggregation.team import Team
from node.memory import keep_freed_memory

SEED: Final = 7
EXPONENT: Final = -3
Words = NDArray[np.int16]
SPECS: Final[dict[str, Callable[[int], RuleSpec]]] = {
    "mean": lambda _: RuleSpec("weighted-mean/1", 0),
    "median": lambda f: RuleSpec("median/1", f),
    "trimmed-mean": lambda f: RuleSpec("trimmed-mean/1", f),
    "krum": lambda f: RuleSpec("krum/1", f),
    "geometric-median": lambda f: RuleSpec("geometric-median/1", f),
    "nnm+trimmed-mean": lambda f: RuleSpec("trimmed-mean/1", f, ("nnm/1",)),
}


@dataclass
class Row:
    """One measurement, in seconds."""

    rule: str
    K: int
    d: int
    rule_seconds: float
    round_seconds: float
    numpy_seconds: float | None
    bandwidth_fraction: float
    peak_bytes: int
    rule_cpu_seconds: float
    flower_seconds: float | None = None
    byzfl_seconds: float | None = None
    flower_cpu_seconds: float | None = None
    byzfl_cpu_seconds: float | None = None
    flower_peak_bytes: int | None = None
    notes: list[str] = field(default_factory=list)


def liars(count: int) -> int:
    """Return the f that is measured: a fifth, at least one."""
    return max(1, count // 5)


def words_of(count: int, size: int) -> Words:
    """Return the updates, the same as the peers'."""
    return np.random.default_rng(SEED).integers(-3000, 3001, (count, size), dtype=np.int16)


def fewest(work: Callable[[], object], repeats: int, clock: Callable[[], float] = perf_counter) -> float:
    """Return the fewest seconds of some repetitions, by a clock of time or of work."""
    best = 1e9
    for _ in range(repeats):
        began = clock()
        work()
        best = min(best, clock() - began)
    return best


def segments(words: Words) -> tuple[Segment, ...]:
    """Return one tensor."""
    return (Segment(0, words.shape[1], EXPONENT),)


def rule_alone(spec: RuleSpec, words: Words, work: Work) -> None:
    """Do what the rule needs and nothing of what else a round wants to know."""
    rule, count = RULES[spec.rule], len(words)
    rows = Rows(words, (WHOLE,) * count, segments(words), work)
    gram = gram_matrix(rows) if rule.needs_gram or spec.pre else ()
    mixing = nearest_neighbourhoods(gram, spec.f) if spec.pre else None
    situation = Situation(
        count=count,
        shares=apportion([1] * count) if rule.weighted else (),
        gram=gram if mixing is None or not rule.needs_gram else mixed_gram(gram, mixing),
        weight=1 if mixing is None else mixing.weight,
    )
    last = last_pass(rows, rule.plan(spec, situation), mixing)
    sum_up(last, work)


def sum_up(last: LastPass, work: Work) -> None:
    """Carry out the last pass; as in a node, whoever has the sums of a piece is done with them before the next."""

    def use(place: slice) -> None:
        last.sums(place)

    deque(work.run(use, last.places(0, last.rows.size)), maxlen=0)


def whole_round(spec: RuleSpec, words: Words, work: Work) -> None:
    """Do all that a round computes before it divides."""
    sum_up(decide(spec, words, [1] * len(words), segments(words), work=work).last_pass, work)


def with_numpy(rule: str, rows: NDArray[np.float32], f: int) -> object:
    """Do it as one would with numpy."""
    match rule:
        case "mean":
            return rows.mean(axis=0)
        case "median":
            return np.median(rows, axis=0)
        case "trimmed-mean":
            return np.sort(rows, axis=0)[f : len(rows) - f].mean(axis=0)
        case "krum":
            norms = np.square(rows).sum(axis=1)
            distances = norms[:, None] + norms[None, :] - 2 * rows @ rows.T
            return rows[np.sort(distances, axis=1)[:, 1 : len(rows) - f - 1].sum(axis=1).argmin()]
        case _:
            return None


def read_bandwidth(words: Words, threads: ThreadPoolExecutor) -> float:
    """Return bytes a second at which the updates can be read, by as many threads: largest words and squares of rows."""
    compiled, flat = library(), words.reshape(1, -1)
    pieces = [slice(start, start + (1 << 20)) for start in range(0, flat.shape[1], 1 << 20)]

    def read(place: slice) -> object:
        return flat[:, place].view(np.int64).max() if compiled is None else compiled.survey(flat[:, place])

    return words.nbytes / fewest(lambda: deque(threads.map(read, pieces), maxlen=0), 5)


class Peers:
    """The other side's interpreter; it is asked one thing at a time."""

    def __init__(self, python: str | None) -> None:
        self._process: subprocess.Popen[str] | None = None
        if python:
            script = Path(__file__).with_name("aggregation_peers.py")
            self._process = subprocess.Popen(
                [python, "-W", "ignore", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

    def ask(self, request: dict[str, object]) -> dict[str, Any]:
        """Return what the peers took; nothing without an interpreter of theirs."""
        if self._process is None:
            return {"flower_missing": "no --peers-python", "byzfl_missing": "no --peers-python"}
        _pipe(self._process.stdin).write(json.dumps(request) + "\n")
        _pipe(self._process.stdin).flush()
        line = _pipe(self._process.stdout).readline()
        if not line:
            self._process = None
            return {"flower_missing": "the peers' interpreter ended", "byzfl_missing": "the peers' interpreter ended"}
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the interpreter."""
        if self._process is not None:
            _pipe(self._process.stdin).close()
            self._process.wait(timeout=60)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "opened with pipes"
    return pipe


def measure(rule: str, words: Words, options: argparse.Namespace, threads: ThreadPoolExecutor, peers: Peers) -> Row:
    """Measure one rule on some updates, ours and theirs."""
    count, size = words.shape
    f, work = liars(count), Work(Team(threads, options.threads))
    spec = SPECS[rule](f)
    bandwidth = read_bandwidth(words, threads)
    rule_alone(spec, words[:, :1000], work)  # networks are made once a process
    seconds = fewest(lambda: rule_alone(spec, words, work), options.repeats)
    tracemalloc.start()
    rule_alone(spec, words, work)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row = Row(
        rule=rule,
        K=count,
        d=size,
        rule_seconds=seconds,
        round_seconds=fewest(lambda: whole_round(spec, words, work), options.repeats),
        numpy_seconds=_numpy_seconds(rule, words, f, options),
        bandwidth_fraction=words.nbytes / seconds / bandwidth,
        peak_bytes=peak,
        rule_cpu_seconds=fewest(lambda: rule_alone(spec, words, work), options.repeats, process_time),
    )
    theirs = peers.ask(
        {
            "rule": rule,
            "K": count,
            "d": size,
            "f": f,
            "seed": SEED,
            "threads": options.threads,
            "repeats": 1 if options.quick or count * size > 2e8 else 2,
            "memory": rule == "median" and count * size <= 1e8,
            "bytes_max": options.bytes_max,
        }
    )
    row.flower_seconds = min(theirs.get("flower", {}).values(), default=None)
    row.byzfl_seconds = min(theirs.get("byzfl", {}).values(), default=None)
    row.flower_cpu_seconds = min(theirs.get("flower_cpu", {}).values(), default=None)
    row.byzfl_cpu_seconds = min(theirs.get("byzfl_cpu", {}).values(), default=None)
    row.flower_peak_bytes = theirs.get("flower_peak_bytes")
    row.notes = [f"{key}: {value}" for key, value in theirs.items() if key.endswith("missing")]
    return row


def _numpy_seconds(rule: str, words: Words, f: int, options: argparse.Namespace) -> float | None:
    if words.size * 12 > options.bytes_max or (options.quick and words.size > 1e8):
        return None
    rows = words.astype(np.float32)
    if with_numpy(rule, rows[:, :10], f) is None:
        return None
    return fewest(lambda: with_numpy(rule, rows, f), 1)


def start_seconds() -> dict[str, float]:
    """Return the seconds of a first and a second aggregation in a new interpreter, importing included in the first."""
    code = (
        "from time import perf_counter as now; t = now()\n"
        "import numpy as np\n"
        "from fl.aggregators import RuleSpec, aggregate\n"
        "from fl.schema import Segment\n"
        "w = np.zeros((10, 100_000), np.int16); s = (Segment(0, 100_000, 0),)\n"
        "i = now(); aggregate(RuleSpec('median/1', 1), w, [1] * 10, s); a = now()\n"
        "aggregate(RuleSpec('median/1', 1), w, [1] * 10, s); b = now()\n"
        "print(i - t, a - i, b - a)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, cold, warm = map(float, done.stdout.split())
    return {"import": imported, "cold": cold, "warm": warm}


def summary(rows: list[Row], start: dict[str, float]) -> dict[str, Any]:
    """Return the object of --json."""

    def ratios(field_name: str, base: str = "rule_seconds") -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for row in rows:
            theirs = getattr(row, field_name)
            if theirs is not None:
                found.setdefault(row.rule, {})[str(row.K)] = round(theirs / getattr(row, base), 2)
        return found

    by_size = {str(d): [row for row in rows if row.d == d] for d in sorted({row.d for row in rows})}
    return {
        "ratio_vs_flower": ratios("flower_seconds"),
        "ratio_vs_byzfl": ratios("byzfl_seconds"),
        "cpu_ratio_vs_flower": ratios("flower_cpu_seconds", "rule_cpu_seconds"),
        "cpu_ratio_vs_byzfl": ratios("byzfl_cpu_seconds", "rule_cpu_seconds"),
        "ratio_vs_numpy": ratios("numpy_seconds"),
        "round_ratio_vs_flower": ratios("flower_seconds", "round_seconds"),
        "bandwidth_fraction": {
            rule: {str(row.K): round(row.bandwidth_fraction, 3) for row in rows if row.rule == rule}
            for rule in {row.rule: None for row in rows}
        },
        "peak_memory_ratio": {
            str(row.K): round(row.flower_peak_bytes / max(row.peak_bytes, 1), 1)
            for row in rows
            if row.flower_peak_bytes is not None
        },
        "start": {name: round(value, 4) for name, value in start.items()},
        "seconds": {d: _seconds(some) for d, some in by_size.items()},
        "compiled": library() is not None,
    }


def _seconds(rows: list[Row]) -> dict[str, dict[str, dict[str, float | None]]]:
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in rows:
        found.setdefault(row.rule, {})[str(row.K)] = {
            "rule": row.rule_seconds,
            "round": row.round_seconds,
            "numpy": row.numpy_seconds,
            "flower": row.flower_seconds,
            "byzfl": row.byzfl_seconds,
            "rule_cpu": row.rule_cpu_seconds,
            "flower_cpu": row.flower_cpu_seconds,
            "byzfl_cpu": row.byzfl_cpu_seconds,
        }
    return found


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Aggregation beside Flower, ByzFL and numpy.")
    parser.add_argument("--quick", action="store_true", help="10 and 32 updates of 100,000 and 1,000,000 words")
    parser.add_argument("--sizes", type=int, nargs="+", help="words of an update (1,000,000 and 10,000,000)")
    parser.add_argument("--participants", type=int, nargs="+", help="updates (10, 32 and 100)")
    parser.add_argument("--rules", nargs="+", choices=list(SPECS), default=list(SPECS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bytes-max", type=int, default=8_000_000_000, help="more memory than this is not tried")
    parser.add_argument("--peers-python", help="an interpreter that has flwr and byzfl")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    options.sizes = options.sizes or ([100_000, 1_000_000] if options.quick else [1_000_000, 10_000_000])
    options.participants = options.participants or ([10, 32] if options.quick else [10, 32, 100])
    return options


def main() -> None:
    """Measure and print."""
    options = arguments()
    keep_freed_memory()  # as a node does
    peers, rows = Peers(options.peers_python), []
    heads = "".join(f"{name:>9}" for name in ("numpy", "Flower", "ByzFL"))
    print(f"{'rule':18}{'K':>5}{'d':>11}{'rule ms':>10}{'round ms':>10}{heads}  read  rule CPU  Flower, ByzFL by CPU")
    with ThreadPoolExecutor(options.threads) as threads:
        for size in options.sizes:
            for count in options.participants:
                words = words_of(count, size)
                for rule in options.rules:
                    row = measure(rule, words, options, threads, peers)
                    rows.append(row)
                    print(_line(row), flush=True)
    peers.close()
    if options.json:
        print(json.dumps(summary(rows, start_seconds())))


def _line(row: Row) -> str:
    theirs = [row.numpy_seconds, row.flower_seconds, row.byzfl_seconds]
    ratios = [f"{'-' if one is None else f'{one / row.rule_seconds:.1f}x':>9}" for one in theirs]
    ours = f"{row.rule_seconds * 1e3:10.2f}{row.round_seconds * 1e3:10.2f}"
    cpu = [row.flower_cpu_seconds, row.byzfl_cpu_seconds]
    by_cpu = " ".join("-" if one is None else f"{one / row.rule_cpu_seconds:.0f}x" for one in cpu)
    shown = f"{row.bandwidth_fraction:6.0%}{row.rule_cpu_seconds * 1e3:10.2f}  {by_cpu}"
    return f"{row.rule:18}{row.K:5}{row.d:11}{ours}{''.join(ratios)}{shown}"


if __name__ == "__main__":
    main()
