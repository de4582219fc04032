"""Rounds worked on shard by shard: the bits of the whole, whatever the shards, their number and order of work."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray

from fl.aggregators import RuleSpec, UpdateRangeError
from fl.aggregators.aggregation import decide_by
from fl.aggregators.streaming import FoundT, Measuring, Part, Shard, ShardWork, Streamed, Summing
from fl.grid import WORD_MAX, model_to_bytes
from fl.kernels import without_library
from fl.optimisers import OptimiserSpec
from fl.results import RoundInputs, closed_jobs, compute
from fl.streaming import compute_streamed
from ledger.payload import SALT_BYTES, describe
from tests.fl.aggregation_cases import Round, rounds
from tests.fl.consortium import SCHEMA, Consortium, task_spec

CASES = [
    pytest.param(case, id=f"{case.spec.rule}+{'+'.join(case.spec.pre)}/{len(case.updates)}") for case in rounds(77)
]


@dataclass
class Cut:
    """Shards of words in memory, whose work is pickled on its way there and back, last shard first."""

    words: NDArray[np.int16]
    columns: int
    passes: list[ShardWork[object]] = field(default_factory=list)

    def run(self, work: ShardWork[FoundT], /) -> Iterator[FoundT]:
        self.passes.append(work)
        starts = range(0, self.words.shape[1], self.columns)
        sent = pickle.dumps(work)
        found = {start: pickle.dumps(pickle.loads(sent)(self.shard(start, work))) for start in reversed(starts)}  # noqa: S301 - our own
        for start in starts:
            one = pickle.loads(found[start])  # noqa: S301 - our own
            for array in one.triangles.values() if isinstance(one, Part) else [one.sums]:
                array.setflags(write=False)  # as what comes from a store that others read too
            yield one

    def shard(self, start: int, work: ShardWork[FoundT]) -> Shard:
        """Rows that are not asked for hold rubbish."""
        words = np.full((len(self.words), min(self.columns, self.words.shape[1] - start)), WORD_MAX, np.int16)
        for row in work.rows_read:
            words[row] = self.words[row, start : start + self.columns]
        words.setflags(write=False)
        return Shard(start, words)


@pytest.mark.parametrize("columns", [5, 48])
@pytest.mark.parametrize("case", CASES)
def test_every_rule_decides_and_sums_alike_in_shards_of_any_size(case: Round, columns: int) -> None:
    whole, cut = case.aggregation(), Cut(case.updates, columns)
    segments = case.schema.segments(case.exponents)

    passes = Streamed(case.spec, cut, len(case.updates), segments)
    decision = decide_by(case.spec, passes, case.weights, clip_norm=case.clip_norm, seed=case.seed, root=case.root)
    sums = np.concatenate([summed.sums for summed in cut.run(Summing(decision.last_pass))])

    assert sums.tolist() == whole.numerator.tolist()
    assert decision.last_pass.denominator == whole.denominator
    assert decision.last_pass.rows.factors == whole.clip_factors
    assert (decision.retained, decision.weights) == (whole.retained, whole.weights)
    assert (decision.norms_squared, decision.peaks) == (whole.norms_squared, whole.peaks)


def passes_of(spec: RuleSpec, words: NDArray[np.int16], clip_norm: int = 0) -> list[ShardWork[object]]:
    case = rounds(77)[0]
    cut = Cut(words, 10)
    streamed = Streamed(spec, cut, len(words), case.schema.segments((-3, -1)))
    decide_by(spec, streamed, [1] * len(words), clip_norm=clip_norm)
    return cut.passes


def test_geometric_rules_read_the_words_twice_in_all_unless_rows_are_clipped() -> None:
    words = rounds(77)[0].updates
    krum = RuleSpec("krum/1", 2)

    assert len(passes_of(krum, words)) == 1, "and once for the sums"
    assert len(passes_of(krum, words, clip_norm=10**9)) == 1
    assert len(passes_of(krum, words, clip_norm=100)) == 2
    assert len(passes_of(RuleSpec("krum/1", 2, ("arc/1",)), words)) == 2
    assert len(passes_of(RuleSpec("median/1", 2, ("arc/1",)), words)) == 1


def test_the_last_pass_reads_only_the_rows_that_a_rule_kept() -> None:
    case = rounds(77)[0]
    streamed = Streamed(RuleSpec("krum/1", 2), Cut(case.updates, 10), 8, case.schema.segments((-3, -1)))
    decision = decide_by(RuleSpec("krum/1", 2), streamed, [1] * 8)

    assert len(Summing(decision.last_pass).rows_read) == 1
    assert list(Measuring((), (), surveys=True, multiplies=True).rows_read) == []


@pytest.mark.parametrize("rule", ["median/1", "krum/1"])
def test_a_word_out_of_range_in_any_shard_is_refused_with_its_row(rule: str) -> None:
    case = rounds(77)[0]
    words = case.updates.copy()
    words[5, 60] = -32_768

    with pytest.raises(UpdateRangeError) as caught:
        passes_of(RuleSpec(rule, 2), words)  # type: ignore[arg-type]

    assert caught.value.row == 5


@pytest.mark.parametrize("optimiser", [None, OptimiserSpec("yogi/1", 20_000, 900, 990, 1_000)])
@pytest.mark.parametrize("rule", [RuleSpec("trimmed-mean/1", 1, ("nnm/1",)), RuleSpec("krum/1", 0)])
def test_a_streamed_round_gives_the_result_and_the_model_of_one_in_memory(
    rule: RuleSpec, optimiser: OptimiserSpec | None
) -> None:
    consortium = Consortium.begin(task_spec(rule=rule, optimiser=optimiser))
    rows = np.array([[100 * row - 7 * column for column in range(SCHEMA.size)] for row in range(4)], np.int16)
    for turn in range(2):
        consortium.fill_round(rows + turn)
        job = next(closed_jobs(consortium.state))
        payloads = [consortium.payloads[update.payload.id] for update in job.updates]
        base = None if job.base.payload is None else consortium.payloads[job.base.payload.id]
        expected = compute(job, base, payloads)
        inputs = RoundInputs(job, streamed=True)
        if base is not None:
            inputs.model[:] = base

        words = np.stack([np.frombuffer(payload, "<i2", offset=SALT_BYTES) for payload in payloads])
        computed = compute_streamed(inputs, Cut(words, 3))

        assert inputs.words.size == 0
        assert computed.result == expected.result
        assert bytes(inputs.model) == expected.model_payload
        consortium.certify(consortium.claim(consortium.compute()))


def test_words_that_leave_the_models_range_are_counted_over_all_shards() -> None:
    consortium = Consortium.begin(task_spec(rule=RuleSpec("median/1", 1)))
    consortium.fill_round(np.full((4, SCHEMA.size), 500, np.int16))
    job = next(closed_jobs(consortium.state))
    full = bytes(SALT_BYTES) + model_to_bytes(np.array([2**31 - 1, 0] * (SCHEMA.size // 2), np.int32))
    job = replace(job, base=structs.replace(job.base, payload=describe(full)))
    payloads = [consortium.payloads[update.payload.id] for update in job.updates]
    inputs = RoundInputs(job, streamed=True)
    inputs.model[:] = full

    computed = compute_streamed(inputs, Cut(np.full((4, SCHEMA.size), 500, np.int16), 3))

    assert computed.result == compute(job, full, payloads).result
    assert computed.result.saturated == SCHEMA.size // 2


def test_shards_without_compiled_code_give_the_same_bits() -> None:
    """Enough columns for several pieces in a shard, and threads among shards."""
    words = np.random.default_rng(3).integers(-WORD_MAX, WORD_MAX + 1, (40, 60_000)).astype(np.int16)
    case = rounds(77)[0]
    last = decide_by(
        RuleSpec("trimmed-mean/1", 8, ("nnm/1",)),
        Streamed(RuleSpec("trimmed-mean/1", 8, ("nnm/1",)), Cut(words, 25_000), 40, case.schema.segments((-3, -1))),
        [1] * 40,
    ).last_pass
    shards = [Shard(start, words[:, start : start + 25_000]) for start in range(0, 60_000, 25_000)]

    with ThreadPoolExecutor(2) as threads:
        compiled = np.concatenate([one.sums for one in threads.map(Summing(last), shards)])
    with without_library():
        plain = np.concatenate([one.sums for one in map(Summing(last), shards)])

    assert compiled.tolist() == plain.tolist()
