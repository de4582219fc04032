"""A proposed change of a task, tried on the rounds that were. One law: it decides nothing, it says what would be.

Each of the last certified rounds whose updates are still here is aggregated again as it was and as it would have been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from fl.aggregators import AggregationError
from fl.governance.changes import changed_spec
from fl.governance.records import ChangeTask
from fl.membership.state import proposal_of
from fl.records import Contribution, RoundState
from fl.results import AggregationJob, compute, job_of
from fl.state import result_of, round_of, task_of
from ledger.application import StateReader
from ledger.payload import PayloadDescriptor

PayloadReader = Callable[[PayloadDescriptor], bytes | None]


class DryRunError(ValueError):
    """There is no change of a task to try; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one update."""

    participant: str
    before: Contribution
    after: Contribution

    @property
    def changes(self) -> bool:
        """Whether it would have been left out and was not, or the other way round."""
        return self.before.left_out != self.after.left_out


@dataclass(frozen=True, slots=True)
class TriedRound:
    """A round under the proposed specification."""

    number: int
    verdicts: tuple[Verdict, ...]
    """One an update, ascending by participant; none when there would have been no result."""

    failure: str
    """Why there would have been no result; empty otherwise."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a change would have made of the last rounds."""

    task: str
    before: str
    after: str
    """The rules, with what comes before them."""

    rounds: tuple[TriedRound, ...]
    """The latest first."""

    skipped: int
    """Certified rounds among the last whose updates are no longer here."""


def dry_run(state: StateReader, payload: PayloadReader, number: int, *, rounds_max: int) -> DryRun:
    """Try a proposal.

    Args:
        state: after the last block.
        payload: gives verified bytes; None when they are not here.
        number: the proposal's.
        rounds_max: how many of the last certified rounds are looked at.

    Raises:
        DryRunError: it is no change of a task.
    """
    proposal = proposal_of(state, number)
    action = None if proposal is None else proposal.action
    if not isinstance(action, ChangeTask):
        what = "there is none" if action is None else f"it is to {str(action.__struct_config__.tag).replace('-', ' ')}"
        raise DryRunError(f"proposal {number} changes no task, {what}: foedus proposal list shows all")
    task = task_of(state, action.task)
    assert task is not None, "a proposal names a task that there is"
    tried: list[TriedRound] = []
    skipped = 0
    for closed in _certified(state, action.task, task.round, rounds_max):
        job = job_of(state, closed)
        inputs = [payload(update.payload) for update in job.updates]
        known = [one for one in inputs if one is not None]
        if len(known) < len(inputs):
            skipped += 1
        else:
            tried.append(_try(state, job, known, action))
    return DryRun(
        action.task, _rule(task.spec.rule.pre, task.spec.rule.rule), _rule(action.rule.pre, action.rule.rule),
        tuple(tried), skipped,
    )  # fmt: skip


def _certified(state: StateReader, task: str, latest: int, count: int) -> Iterator[RoundState]:
    for number in range(latest, 0, -1):
        if count == 0:
            return
        found = round_of(state, task, number)
        if found is not None and found.status == "certified":
            count -= 1
            yield found


def _try(state: StateReader, job: AggregationJob, updates: list[bytes], action: ChangeTask) -> TriedRound:
    number, spec = job.round.number, changed_spec(job.spec, action)
    result = result_of(state, job.spec.id, number)
    assert result is not None, "a certified round has a result"
    if len(updates) < spec.updates_min:
        return TriedRound(number, (), f"{len(updates)} updates came, {spec.updates_min} would have been needed")
    from_zero = msgspec.structs.replace(job.base, payload=None)  # verdicts do not depend on the model before
    try:
        again = compute(AggregationJob(spec, job.round, from_zero, job.updates), None, updates).result
    except AggregationError as error:
        return TriedRound(number, (), str(error))
    pairs = zip(result.contributions, again.contributions, strict=True)
    return TriedRound(number, tuple(Verdict(one.participant, one, other) for one, other in pairs), "")


def _rule(pre: tuple[str, ...], rule: str) -> str:
    return " -> ".join([*pre, rule])
