"""Results of closed rounds whose updates are not in memory. One law: the result that `fl.results` gives, bit for bit.

Of a round's words only shards are in memory, as many at once as there is room for; the model is, 4 bytes a word, since
it is the output.
"""

from __future__ import annotations

from collections.abc import Sequence

from fl.aggregators import Decision, UpdateRangeError, clip_norm_in_units
from fl.aggregators.aggregation import decide_by
from fl.aggregators.streaming import Shards, Streamed, Summing, within
from fl.optimisers import Server
from fl.results import MODEL_SALT, AggregationJob, ComputedModel, InputError, RoundInputs, concluded
from fl.schema import Segment
from ledger.payload import SALT_BYTES


def compute_streamed(inputs: RoundInputs, shards: Shards) -> ComputedModel:
    """As `fl.results.compute_in_place`, of words that are elsewhere.

    Args:
        inputs: with the base model, without words.
        shards: of all columns of the round's updates, rows in the order of `job.updates`.

    Raises:
        InputError: words are out of range.
        AggregationError: too few updates for the rule.
        Exception: whatever `shards` raises: a pass is begun again from the start.
    """
    job = inputs.job
    segments = job.spec.schema.segments(job.round.exponents)
    decision = _decided(job, shards, segments)
    inputs.holds = None
    saturated = _advance(inputs, decision, shards, segments)
    return concluded(inputs, decision, saturated)


def _decided(job: AggregationJob, shards: Shards, segments: tuple[Segment, ...]) -> Decision:
    try:
        return decide_by(
            job.spec.rule,
            Streamed(job.spec.rule, shards, len(job.updates), segments),
            [update.samples for update in job.updates],
            clip_norm=clip_norm_in_units(job.spec.clip_norm_micros, job.round.exponents),
            seed=job.round.seed,
            root=job.root,
        )
    except UpdateRangeError as error:
        message = f"update of {job.updates[error.row].participant}: {error}, though a quorum acknowledged it"
        raise InputError(message) from error


def _advance(inputs: RoundInputs, decision: Decision, shards: Shards, segments: Sequence[Segment]) -> int:
    """Turn the base model's payload into the new one's, shard by shard; return how many words were saturated."""
    spec = inputs.job.spec
    inputs.model[:SALT_BYTES] = MODEL_SALT
    server = Server(inputs.model, spec.schema, spec.optimiser)
    saturated = 0
    for summed in shards.run(Summing(decision.last_pass)):
        start = summed.place.start
        for number, part in within(segments, summed.place):
            place = slice(start + part.start, start + part.stop)
            sums = summed.sums[part.start : part.stop]
            tensor = spec.schema.tensors[number]
            saturated += server.advance(tensor, part.exponent, place, sums, decision.last_pass.denominator)
    return saturated
