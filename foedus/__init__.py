"""Foedus: train one model with others, and be able to prove what went into it.

::

    import foedus

    with foedus.connect("http://127.0.0.1:8001", key="hospital.key", task="heart") as session:
        for round in session.rounds():
            new = train(round.model)                      # dict of arrays in, dict of arrays out
            round.submit(new, samples=303, metrics={"auc": 0.81})

`foedus.aio.connect` is the same for asyncio. Everything a caller may use is named here; what else the package holds is
the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foedus import aio
    from foedus.client.buffers import carried_state, restored_state
    from foedus.client.errors import (
        ClientError,
        EvaluationRefusedError,
        NodeRefusedError,
        NodeUnreachableError,
        NotEnrolledError,
        RefusedError,
        RoundOverError,
        UnverifiedError,
        UpdateRefusedError,
    )
    from foedus.client.progress import Progress
    from foedus.client.session import Submission
    from foedus.client.sync import Round, Session, connect
    from foedus.client.updates import InvalidUpdateError

__all__ = [
    "ClientError",
    "EvaluationRefusedError",
    "InvalidUpdateError",
    "NodeRefusedError",
    "NodeUnreachableError",
    "NotEnrolledError",
    "Progress",
    "RefusedError",
    "Round",
    "RoundOverError",
    "Session",
    "Submission",
    "UnverifiedError",
    "UpdateRefusedError",
    "aio",
    "carried_state",
    "connect",
    "restored_state",
]

_HOMES = {
    "InvalidUpdateError": "foedus.client.updates",
    "Progress": "foedus.client.progress",
    "Round": "foedus.client.sync",
    "Session": "foedus.client.sync",
    "Submission": "foedus.client.session",
    "carried_state": "foedus.client.buffers",
    "connect": "foedus.client.sync",
    "restored_state": "foedus.client.buffers",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: `foedus --help` needs none of it."""
    if name not in __all__:
        message = f"module 'foedus' has no attribute {name!r}"
        raise AttributeError(message)
    if name == "aio":
        return import_module("foedus.aio")
    value: object = getattr(import_module(_HOMES.get(name, "foedus.client.errors")), name)
    globals()[name] = value
    return value
