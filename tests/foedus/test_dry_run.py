"""A proposed change, tried on past rounds: exactly the verdicts that would change are listed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from fl.aggregators import RuleSpec
from fl.governance.changes import change_between
from fl.governance.records import PauseLearning
from foedus.audit.dry_run import DryRun, DryRunError, dry_run
from ledger.payload import PayloadDescriptor
from tests.fl.consortium import SCHEMA, task_spec
from tests.fl.members import Members

OUTLIER = "d"


def trained(rounds: int, **changes: object) -> Members:
    """Return a consortium whose member d is far off in each round."""
    members = Members.begin(4, task_spec(**changes))
    near = np.arange(1, SCHEMA.size + 1, dtype=np.int16)
    for number in range(rounds):
        words = {name: near + place + number for place, name in enumerate("abc")} | {OUTLIER: np.int16(-500) - near}
        updates = [
            members.chain.transaction(name, "update", members.chain.update(name, row.astype(np.int16)))
            for name, row in words.items()
        ]
        members.block(*updates)
        assert members.chain.certify(members.chain.claim(members.chain.compute())).accepted
    return members


def tried(members: Members, number: int, *, rounds_max: int = 10, lost: frozenset[int] = frozenset()) -> DryRun:
    """Try a proposal; the updates of some rounds are lost."""

    def payload(descriptor: PayloadDescriptor) -> bytes | None:
        index = list(members.chain.payloads).index(descriptor.id)
        return None if index in lost else members.chain.payloads[descriptor.id]

    return dry_run(members.chain.state, payload, number, rounds_max=rounds_max)


def proposed(members: Members, **changes: object) -> int:
    """Put a change to the vote."""
    spec = members.chain.task().spec
    return members.vote(change_between(spec, msgspec.structs.replace(spec, **changes)), "a")


def test_whose_verdict_would_change_is_listed_and_nobody_else() -> None:
    members = trained(3, rule=RuleSpec("weighted-mean/1", 0))
    number = proposed(members, rule=RuleSpec("trimmed-mean/1", 1, ("nnm/1",)))

    found = tried(members, number, rounds_max=2)

    assert [one.number for one in found.rounds] == [3, 2]
    for one in found.rounds:
        assert [verdict.participant for verdict in one.verdicts if verdict.changes] == [OUTLIER]
    assert (found.before, found.after, found.skipped) == ("weighted-mean/1", "nnm/1 -> trimmed-mean/1", 0)


def test_the_same_rule_changes_no_verdict() -> None:
    members = trained(2)
    found = tried(members, proposed(members, rounds=50))
    assert not any(verdict.changes for one in found.rounds for verdict in one.verdicts)
    assert all(verdict.before == verdict.after for one in found.rounds for verdict in one.verdicts)


def test_rounds_that_would_have_failed_and_rounds_that_are_not_kept_are_said() -> None:
    members = trained(2, updates_max=4)
    found = tried(members, proposed(members, updates_min=5, updates_max=5), lost=frozenset({0}))
    assert [(one.number, one.failure) for one in found.rounds] == [(2, "4 updates came, 5 would have been needed")]
    assert found.skipped == 1


def test_what_is_no_change_of_a_task_cannot_be_tried() -> None:
    members = trained(1)
    number = members.vote(PauseLearning(None, 1_000), "a")
    with pytest.raises(DryRunError, match="it is to pause learning"):
        tried(members, number)
    with pytest.raises(DryRunError, match="there is none"):
        tried(members, 9)
