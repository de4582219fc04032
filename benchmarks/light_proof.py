"""Size and cost of a light client's proof, with 16 validators and a state of 100,000 entries.

python -m benchmarks.light_proof [--json]
"""

from __future__ import annotations

import json
import sys
from statistics import median
from time import perf_counter
from typing import Final

from ledger.codec import encode
from ledger.light import LightProof, TransactionFact, verify_light_proof
from tests.ledger.test_light import large
from tests.recorded import Recorded

REPEATS: Final = 50


def measure() -> dict[str, dict[str, float]]:
    """Return size and median time to verify of a proof from the state and of one of a transaction."""
    history, in_state, in_block = large()
    return {name: _figures(history, proof) for name, proof in (("state", in_state), ("transaction", in_block))}


def main() -> None:
    """Measure and print."""
    found = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(f"{name:12} {figures}")


def _figures(history: Recorded, proof: LightProof) -> dict[str, float]:
    samples = []
    for _ in range(REPEATS):
        began = perf_counter()
        verify_light_proof(history.document.chain_id, history.document.validators, proof)
        samples.append(1000 * (perf_counter() - began))
    content = len(proof.fact.raw) if isinstance(proof.fact, TransactionFact) else 0
    return {"bytes": len(encode(proof)), "of_them_content": content, "verify_ms": round(median(samples), 3)}


if __name__ == "__main__":
    main()
