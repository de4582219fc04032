"""The officers of a demo's members, who decide by vote. One law: only signed words of Q of them decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fl.application import REWARD_FUND
from fl.governance.changes import change_between
from fl.incentives.records import RewardFunding
from fl.membership.records import Action
from fl.records import TaskSpec, TaskState
from fl.state import task_key
from foedus.cli.speaking import reaching
from foedus.client.facts import read_fact
from foedus.client.membership import approve, find_proposal, propose
from foedus.client.opening import Reached
from foedus.client.statements import say
from genesis.local import OFFICER_SUFFIX


@dataclass(frozen=True, slots=True)
class Council:
    """Speaks for each organisation through the organisation's own node."""

    urls: Mapping[str, str]
    """API by organisation."""

    keys: Mapping[str, Path]
    genesis: Path
    quorum: int

    def decide(self, actions: Sequence[Action]) -> None:
        """Have the first organisation propose, and as many others agree as are needed."""
        first, *others = self._voters()
        numbers = reaching(
            self.urls[first], lambda reached: _propose(reached, actions), key=self._key(first), genesis=self.genesis
        )
        for name in others:
            reaching(
                self.urls[name], lambda reached: _approve(reached, numbers), key=self._key(name), genesis=self.genesis
            )

    def change(self, before: TaskSpec, after: TaskSpec) -> None:
        """Decide that a running task goes on under another specification."""
        self.decide([change_between(before, after)])

    def fund(self, organisation: str, task: str, amount: int) -> None:
        """Put credits of an organisation into a task's pot."""

        async def work(reached: Reached) -> None:
            assert reached.key is not None, "a key was given"
            await say(reached.wire, reached.key, reached.trust.chain_id, REWARD_FUND, RewardFunding(task, amount))

        reaching(self.urls[organisation], work, key=self._key(organisation), genesis=self.genesis)

    def specification(self, task: str) -> TaskSpec:
        """Return what a task is at the moment, proven."""

        async def work(reached: Reached) -> TaskSpec:
            found = await read_fact(reached.wire, reached.trust, task_key(task), TaskState)
            assert found is not None, f"{task} stands in the genesis document"
            return found.spec

        return reaching(self.urls[self._voters()[0]], work, genesis=self.genesis)

    def _voters(self) -> tuple[str, ...]:
        return tuple(self.urls)[-self.quorum :]

    def _key(self, organisation: str) -> Path:
        return self.keys[f"{organisation}{OFFICER_SUFFIX}"]


async def _propose(reached: Reached, actions: Sequence[Action]) -> list[int]:
    outcomes = [await propose(reached, action) for action in actions]
    return [proposal.number for _, proposal in outcomes if proposal is not None]


async def _approve(reached: Reached, numbers: Sequence[int]) -> None:
    for number in numbers:
        proposal = await find_proposal(reached, number)
        assert proposal is not None, "it was proposed a moment ago"
        await approve(reached, proposal)
