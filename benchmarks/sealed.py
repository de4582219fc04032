"""What a sealed round costs, beside the open one and Flower's SecAgg+, in one run on one machine.

    python -m benchmarks.sealed [--json] [--quick] [--flower-python PATH]

For n = m = 4 and 7 with d = 10^6, and n = m = 4 with d = 10^7: processor seconds of one participant (hide an update and
name it), of one validator before updates exist (`stock`: pads and their masked products), and of one validator from the
updates on (`online`: Gram shares with the roots of all vectors checked, sum, folds, the sum of f + 1 vectors, its
certificate). Beside it `online_again`, when the pads were not kept in memory but are made again. Then bytes: into and
out of a validator and a participant, and on the ledger in all. All parties run one after the other in this process, on
one core; nothing is sent.

`open` is the same rule on the same words as every validator of an open round computes it. `secaggplus` is Flower's own
code for one client (quantise, one private and m - 1 pairwise masks) and for the server (sum, remove the masks), found
in the interpreter that `--flower-python` names:

    python -m venv /tmp/flower && /tmp/flower/bin/pip install "flwr==1.42.0"

It hides updates from its server alone, which must be believed, knows no robust rule, and its masks come from 32-bit
seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final, TypeVar

import numpy as np

from fl.aggregators import RuleSpec, aggregate
from fl.grid import WORD_MAX
from fl.kernels.field import Elements
from fl.schema import Segment
from fl.sealed.committee import Committee
from fl.sealed.pads import WORD_BYTES
from fl.sealed.participant import Participant
from fl.sealed.round import SealedRound
from fl.sealed.setup import Setup
from fl.sealed.stock import Slot
from fl.sealed.task import SealedTask, norm_bound
from fl.sealed.validator import Summed, Validator
from ledger.codec import encode

SEED: Final = 7
T = TypeVar("T")

FLOWER_PROGRAM: Final = """
import json, sys, time
import numpy as np
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_addition, parameters_mod, parameters_subtraction)
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
m, d = int(sys.argv[1]), int(sys.argv[2])
modulus, clip, target = 1 << 32, 8.0, 1 << 22
seed = lambda a, b: bytes([a + 1, b + 1] * 16)
update = np.random.default_rng(1).standard_normal(d).astype(np.float32)
def masked(own):
    vector = quantize([update], clip, target)
    vector = parameters_addition(vector, pseudo_rand_gen(seed(own, own), modulus, [(d,)]))
    for other in range(m):
        if other != own:
            mask = pseudo_rand_gen(seed(min(own, other), max(own, other)), modulus, [(d,)])
            vector = (parameters_addition if own > other else parameters_subtraction)(vector, mask)
    return parameters_mod(vector, modulus)
begin = time.process_time(); first = masked(0); client = time.process_time() - begin
rest = [masked(other) for other in range(1, m)]
begin = time.process_time()
total = first
for vector in rest:
    total = parameters_addition(total, vector)
for own in range(m):
    total = parameters_subtraction(total, pseudo_rand_gen(seed(own, own), modulus, [(d,)]))
mean = dequantize(parameters_mod(total, modulus), clip, target)[0] / m
server = time.process_time() - begin
print(json.dumps({"client_cpu_s": round(client, 3), "server_cpu_s": round(server, 3),
                  "client_out_bytes": int(first[0].nbytes)}))
"""


@dataclass
class Row:
    """One measurement; times are processor seconds of one party unless they say otherwise."""

    n: int
    m: int
    d: int
    deal_cpu_s: float = 0.0
    participant_cpu_s: float = 0.0
    stock_cpu_s: float = 0.0
    online_cpu_s: float = 0.0
    online_again_cpu_s: float = 0.0
    steps_cpu_s: dict[str, float] = field(default_factory=dict)
    everybody_wall_s: float = 0.0
    """From the first hidden update to the outcome, all parties one after the other."""

    validator_in_bytes: int = 0
    validator_out_bytes: int = 0
    participant_out_bytes: int = 0
    ledger_setup_bytes: int = 0
    ledger_stock_bytes: int = 0
    ledger_round_bytes: int = 0
    open: dict[str, float] = field(default_factory=dict)
    secaggplus: dict[str, float] | None = None


class Meter:
    """Processor seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, step: str, work: Callable[[], T]) -> T:
        """Do some work and add its time to a step."""
        begin = process_time()
        result = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + process_time() - begin
        return result


