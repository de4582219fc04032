"""Rounds that are paid for, with four real nodes: each computes the matrix from its own payloads and signs it."""

from __future__ import annotations

from pathlib import Path

from fl.incentives.records import IssueCredits, RewardFunding
from fl.incentives.state import settlement_of, treasury_of
from fl.state import present, result_of
from foedus.audit import audit, open_history
from tests.node.running import NAMES, rows, running
from tests.node.test_members import vote

FIRST, SECOND, THIRD, _ = NAMES


async def test_four_nodes_certify_and_settle_paid_rounds_across_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await vote(consortium, IssueCredits(FIRST, 1_000_000, ""), FIRST, SECOND, THIRD)
        funding = RewardFunding("heart", 1_000_000)
        assert (await consortium.say(f"{FIRST}-officer", "reward.fund", funding, through=FIRST)).accepted
        for number in range(1, 6):
            await consortium.over(await consortium.fill_round(rows(number)))
            assert consortium.round(FIRST, number).status == "certified"
            if number == 3:
                await consortium.level()
                await consortium.stop()
                await consortium.start()
        await consortium.level()

        assert consortium.same_chain()
        for number in range(1, 6):
            state = consortium.nodes[SECOND].state()
            matrix = present(result_of(state, "heart", number), "the result").matrix
            assert matrix is not None
            assert (matrix.updates, matrix.past) == (4, min(number - 1, 3))
            settled = present(settlement_of(state, "heart", number), "the settlement")
            assert settled.paid + settled.returned == settled.stake > 0
        found = present(treasury_of(consortium.nodes[THIRD].state()), "the treasury")
        assert found.minted == 1_000_000
        await consortium.stop()
        directory = next(one.config.parent for one in consortium.local.nodes if one.name == SECOND)
        with open_history(directory) as history:
            report = audit(history, explain=("heart", 5))
        assert (report.found, report.aggregates, report.aggregates_skipped) == ([], 5, 0)
        assert report.explained is not None
