"""Prints a digest of every verdict, explanation and cost on the vectors: the same on every Python and hash seed.

Run on its own by `test_policies_against_cel`, with whatever interpreter and `PYTHONHASHSEED` is to be tried.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

import msgspec

from fl.policies.occasions import UpdateOccasion
from fl.policies.program import compile_policy, judge

VECTORS = Path(__file__).parents[1] / "vectors" / "policies" / "cel.json"


def verdicts() -> str:
    """Return the digest."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    inputs = [msgspec.convert(one, UpdateOccasion) for one in vectors["inputs"]]
    found = sha256()
    for text, number, _ in vectors["cases"]:
        program = compile_policy(text, UpdateOccasion)
        verdict = judge(program, inputs[number])
        told = (program.digest.hex(), program.text, program.cost_max, verdict.clause, verdict.detail, verdict.cost)
        found.update(repr(told).encode())
    return found.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(verdicts())
