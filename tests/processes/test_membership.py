"""A consortium of real nodes changes under load: one joins, one leaves, one takes new keys, one lies and is put out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from consensus.messages import Commit, Prepare, encode_message
from foedus.demo.processes import Processes
from genesis.keys import public_key_in, read_key
from genesis.local import LocalConsortium
from ledger.certificate import COMMIT, PREPARE, sign_vote
from ledger.digest import digest
from ledger.fields import Height, View
from node.transport.frames import broadcast
from node.wire import Channel
from tests.processes.harness import (
    Trainers,
    grow,
    height_of,
    log_of,
    make_hospitals,
    require_equal_chains,
    start,
    stop_node,
    until,
)
from tests.processes.hostile import HostileMember
from tests.processes.membership import asked, command, newcomer, officer, seated, vote

pytestmark = pytest.mark.processes


@pytest.fixture
def consortium(tmp_path: Path) -> LocalConsortium:
    """Four hospitals."""
    return make_hospitals(tmp_path / "consortium", collect_ms=300)


@pytest.mark.soak
def test_one_joins_while_one_is_down_then_one_leaves_and_one_takes_new_keys(
    consortium: LocalConsortium, processes: Processes
) -> None:
    first, second, third, fourth = consortium.nodes
    start(processes, consortium)
    with Trainers(consortium, first.name) as trainers:
        grow(list(consortium.nodes), 2)
        basel = newcomer(consortium, "basel")
        processes.start_node("basel", basel.node.config)
        processes.kill(f"node-{fourth.name}")  # f of four

        voters = [officer(consortium, node) for node in (first, second, third)]
        vote(consortium, voters, "add", str(basel.card))
        until(lambda: "basel" in seated(first), "the newcomer's seat")
        processes.start_node(fourth.name, fourth.config)
        grow([*consortium.nodes, basel.node], 3)

        stop_node(processes, second)  # four of five decide: the newcomer votes, or nothing grows
        grow([first, third, fourth, basel.node], 3)
        processes.start_node(second.name, second.config)

        voters = [officer(consortium, node) for node in (first, second, third)]
        voters.append(("--key", str(basel.officer), "--url", basel.node.url))
        vote(consortium, voters, "remove", fourth.name)
        until(lambda: fourth.name not in seated(first), "the leaver's seat taken")
        until(lambda: "it left the validator set" in log_of(processes, first), "the leaver cut off")

        before = public_key_in(second.directory / "keys" / "validator.key")
        command("validator", "rotate", "--config", str(second.config), *officer(consortium, second))
        until(lambda: "key.rotated" in log_of(processes, second), "the new keys in their place")
        assert public_key_in(second.directory / "keys" / "validator.key") != before
        grow([first, second, third, basel.node], 2)
        stop_node(processes, third)  # three of four decide: the new key votes, or nothing grows
        grow([first, second, basel.node], 3)

        processes.require_alive()
        processes.stop()
    require_equal_chains(consortium, trainers.acknowledged, third, fourth)
    chain = consortium.directory / "chain.foedus"
    command("export", str(first.data), str(chain))
    assert command("audit", str(chain), "--genesis", str(consortium.genesis))["found"] == []
    assert height_of(basel.node.data) > height_of(fourth.data)


async def test_a_validator_that_votes_for_two_blocks_is_on_record_and_loses_its_seat(
    consortium: LocalConsortium, processes: Processes
) -> None:
    honest, liar = list(consortium.nodes[:3]), consortium.nodes[3]
    start(processes, consortium, liar)
    hostile = HostileMember(consortium, liar)
    with Trainers(consortium, honest[0].name) as trainers:
        await asyncio.to_thread(grow, honest, 1)
        async with hostile.line(honest[0]) as line, hostile.line(honest[1]) as other:
            while not _is_convicted(consortium):
                frames = _two_words(hostile, Height(height_of(honest[0].data) + 2))
                await line.say(frames)
                await other.say(frames)
                await asyncio.to_thread(grow, honest, 1)
            await asyncio.to_thread(until, lambda: liar.name not in seated(honest[2]), "the liar's seat taken")
        changes = await asyncio.to_thread(asked, honest[0], "validators/changes")
        await asyncio.to_thread(grow, honest, 3)
        processes.require_alive()
        processes.stop()
    assert [one["name"] for one in changes["suspended"]] == [liar.name]  # type: ignore[attr-defined]
    require_equal_chains(consortium, trainers.acknowledged, liar)


def _is_convicted(consortium: LocalConsortium) -> bool:
    items = asked(consortium.nodes[0], "evidence")["items"]
    assert isinstance(items, list)
    return any(one["validator"] == consortium.nodes[3].name for one in items)


def _two_words(hostile: HostileMember, height: Height) -> list[bytes]:
    """Return a PREPARE and a COMMIT of one view for two blocks; they are kept until the height comes."""
    validators = hostile.consortium.document.validators
    key = read_key(hostile.node.directory / "keys" / "validator.key")
    chain_id, view = hostile.consortium.document.chain_id, View(0)
    first, second = digest("test-block", b"first"), digest("test-block", b"second")
    words: list[Prepare | Commit] = [
        Prepare(height, view, first, sign_vote(key, chain_id, PREPARE, height, view, validators, first)),
        Commit(height, view, second, sign_vote(key, chain_id, COMMIT, height, view, validators, second)),
    ]
    return [broadcast(Channel.CONSENSUS, 2 * height + place, encode_message(word)) for place, word in enumerate(words)]
