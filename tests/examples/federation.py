"""The examples' rounds on the grid with the exact rules, without a ledger: what the chain computes, in a loop."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from examples import Model
from examples.attack import sign_flip
from examples.averaging import Train
from fl.aggregators import RuleSpec, aggregate
from fl.grid import apply_aggregate, model_from_float, model_to_float, next_exponents, quantise_update
from fl.schema import ModelSchema


@dataclass(frozen=True, slots=True)
class Outcome:
    model: Model
    left_out: tuple[int, ...]
    """One a participant: in how many rounds the rule left its update out."""


def federate(
    schema: ModelSchema,
    initial: Model,
    participants: Sequence[Train],
    samples: Sequence[int],
    rule: RuleSpec,
    *,
    malicious: Collection[int],
    malicious_from: int,
    rounds: int,
) -> Outcome:
    words, exponents = model_from_float(initial, schema), schema.initial_exponents
    left_out = np.zeros(len(participants), dtype=np.int64)
    for number in range(1, rounds + 1):
        base = model_to_float(words, schema)
        sent = [train(base) for train in participants]
        if number >= malicious_from:
            sent = [sign_flip(base, new) if index in malicious else new for index, new in enumerate(sent)]
        steps = [{name: new[name] - base[name] for name in base} for new in sent]
        rows = np.array([quantise_update(step, schema, exponents)[0] for step in steps])
        result = aggregate(rule, rows, samples, schema.segments(exponents))
        left_out += [retained.left_out for retained in result.retained]
        words, _ = apply_aggregate(words, result.numerator, result.denominator, exponents, schema)
        exponents = next_exponents(exponents, result.peaks, schema)
    return Outcome(model_to_float(words, schema), tuple(left_out.tolist()))
