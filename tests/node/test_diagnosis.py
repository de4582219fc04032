"""Why a node does not go on: each reason names who is waited for, and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus import Awaited, Standing
from fl.results import job_of
from fl.state import present, round_of
from ledger.fields import Height, View
from node.clocks import clock_reasons, own_offset_ms
from node.diagnosis import PATIENCE_MS, height_reasons, quorum_reasons, why_stuck
from node.payloads import PayloadStore
from node.payloads.quota import StoreUsage
from node.reason import REASONS, Reason
from node.results import Progress
from node.round_reasons import closed_rounds
from node.space import FREE_BYTES_MIN, space_reasons
from node.view import PeerLink
from tests.node.consortium import until, validators
from tests.node.running import NAMES, heart_task, rows, running

DRIFT_MS = 10_000
FOUR = validators(4)


def links(*offsets_ms: float | None) -> list[PeerLink]:
    return [
        PeerLink(name=f"v{1 + index}", connected=offset is not None, clock_offset_ms=offset)
        for index, offset in enumerate(offsets_ms)
    ]


@pytest.mark.parametrize("off", [-60_000.0, 60_000.0])
def test_a_machine_that_all_others_contradict_is_the_one_whose_clock_is_off(off: float) -> None:
    """The others are `off` ahead of it, so it is as much behind."""
    (reason,) = clock_reasons(links(off, off + 3, off - 3), DRIFT_MS)
    assert (reason.code, reason.stops) == ("clock.own", "node")
    assert reason.milliseconds == pytest.approx(-off, abs=5)
    assert f"60.0 s {'behind' if off > 0 else 'ahead of'} most others'" in reason.detail


def test_one_other_whose_clock_is_off_is_named_and_stops_nothing() -> None:
    (reason,) = clock_reasons(links(5, -3_600_000, -8), DRIFT_MS)
    assert (reason.code, reason.stops, reason.names) == ("clock.peer", "nothing", ("v2",))
    assert "3600.0 s behind" in reason.detail


def test_f_liars_about_the_time_make_nobody_doubt_his_own_clock() -> None:
    reasons = clock_reasons(links(10**12, 10**12, 3, -2, 4, 1), DRIFT_MS)
    assert {reason.code for reason in reasons} == {"clock.peer"}
    assert own_offset_ms(links(10**12, 10**12, 3, -2, 4, 1)) == pytest.approx(0, abs=5)


@pytest.mark.parametrize("heard", [(), (90_000.0, None, None), (None, None, None)])
def test_while_less_than_most_can_be_asked_no_clock_is_called_off(heard: tuple[float | None, ...]) -> None:
    found = clock_reasons(links(*heard), DRIFT_MS)
    assert [reason for reason in found if reason.code == "clock.own"] == []


def test_a_clock_within_half_of_what_is_tolerated_is_good_and_beyond_it_told_before_votes_are_lost() -> None:
    assert clock_reasons(links(4_900, 4_900, 4_900), DRIFT_MS) == []
    (reason,) = clock_reasons(links(5_100, 5_100, 5_100), DRIFT_MS)
    assert (reason.code, reason.stops) == ("clock.own", "nothing")


def standing(awaited: Awaited, *signers: int, goal: int = 7) -> Standing:
    return Standing(
        Height(7), View(2), primary=1, awaited=awaited, signers=signers, can_sign=True, seen_elsewhere=False,
        goal=Height(goal),
    )  # fmt: skip


def only(found: list[Reason]) -> Reason:
    (reason,) = found
    assert reason.code in REASONS
    return reason


@pytest.mark.parametrize(
    "awaited, name",
    [(Awaited.PREPARED, "prepared"), (Awaited.COMMIT, "commit"), (Awaited.VIEW_CHANGE, "view-change")],
)
def test_a_missing_certificate_comes_with_those_who_signed_and_those_who_did_not(awaited: Awaited, name: str) -> None:
    reason = only(list(height_reasons(standing(awaited, 0, 3), FOUR, PATIENCE_MS)))
    assert (reason.code, reason.certificate) == ("certificate.missing", name)
    assert (reason.signed, reason.names) == (("v0", "v3"), ("v1", "v2"))
    assert f"the {name} certificate of height 7, view 2 has 2 of 3 signatures" in reason.detail


def test_a_primary_that_does_not_propose_is_named() -> None:
    reason = only(list(height_reasons(standing(Awaited.PROPOSAL), FOUR, PATIENCE_MS)))
    assert (reason.code, reason.names) == ("proposal.missing", ("v1",))


def test_a_decided_block_that_is_not_here_comes_with_those_who_have_it() -> None:
    reason = only(list(height_reasons(standing(Awaited.BODY, 0, 1, 2), FOUR, PATIENCE_MS)))
    assert (reason.code, reason.names) == ("block.missing", ("v0", "v1", "v2"))


def test_a_chain_without_work_or_with_work_of_a_moment_ago_waits_for_nobody() -> None:
    assert list(height_reasons(standing(Awaited.PREPARED, 0), FOUR, 0)) == []
    assert list(height_reasons(standing(Awaited.PREPARED, 0), FOUR, PATIENCE_MS - 1)) == []


def test_who_is_behind_says_by_how_much_and_blames_no_certificate() -> None:
    reason = only(list(height_reasons(standing(Awaited.PREPARED, 0, goal=107), FOUR, PATIENCE_MS)))
    assert reason.code == "chain.behind"
    assert "100 blocks behind" in reason.detail


def test_a_validator_that_is_reached_through_another_one_is_not_away() -> None:
    peers = [PeerLink(name=f"v{n}", connected=False, reachable=n < 3) for n in (1, 2, 3)]
    assert list(quorum_reasons(peers, FOUR)) == []
    reason = only(list(quorum_reasons([*peers[1:], PeerLink(name="v1", connected=False)], FOUR)))
    assert reason.names == ("v3", "v1")
    assert "2 of 3 validators" in reason.detail


def test_space_is_told_before_it_is_gone(tmp_path: Path) -> None:
    assert list(space_reasons(FREE_BYTES_MIN, StoreUsage(0, 0, 90, 100), tmp_path)) == []
    found = list(space_reasons(FREE_BYTES_MIN - 1, StoreUsage(0, 0, 91, 100), tmp_path))
    assert [reason.code for reason in found] == ["disk.low", "payload.quota"]


def test_a_chain_is_stuck_only_with_work_and_then_says_why() -> None:
    away = Reason(code="quorum.away", stops="chain", detail="2 of 3 are connected")
    waits = Reason(code="round.open", stops="round", detail="a round waits")
    assert why_stuck([away, waits], PATIENCE_MS - 1) == ""
    assert why_stuck([away, waits], PATIENCE_MS) == "2 of 3 are connected"
    assert "no block for 5 s" in why_stuck([waits], PATIENCE_MS)


async def test_two_of_four_that_are_down_are_named_by_a_running_node(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        node = consortium.nodes["cleveland"]
        assert {reason.code for reason in node.status().reasons} <= {"round.open"}
        await consortium.stop("hungary", "switzerland")
        await until(lambda: sum(peer.reachable for peer in node.status().peers) == 1)
        status = node.status()
    reason = next(one for one in status.reasons if one.code == "quorum.away")
    assert set(reason.names) == {"hungary", "switzerland"}
    assert status.peers[0].address.startswith("127.0.0.1:")


async def test_an_open_round_names_those_whose_updates_it_waits_for(tmp_path: Path) -> None:
    async with running(tmp_path, heart_task(collect_ms=60_000)) as consortium:
        await consortium.update("cleveland", rows(1)[0])
        (reason,) = consortium.nodes["cleveland"].status().reasons
    assert (reason.code, reason.stops, reason.remedy) == ("round.open", "round", "")
    assert set(reason.names) == set(NAMES) - {"cleveland"}
    assert "has 1 updates of 4" in reason.detail


async def test_a_closed_round_says_which_payload_is_missing_or_whose_signatures(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await consortium.over(await consortium.fill_round(rows(1)))
        node = consortium.nodes["cleveland"]
        job = job_of(node.state(), present(round_of(node.state(), "heart", 1), "the round"))
        closed_ms = job.round.deadline_ms - job.spec.aggregate_ms
        empty = await PayloadStore.open(tmp_path / "empty", bytes_max=1 << 20)

        def found(progress: Progress, shelf: PayloadStore, waited_ms: int = PATIENCE_MS) -> list[Reason]:
            set_ = node.chain.validators
            return list(closed_rounds([progress], set_, shelf, closed_ms + waited_ms, PATIENCE_MS))

        unfetched = only(found(Progress(job, computed=False, error="", signers=()), empty))
        failing = only(found(Progress(job, computed=False, error="disk full", signers=()), node.payload_store))
        lonely = only(found(Progress(job, computed=True, error="", signers=(0, 2)), node.payload_store))
        assert found(Progress(job, computed=True, error="", signers=(0, 1, 2)), node.payload_store) == []
        assert found(Progress(job, computed=False, error="", signers=()), empty, PATIENCE_MS - 1) == []
        await empty.close()
    names = [member.name for member in node.chain.validators.members]
    assert (unfetched.code, set(unfetched.names)) == ("payload.unfetched", set(NAMES))
    assert (failing.code, "disk full" in failing.detail) == ("round.uncomputed", True)
    assert (lonely.code, lonely.certificate) == ("round.uncertified", "execution")
    assert (lonely.signed, lonely.names) == ((names[0], names[2]), (names[1], names[3]))