def measure(n: int, m: int, d: int, flower: Path | None) -> Row:
    """Play one round with nobody lying."""
    dice, row, meter = random.Random(SEED), Row(n, m, d), Meter()
    committee, rule = Committee(n), RuleSpec("mda/1", (m - 1) // 3)
    segments = (Segment(0, d, -3),)
    task = SealedTask(rule, segments, m, norm_bound(rule, m), max(3, rule.f + 2))
    words = np.random.default_rng(SEED).normal(0, 600, (m, d)).clip(-WORD_MAX, WORD_MAX).astype(np.int16)
    validators, participants, setup = _set_up(committee, m, dice, row, meter)
    slot = Slot(committee, setup.dealers, 0, d)
    for seat, validator in enumerate(validators):
        posted = meter.time("stock" if seat == 0 else "others", lambda one=validator: one.products(slot))
        row.ledger_stock_bytes += _bytes_of(posted)
        assert slot.handle(posted) is None
    begin = perf_counter()
    running = SealedRound(committee, task, slot)
    hidden: dict[int, Elements] = {}
    for seat, participant in enumerate(participants):
        step = "participant" if seat == 0 else "others"
        elements = meter.time(step, lambda one=words[seat]: task.elements(one))
        hidden[seat] = meter.time(step, lambda one=participant, x=elements: one.hide(0, x))
        update = meter.time(step, lambda one=participant, y=hidden[seat]: one.update(y, 100))
        row.ledger_round_bytes += _bytes_of(update)
        assert running.handle(update) is None
    running.close_updates()
    summed = _open(running, validators, hidden, row, meter)
    row.everybody_wall_s = round(perf_counter() - begin, 2)
    plain = meter.time("open", lambda: aggregate(rule, words, [100] * m, segments))
    assert running.phase == "done"
    assert summed.numerator.tobytes() == plain.numerator.tobytes()
    _report(row, meter, validators[0], slot, committee)
    row.secaggplus = _secaggplus(flower, m, d)
    return row


def _set_up(
    committee: Committee, m: int, dice: random.Random, row: Row, meter: Meter
) -> tuple[list[Validator], list[Participant], Setup]:
    validators = [Validator(committee, b"epoch", seat, dice.randbytes(32)) for seat in range(committee.n)]
    keys = [validator.box_key for validator in validators]
    setup, participants = Setup(committee, b"epoch", keys, m), []
    for seat in range(m):
        entropy = [dice.randbytes(32) for _ in range(len(committee.sets) + committee.n)]
        make = lambda at=seat, drawn=entropy: Participant(committee, b"epoch", at, keys, drawn)  # noqa: E731
        participants.append(meter.time("deal" if seat == 0 else "others", make))
        row.ledger_setup_bytes += _bytes_of(participants[-1].dealing)
        assert setup.handle(participants[-1].dealing) is None
    setup.close_dealing()
    for validator in validators:
        assert [validator.receive(seat, setup.deal_of(seat)) for seat in range(m)] == [None] * m
    setup.close()
    for validator in validators:
        validator.finish_setup(setup.dealers)
    return validators, participants, setup


def _open(
    running: SealedRound, validators: list[Validator], hidden: dict[int, Elements], row: Row, meter: Meter
) -> Summed:
    """Let all validators post; the first one is measured."""

    def post(message: Any) -> None:  # noqa: ANN401 - any message of a round
        row.ledger_round_bytes += _bytes_of(message)
        assert running.handle(message) is None

    for seat, validator in enumerate(validators):
        step = "gram" if seat == 0 else "others"
        post(meter.time(step, lambda one=validator: one.gram_shares(running, hidden)))
    vectors = {}
    for seat, validator in enumerate(validators):
        step = "sum" if seat == 0 else "others"
        vectors[seat] = meter.time(step, lambda one=validator: one.sum_share(running))
        post(meter.time(step, lambda one=validator, at=seat: one.commitment(vectors[at])))
    assert running.close_sums(b"the hash of a block")
    for seat, validator in enumerate(validators):
        step = "folds" if seat == 0 else "others"
        post(meter.time(step, lambda one=validator, at=seat: one.folds(running, vectors[at])))
    results = []
    for seat, validator in enumerate(validators):
        wanted = {one: vectors[one] for one in validator.wanted(running)[: running.committee.f + 1]}
        step = "check" if seat == 0 else "others"
        suspected, good = meter.time(step, lambda one=validator, w=wanted: one.suspicions(running, w))
        assert suspected == []
        step = "aggregate" if seat == 0 else "others"
        results.append(meter.time(step, lambda one=validator, g=good: one.summed(running, hidden, g)))
        post(results[-1].outcome)
    return results[0]


def _report(row: Row, meter: Meter, validator: Validator, slot: Slot, committee: Committee) -> None:
    vector = WORD_BYTES * row.d
    validator.release(slot)
    meter.time("pads_again", lambda: validator.products(slot))
    online = ("gram", "sum", "folds", "check", "aggregate")
    row.steps_cpu_s = {step: round(meter.seconds[step], 4) for step in online}
    row.deal_cpu_s = round(meter.seconds["deal"], 4)
    row.participant_cpu_s = round(meter.seconds["participant"], 3)
    row.stock_cpu_s = round(meter.seconds["stock"], 3)
    row.online_cpu_s = round(sum(meter.seconds[step] for step in online), 3)
    row.online_again_cpu_s = round(row.online_cpu_s + meter.seconds["pads_again"], 3)
    row.validator_in_bytes = (row.m + committee.f) * vector
    row.validator_out_bytes = committee.f * vector
    row.participant_out_bytes = vector
    row.open = {
        "validator_cpu_s": round(meter.seconds["open"], 3),
        "validator_in_bytes": 2 * row.m * row.d,
        "participant_out_bytes": 2 * row.d,
    }


def _bytes_of(message: Any) -> int:  # noqa: ANN401 - any message
    """Return how long a message is in the ledger's encoding, without a transaction's signature and names."""
    return len(encode(astuple(message)))


def _secaggplus(python: Path | None, m: int, d: int) -> dict[str, float] | None:
    if python is None or not python.exists():
        return None
    command = [str(python), "-c", FLOWER_PROGRAM, str(m), str(d)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="d = 10^5 alone")
    parser.add_argument("--flower-python", type=Path, help="an interpreter that has flwr")
    options = parser.parse_args()
    sizes = [(4, 4, 100_000), (7, 7, 100_000)]
    if not options.quick:
        sizes = [(4, 4, 1_000_000), (7, 7, 1_000_000), (4, 4, 10_000_000)]
    rows = []
    for n, m, d in sizes:
        row = measure(n, m, d, options.flower_python)
        rows.append(asdict(row))
        for name, value in asdict(row).items():
            print(f"{name:>22}  {value}")
        print(flush=True)
    if options.json:
        print(json.dumps({"rounds": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
