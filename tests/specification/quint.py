"""Quint, the language of docs/spec and its simulator. One law: everything runs in its own process, within a bound.

The tool is an npm package that `make spec` installs at the version of docs/spec/package-lock.json. Its simulator in
TypeScript is used: the other one is downloaded when first used, which a check must not depend on.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.project.tree import ROOT

SPECIFICATION: Final = ROOT / "docs" / "spec" / "consensus.qnt"
QUINT: Final = ROOT / ".venv" / "spec" / "node_modules" / ".bin" / "quint"
SECONDS_MAX: Final = 600
"""Longest run; far above what any takes on an idle machine."""


class QuintError(Exception):
    """The specification could not be run at all: an error of syntax or type, or a damaged installation."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is to be looked for, and how far."""

    module: str
    """Instance of the specification."""

    samples: int
    """Random runs."""

    steps: int
    """Longest run."""

    invariant: str = "safe"
    init: str = "init"
    step: str = "step"
    seed: int = 1
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """How a search ended."""

    violated: bool
    output: str

    def seen(self, witness: str) -> int:
        """Return in how many runs a witness was true at some time."""
        line = next(line for line in self.output.splitlines() if line.strip().startswith(f"{witness} was witnessed in"))
        return int(line.split(" was witnessed in ")[1].split()[0])

    def counted(self, what: str) -> int:
        """Return the last number that the specification has printed under this name."""
        return int(self.output.split(f"{what} ")[-1].split()[0])


def is_installed() -> bool:
    """Tell whether `make spec` has installed the tool."""
    return QUINT.exists()


def search(search: Search, source: Path = SPECIFICATION, traces: Path | None = None) -> Found:
    """Run the specification at random; the same seed gives the same runs.

    Args:
        search: what to look for.
        source: file that holds the module.
        traces: directory that takes the runs, one file each.

    Raises:
        QuintError: it could not be run.
    """
    arguments = [
        "run",
        "--backend=typescript",
        f"--main={search.module}",
        f"--init={search.init}",
        f"--step={search.step}",
        f"--invariant={search.invariant}",
        f"--max-samples={search.samples}",
        f"--max-steps={search.steps}",
        f"--seed={search.seed}",
        "--verbosity=1",
        str(source),
    ]
    if search.witnesses:
        arguments += ["--witnesses", *search.witnesses]
    if traces is not None:
        arguments += [f"--n-traces={search.samples}", f"--out-itf={traces}/{{seq}}.itf.json"]
    done = subprocess.run(
        [str(QUINT), *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False, cwd=source.parent
    )
    output = done.stdout + done.stderr
    violated = "[violation]" in output
    if not violated and "[ok]" not in output:
        raise QuintError(f"quint {' '.join(arguments)}: {output[:2000]}")
    return Found(violated, output)


def read_trace(path: Path) -> list[dict[str, Any]]:
    """Return the states of one run, its values as Python's."""
    return [_plain(state) for state in json.loads(path.read_text(encoding="utf-8"))["states"]]


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Undo the Informal Trace Format's encoding; sets become lists."""
    match value:
        case {"#bigint": text}:
            return int(text)
        case {"#set": items} | {"#tup": items}:
            return [_plain(item) for item in items]
        case {"#map": pairs}:
            return {_plain(key): _plain(item) for key, item in pairs}
        case dict():
            return {key: _plain(item) for key, item in value.items() if key != "#meta"}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value
