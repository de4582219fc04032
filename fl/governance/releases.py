"""Releases of models. One law: whoever proposes a release does not decide on it."""

from __future__ import annotations

from fl.governance.records import Release, ReleaseModel
from fl.governance.state import release_key, release_of
from fl.state import model_of, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader


def require_possible(state: StateReader, action: ReleaseModel) -> None:
    """Check that the model is certified.

    Raises:
        RefusalError: `release.unknown_model`.
    """
    model = model_of(state, action.task, action.version)
    if model is None or model.round == 0 or model.payload != action.model:
        detail = f"{action.task} has no certified model {action.version} with these bytes"
        raise RefusalError("release.unknown_model", detail)


def changes_nothing(state: StateReader, action: ReleaseModel) -> bool:
    """Tell whether the model is released."""
    return release_of(state, action.task, action.version) is not None


def release(
    state: Overlay, context: BlockContext, action: ReleaseModel, number: int, organisations: tuple[str, ...]
) -> None:
    """Release a model by the decision on the proposal of this number."""
    released = Release(action.task, action.version, action.model, number, organisations, context.height)
    write(state, release_key(action.task, action.version), released)
