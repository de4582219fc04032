"""Compiles `fl/kernels/*.c` when the project is installed. One law: an installation never fails for it.

Called by hatchling for a wheel and for an editable installation; `python hatch_build.py` does the same in a checkout.
Without a C compiler aggregation runs on numpy: the same bits, several times slower.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("fl/kernels/exact.c", "fl/kernels/field.c")
LIBRARY = "fl/kernels/_exact.so"
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
SECONDS_MAX = 300


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled library into the wheel, which is then for this platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile before the files are gathered."""
        if compile_kernels(Path(self.root)):
            build_data["artifacts"].append(LIBRARY)
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"


def compile_kernels(root: Path) -> bool:
    """Compile in place; say why when that cannot be done, and return whether it was."""
    library = root / LIBRARY
    library.unlink(missing_ok=True)
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return _without("there is no C compiler")
    partial = library.with_suffix(f".{os.getpid()}")
    command = [*compiler.split(), *FLAGS, "-o", str(partial), *(str(root / source) for source in SOURCES), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)  # noqa: S603 - the installer's own CC
    except (OSError, subprocess.TimeoutExpired) as error:
        return _without(str(error))
    if done.returncode != 0 or not partial.exists():
        partial.unlink(missing_ok=True)
        return _without(f"{compiler} failed: {done.stderr.strip()[-500:]}")
    partial.replace(library)
    return True


def _without(reason: str) -> bool:
    sys.stderr.write(f"foedus: aggregation will run on numpy, without compiled kernels: {reason}\n")
    return False


if __name__ == "__main__":
    sys.exit(0 if compile_kernels(Path(__file__).parent) else 1)
