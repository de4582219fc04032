"""Federated averaging without a ledger, which believes what it is sent: the baseline robust rules must beat."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from examples import Model
from examples.attack import sign_flip

Train = Callable[[Model], Model]
"""One participant's local training: from the global model to its own."""


def averaged(
    model: Model,
    participants: Sequence[Train],
    samples: Sequence[int],
    *,
    rounds: int,
    malicious: Collection[int] = (),
    malicious_from: int = 1,
) -> Model:
    """Average what the participants trained, by their numbers of samples, round after round.

    Args:
        model: what round 1 starts from.
        participants: local training, one a participant.
        samples: how many samples each trains on.
        rounds: how often to average.
        malicious: indices of participants that flip the sign of their step and make it longer.
        malicious_from: the first round in which they do, counted from 1.

    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
    """
    weights = np.array(samples, dtype=np.float64) / sum(samples)
    for number in range(1, rounds + 1):
        sent = [train(model) for train in participants]
        if number >= malicious_from:
            sent = [sign_flip(model, new) if index in malicious else new for index, new in enumerate(sent)]
        model = {
            name: np.tensordot(weights, np.stack([new[name] for new in sent]), axes=1).astype(np.float32)
            for name in model
        }
    return model
