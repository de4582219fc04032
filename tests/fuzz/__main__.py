"""A campaign: `python -m tests.fuzz --seconds 60 [--target frame ...] [--corpus DIRECTORY]`; `make fuzz` does the same.

Each target runs in a process of its own, so that libFuzzer's limits of memory and time are the target's alone. What is
found is kept in `tests/fuzz/found/TARGET`, where `make test` replays it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

FOUND = Path(__file__).parent / "found"
MEMORY_MIB_MAX = 1_024
INPUT_SECONDS_MAX = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target."""

    target: str
    executions: int
    cpu_seconds: float
    found: list[str]


def main() -> int:
    """Run the targets one after the other; return 1 when something was found."""
    options = _options()
    if options.one is not None:
        _fuzz(options.one, options.rest)
    outcomes = [_run(name, options.seconds, options.corpus) for name in options.target or _names()]
    said = {
        "executions": sum(outcome.executions for outcome in outcomes),
        "cpu_seconds": round(sum(outcome.cpu_seconds for outcome in outcomes), 1),
        "targets": [asdict(outcome) for outcome in outcomes],
    }
    print(json.dumps(said))  # noqa: T201 - a program
    return int(any(outcome.found for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each target")
    parser.add_argument("--target", action="append", help="one of the targets; all without")
    parser.add_argument("--corpus", type=Path, help="directory that inputs of new coverage are kept in")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args()


def _names() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return list(TARGETS)


def _run(name: str, seconds: float, corpus: Path | None) -> Outcome:
    """Fuzz one target in a process of its own."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        kept = directory / "corpus" if corpus is None else corpus / name
        kept.mkdir(parents=True, exist_ok=True)
        flags = [
            f"-max_total_time={max(1, round(seconds))}",
            f"-rss_limit_mb={MEMORY_MIB_MAX}",
            f"-timeout={INPUT_SECONDS_MAX}",
            f"-artifact_prefix={directory}/",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--", *flags, str(kept)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        inputs = [path for path in sorted(directory.iterdir()) if path.is_file()]
        found = [_keep(name, path) for path in inputs if _breaks(name, path)]
    ended.returncode = ended.returncode if found or not inputs else 0
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", ended.stderr)
    if found or ended.returncode:
        print(ended.stderr[-4_000:], file=sys.stderr)  # noqa: T201 - a program
        found = found or [f"exit {ended.returncode}"]
    outcome = Outcome(name, int(counted[1]) if counted else 0, round(spent, 1), found)
    print(f"{name:24} {outcome.executions:10,} inputs  {outcome.cpu_seconds:7.1f} s  {found or ''}", flush=True)  # noqa: T201
    return outcome


def _breaks(name: str, path: Path) -> bool:
    """Tell whether an input does it by itself: the fuzzer's own memory grows over millions of inputs as well."""
    limits = [
        f"-rss_limit_mb={MEMORY_MIB_MAX}",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-artifact_prefix={path.parent}/again-",
    ]
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--", *limits, str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def _keep(name: str, path: Path) -> str:
    """Keep an input that broke something, to be replayed for ever."""
    content = path.read_bytes()
    place = FOUND / name / sha256(content).hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return str(place.relative_to(FOUND.parent))


def _fuzz(name: str, flags: list[str]) -> None:
    """Hand one target to atheris, which does not return."""
    import atheris

    with atheris.instrument_imports(include=["ledger", "consensus", "fl", "genesis", "node", "foedus"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.mutation import mutate

    target = TARGETS[name]
    seeds = list(target.seeds())
    kept = Path(flags[-1])
    for seed in seeds if kept.is_dir() else ():
        (kept / f"seed-{sha256(seed).hexdigest()[:16]}").write_bytes(seed)

    def change(data: bytes, bytes_max: int, seed: int) -> bytes:
        if target.is_packed and seed % 4:
            return mutate(bytes(data), seed, seeds)[:bytes_max]
        changed: bytes = atheris.Mutate(data, bytes_max)
        return changed

    arguments = [sys.argv[0], f"-max_len={target.bytes_max}", *flags]
    atheris.Setup(arguments, lambda data: target.run(bytes(data)) and None, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
