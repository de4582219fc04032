"""What rounds wait for. One law: it names those who are waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from fl.governance.state import paused_until_ms
from fl.records import PARTICIPANTS_MAX, Participant, RoundState, TaskSpec
from fl.state import PARTICIPANT_PREFIX, active_tasks, decoded, present, round_of, task_of
from ledger.payload import PayloadDescriptor
from ledger.state_map import StateMap
from ledger.validators import ValidatorSet
from node.reason import Reason, listed
from node.results import Progress
from node.store import ChainReader
from node.view import PayloadShelf


def open_rounds(state: StateMap, store: ChainReader) -> Iterator[Reason]:
    """Name the rounds that wait for updates, and whose, or for the end of a pause.

    Args:
        state: after the last block.
        store: lists the participants.
    """
    for name in active_tasks(state):
        task = present(task_of(state, name), "an active task")
        latest = present(round_of(state, name, task.round), "a task's latest round")
        until_ms = paused_until_ms(state, name)
        if until_ms is not None:
            yield _paused(latest, until_ms)
        elif latest.status == "open":
            yield _open(task.spec, latest, _awaited(task.spec, latest, store))


def _paused(latest: RoundState, until_ms: int) -> Reason:
    until = datetime.fromtimestamp(until_ms / 1000, UTC)
    return Reason(
        code="round.paused",
        stops="round",
        detail=f"round {latest.number} of {latest.task} is paused by the members until {until:%Y-%m-%d %H:%M:%S} UTC",
        remedy="nothing; a quorum can end the pause earlier: foedus proposal resume",
        task=latest.task,
        round=latest.number,
    )


def _open(spec: TaskSpec, latest: RoundState, awaited: tuple[str, ...]) -> Reason:
    received = len(latest.participants)
    until = "no deadline before the first" if not latest.deadline_ms else "it closes at its deadline or when all came"
    return Reason(
        code="round.open",
        stops="round",
        detail=f"round {latest.number} of {spec.id} has {received} updates of {spec.updates_max} and needs "
        f"{spec.updates_min} ({until}); none yet from {listed(awaited)}",
        names=awaited,
        task=spec.id,
        round=latest.number,
    )


def _awaited(spec: TaskSpec, latest: RoundState, store: ChainReader) -> tuple[str, ...]:
    """Return who may still submit: an organisation counts once a round."""
    people = [decoded(value, Participant) for _, value in store.state_items(PARTICIPANT_PREFIX, limit=PARTICIPANTS_MAX)]
    return tuple(
        sorted(
            one.name
            for one in people
            if "trainer" in one.roles
            and (not spec.participants or one.name in spec.participants)
            and one.organisation not in latest.organisations
        )
    )


def closed_rounds(
    progress: Sequence[Progress], validators: ValidatorSet, payloads: PayloadShelf, now_ms: int, patience_ms: int
) -> Iterator[Reason]:
    """Say what keeps closed rounds from their certificates.

    Args:
        progress: of each closed round.
        validators: whose signatures it takes.
        payloads: what is here.
        now_ms: the time of day.
        patience_ms: a round that closed less than so long ago needs no reason.
    """
    for one in progress:
        spec, latest = one.job.spec, one.job.round
        waited_ms = now_ms - (latest.deadline_ms - spec.aggregate_ms)
        if waited_ms < patience_ms:
            continue
        if not one.computed:
            missing = [(owner, need) for owner, need in _needed(one) if not payloads.has(need.id)]
            yield _unfetched(one, missing, waited_ms) if missing else _uncomputed(one, waited_ms)
        elif len(one.signers) < validators.quorum:
            yield _uncertified(one, validators, waited_ms)


def _needed(one: Progress) -> Iterator[tuple[str, PayloadDescriptor]]:
    if one.job.base.payload is not None:
        yield f"model {one.job.base.version}", one.job.base.payload
    for update in one.job.updates:
        yield update.participant, update.payload


def _unfetched(one: Progress, missing: Sequence[tuple[str, PayloadDescriptor]], waited_ms: int) -> Reason:
    what = listed(tuple(f"{owner} ({need.id.hex()[:16]}, {need.size} bytes)" for owner, need in missing))
    return Reason(
        code="payload.unfetched",
        stops="round",
        detail=f"round {one.job.round.number} of {one.job.spec.id} needs payloads that are not here: {what}",
        remedy="see to the connections to the validators that hold them (each of a quorum does), and to the space for "
        "payloads; the node goes on asking",
        names=tuple(owner for owner, _ in missing),
        task=one.job.spec.id,
        round=one.job.round.number,
        milliseconds=waited_ms,
    )


def _uncomputed(one: Progress, waited_ms: int) -> Reason:
    why = f": {one.error}" if one.error else ", it is at work"
    return Reason(
        code="round.uncomputed",
        stops="round",
        detail=f"this node has not computed the result of round {one.job.round.number} of {one.job.spec.id} "
        f"{waited_ms // 1000} s after it closed{why}",
        remedy="see to what the message names; the node tries again by itself" if one.error else "",
        task=one.job.spec.id,
        round=one.job.round.number,
        milliseconds=waited_ms,
    )


def _uncertified(one: Progress, validators: ValidatorSet, waited_ms: int) -> Reason:
    names = [member.name for member in validators.members]
    signed = tuple(names[index] for index in one.signers)
    missing = tuple(name for name in names if name not in signed)
    return Reason(
        code="round.uncertified",
        stops="round",
        detail=f"the execution certificate of round {one.job.round.number} of {one.job.spec.id} has "
        f"{len(signed)} of {validators.quorum} signatures: {listed(signed)}; missing: {listed(missing)}",
        remedy="ask the missing ones for `foedus doctor`: their nodes are down, lack a payload, or computed otherwise",
        names=missing,
        signed=signed,
        certificate="execution",
        task=one.job.spec.id,
        round=one.job.round.number,
        milliseconds=waited_ms,
    )
