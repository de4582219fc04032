"""The learning state before block 1. One law: what every member signed needs no further approval."""

from __future__ import annotations

from fl.membership.state import register
from fl.records import LearningGenesis
from fl.rounds import activate
from fl.soundness import require_sound
from fl.tasks import require_room
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.digest import ZERO_DIGEST
from ledger.fields import Height
from ledger.validators import ValidatorSet


class InvalidLearningGenesisError(ValueError):
    """The genesis document's participants or tasks contradict each other."""


def learning_genesis_changes(
    genesis: LearningGenesis, base: StateReader, time_ms: int, validators: ValidatorSet
) -> dict[bytes, bytes | None]:
    """Return what the first state holds for federated learning.

    Args:
        genesis: participants and tasks.
        base: what `ledger` has put into the state already.
        time_ms: time of the genesis document.
        validators: the first validator set.

    Raises:
        InvalidLearningGenesisError: two participants share a name or key, or a task could never run.
    """
    names = [participant.name for participant in genesis.participants]
    keys = [participant.public_key for participant in genesis.participants]
    if len(set(names)) != len(names) or len(set(keys)) != len(keys):
        message = "participants need a name and a key of their own each: one is used twice"
        raise InvalidLearningGenesisError(message)
    state = Overlay(base)
    register(state, genesis.participants)
    context = BlockContext(ZERO_DIGEST, Height(0), time_ms, ZERO_DIGEST, validators, 0)
    for task in genesis.tasks:
        try:
            require_room(state)
            require_sound(task)
        except RefusalError as refusal:
            message = f"task {task.id}: {refusal.detail}"
            raise InvalidLearningGenesisError(message) from refusal
        unknown = sorted(set(task.participants) - set(names))
        if unknown:
            message = f"task {task.id}: participants {', '.join(unknown)} are not registered"
            raise InvalidLearningGenesisError(message)
        activate(state, context, task, approvals=())
    return dict(state.changes)
