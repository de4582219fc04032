"""The same bits under every BLAS kernel, thread count, vector instruction set and hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

DIGEST: Final = "5d3863af081b9f5dd47c72f8ee72a33abb7489fb253d47d70b48b03633aaba53"
"""Over `tests.fl.aggregation_cases.rounds(600)`; it changes only together with a rule's id."""

AVX512: Final = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL X86_V4"

SETTINGS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
    {"OPENBLAS_NUM_THREADS": "4", "PYTHONHASHSEED": "1"},
    {"OPENBLAS_CORETYPE": "Prescott", "PYTHONHASHSEED": "2"},
    {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "3"},
    {"OPENBLAS_CORETYPE": "SkylakeX", "PYTHONHASHSEED": "4"},
    {"NPY_DISABLE_CPU_FEATURES": AVX512},
    {"NPY_DISABLE_CPU_FEATURES": f"AVX2 FMA3 X86_V3 {AVX512}"},
)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: " ".join(f"{k}={v}" for k, v in setting.items()))
def test_all_rules_give_one_digest_whatever_computes_them(setting: dict[str, str]) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENBLAS", "NPY", "OMP"))}
    command = [sys.executable, "-W", "ignore", "-m", "tests.fl.aggregation_cases"]

    done = subprocess.run(
        command, cwd=ROOT, env=environment | setting, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == DIGEST
