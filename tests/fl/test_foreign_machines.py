"""One digest a vector: numpy, compiled code, and compiled code on other processors with other byte orders."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from fl.kernels import library, without_library
from hatch_build import FLAGS
from tests.fl.kernel_vectors import PATH, digest_of, vectors

ROOT: Final = Path(__file__).parents[2]
PUBLISHED: Final[list[dict[str, str]]] = json.loads(PATH.read_text(encoding="utf-8"))
MACHINES: Final = {
    "this machine": ("cc", ()),
    "aarch64": ("aarch64-linux-gnu-gcc", ("qemu-aarch64-static",)),
    "s390x": ("s390x-linux-gnu-gcc", ("qemu-s390x-static",)),
}
"""Compiler and what runs its programs; s390x has the other byte order."""


def test_what_is_published_is_what_the_vectors_say() -> None:
    assert [one["vector"] for one in PUBLISHED] == [vector.line for vector in vectors()]


def test_numpy_gives_the_published_digests() -> None:
    with without_library():
        assert [digest_of(vector) for vector in vectors()] == [one["digest"] for one in PUBLISHED]


@pytest.mark.parametrize("bits", [512, 256, 0])
def test_compiled_code_gives_the_published_digests(bits: int) -> None:
    compiled = library()
    if compiled is None:
        pytest.skip("the kernels are not compiled here: is there a C compiler?")
    compiled.limit_lanes(bits)
    try:
        assert [digest_of(vector) for vector in vectors()] == [one["digest"] for one in PUBLISHED]
    finally:
        compiled.limit_lanes(512)


@pytest.mark.parametrize("machine", [pytest.param("this machine", marks=pytest.mark.soak), "aarch64", "s390x"])
def test_other_processors_and_byte_orders_give_the_published_digests(machine: str, tmp_path: Path) -> None:
    compiler, runner = MACHINES[machine]
    for program in (compiler, *runner):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: qemu-user-static, gcc-{machine}-linux-gnu)")
    flags = [flag for flag in FLAGS if flag not in {"-shared", "-fPIC"}]
    sources = [str(ROOT / "tests/fl/foreign/driver.c"), str(ROOT / "fl/kernels/exact.c")]
    built = tmp_path / "driver"
    subprocess.run([compiler, *flags, "-static", "-o", str(built), *sources, "-lm"], check=True, timeout=300)

    lines = "".join(f"{vector.line}\n" for vector in vectors())
    done = subprocess.run([*runner, str(built)], input=lines, capture_output=True, text=True, check=True, timeout=300)

    assert done.stdout.split() == [one["digest"] for one in PUBLISHED]
