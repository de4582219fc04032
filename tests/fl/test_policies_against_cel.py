"""Our evaluator and Google's say the same of the same policies, and ours the same on every Python and hash seed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest

from fl.policies.checker import Checked, check
from fl.policies.cost import bound_of
from fl.policies.errors import EvaluationError
from fl.policies.evaluator import Evaluation
from fl.policies.occasions import UpdateOccasion
from fl.policies.parser import parse
from fl.policies.types import type_of
from tests.fl.cel_judge import Judge, plain, texts
from tests.fl.policy_texts import occasion_of
from tests.fl.policy_verdicts import VECTORS, verdicts

ROOT = Path(__file__).parents[2]
NEEDED = ("msgspec", "msgpack", "numpy", "pynacl", "cryptography")
"""What `fl` imports."""


def ours(text: str, inputs: UpdateOccasion) -> str:
    """Return what the whole expression is, and check that it cost no more than was said beforehand."""
    checked: Checked = check(parse(text), dict(type_of(UpdateOccasion).fields))
    evaluation = Evaluation({name: getattr(inputs, name) for name in inputs.__struct_fields__})
    try:
        outcome = str(evaluation.value(checked)).lower()
    except EvaluationError:
        outcome = "error"
    assert evaluation.cost <= bound_of(checked), text
    return outcome


def test_every_recorded_verdict_of_googles_engine_is_ours() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    inputs = [msgspec.convert(one, UpdateOccasion) for one in vectors["inputs"]]
    outcomes = [theirs for _, _, theirs in vectors["cases"]]

    assert [text for text, number, theirs in vectors["cases"] if ours(text, inputs[number]) != theirs] == []
    assert all(outcomes.count(one) >= 30 for one in ("true", "false", "error")), "all three ways are tried"


def compare(seed: int, count: int) -> None:
    pytest.importorskip("cel_expr_python", reason="Google's engine is an extra: pip install -e '.[judges]'")
    judge, lots = Judge(UpdateOccasion), Random(seed)
    for text in texts(seed, count):
        inputs = occasion_of(lots)
        assert ours(text, inputs) == judge.outcome(text, plain(inputs)), (text, inputs)


def test_googles_engine_agrees_on_new_expressions() -> None:
    compare(1_127, 700)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_googles_engine_agrees_on_a_hundred_thousand_expressions(seed: int) -> None:
    compare(seed, 10_000)


def told_by(python: str, hash_seed: int, **environment: str) -> str:
    done = subprocess.run(
        [python, "-m", "tests.fl.policy_verdicts"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("hash_seed", [1, 4_294_967_295])
def test_verdicts_explanations_and_costs_are_the_same_under_another_hash_seed(hash_seed: int) -> None:
    assert told_by(sys.executable, hash_seed) == verdicts()


@pytest.mark.soak
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_verdicts_explanations_and_costs_are_the_same_under_twenty_hash_seeds_and_another_python(
    version: str, tmp_path: Path
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    subprocess.run([python, "-m", "venv", tmp_path / "v"], check=True)
    own = str(tmp_path / "v" / "bin" / "python")
    if subprocess.run(
        [own, "-m", "pip", "install", "-q", "--disable-pip-version-check", *NEEDED], check=False
    ).returncode:
        pytest.skip(f"what `fl` needs cannot be installed for Python {version} here")

    assert {told_by(own, hash_seed, PYTHONPATH=str(ROOT)) for hash_seed in range(20)} == {verdicts()}


def interpreter(version: str) -> str | None:
    """Return an interpreter of this version, from the path or from pyenv."""
    candidates = [shutil.which(f"python{version}"), sys.executable]
    if shutil.which("pyenv"):
        listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
        candidates += [f"{root}/versions/{one.strip()}/bin/python" for one in listed.splitlines()]
    for path in candidates:
        if path is not None:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            if said.startswith(f"Python {version}."):
                return path
    return None
