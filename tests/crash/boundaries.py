"""Where a process is to end: at which of its effects, in which part of it, and whether the power goes too.

One law: the process decides nothing; the library that counts its effects (boundaries.c) kills it.
"""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("boundaries.c")
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror")


class Place(IntEnum):
    """The part of the last effect that still happens."""

    BEFORE = 0
    TORN = 1
    AFTER = 2


@dataclass(frozen=True, slots=True)
class Death:
    """The end of one life of a node; with effect 0 it only counts, and nothing happens."""

    effect: int = 0
    """Which effect is the last one, from 1."""

    place: Place = Place.AFTER
    counts_sends: bool = True
    """Whether a send is an effect as well, or only what happens to files."""

    takes_the_power: bool = False
    """The file system beneath loses what was not flushed, in the same moment."""

    disk_lies: bool = False
    """Flushes say that they are done and do nothing; no honest node survives that, which is how the checks are seen
    to notice something."""


def drawn(generator: random.Random, *, effects_max: int, power: bool = False, disk_lies: bool = False) -> Death:
    """Draw a death: a quarter of them early (in starts), the others anywhere."""
    early = generator.random() < 1 / 4
    effect = round(effects_max ** generator.random()) if early else generator.randint(1, effects_max)
    return Death(effect, generator.choice(list(Place)), generator.random() < 1 / 3, power, disk_lies)


def compiled(directory: Path) -> Path | None:
    """Return the library, made in `directory`; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    library = directory / "boundaries.so"
    subprocess.run([compiler, *FLAGS, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def arm(death: Death, beneath: Path) -> None:
    """Have this process, into which the library was loaded, die at an effect beneath a directory or on a socket."""
    library = ctypes.CDLL(None)
    library.boundaries_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, *[ctypes.c_int] * 4]
    library.boundaries_arm.restype = None
    flags = (death.counts_sends, death.takes_the_power, death.disk_lies)
    library.boundaries_arm(bytes(beneath), death.effect, int(death.place), *map(int, flags))
