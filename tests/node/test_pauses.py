"""Running nodes under a pause: nothing is taken, and afterwards everything goes on by itself."""

from __future__ import annotations

from pathlib import Path

from fl.application import GOVERNANCE_APPROVE, GOVERNANCE_PROPOSE
from fl.governance.records import PauseLearning
from fl.governance.state import pauses_of
from fl.membership.records import Approval, Proposal
from fl.membership.state import proposal_of
from tests.node.running import NAMES, RunningConsortium, rows, running

PAUSE_MS = 1_500


async def pause(consortium: RunningConsortium) -> None:
    """Let two of four organisations pull the brake."""
    first, second = NAMES[:2]
    said = Proposal(PauseLearning(None, PAUSE_MS))
    assert (await consortium.say(f"{first}-officer", GOVERNANCE_PROPOSE, said, through=first)).accepted
    found = proposal_of(consortium.nodes[first].state(), 1)
    assert found is not None
    agreed = Approval(1, found.digest)
    assert (await consortium.say(f"{second}-officer", GOVERNANCE_APPROVE, agreed, through=second)).accepted


async def test_a_consortium_takes_no_result_while_it_is_paused_and_the_result_afterwards(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await pause(consortium)
        words = rows(1)
        refused = await consortium.update(NAMES[0], words[0])
        assert refused.code == "update.paused"
        (reason,) = consortium.nodes[NAMES[0]].status().reasons
        assert (reason.code, reason.task) == ("round.paused", "heart")

        await consortium.until(NAMES[0], lambda: pauses_of(consortium.nodes[NAMES[0]].state()) == ())

        number = await consortium.fill_round(words)
        await consortium.over(number, *NAMES)
        assert consortium.round(NAMES[0], number).status == "certified"
        await consortium.level()
        assert consortium.same_chain()
