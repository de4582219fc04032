"""Four nodes together: the whole way of an update, and what liars among them cannot do."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from fl.aggregates import sign_result
from fl.records import AggregateClaim, RoundResult
from fl.results import compute, job_of
from fl.state import model_of, present, result_of, round_of
from ledger.codec import encode
from ledger.payload import PayloadDescriptor
from node.inbox import BYTES_MAX
from node.node import Node
from node.wire import Channel
from tests.node.running import NAMES, RunningConsortium, heart_task, rows, running


async def test_one_transaction_is_ordered_by_four_nodes(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        receipt = await consortium.evaluate("cleveland")
        assert receipt.accepted
        assert await consortium.level() == 1
        assert consortium.same_chain()


async def test_updates_become_a_model_with_the_same_bits_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        for seed in range(3):
            await consortium.over(await consortium.fill_round(rows(seed)))
        await consortium.level()
        assert consortium.same_chain()
        models = {encode(model_of(node.state(), "heart", 3)) for node in consortium.nodes.values()}
        assert len(models) == 1
        roots = {node.state().root for node in consortium.nodes.values()}
        assert len(roots) == 1


async def test_all_nodes_stopped_and_started_together_go_on_where_they_were(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await consortium.over(await consortium.fill_round(rows(1)))
        height = await consortium.level()
        tip = consortium.nodes["cleveland"].chain.tip_id
        await consortium.stop()

        await consortium.start()

        assert {node.chain.height for node in consortium.nodes.values()} == {height}
        assert {node.chain.tip_id for node in consortium.nodes.values()} == {tip}
        await consortium.over(await consortium.fill_round(rows(2)))
        await consortium.level()
        assert consortium.same_chain()


async def test_a_model_that_every_node_lost_is_computed_again_from_its_updates(tmp_path: Path) -> None:
    """A result is signed before its model is on disk, and the lights may go out everywhere in that moment."""
    async with running(tmp_path) as consortium:
        await consortium.over(await consortium.fill_round(rows(1)))
        await consortium.level()
        lost = model_of(consortium.nodes["cleveland"].state(), "heart", 1)
        assert lost is not None
        assert lost.payload is not None
        stores = [node.payload_store.files.path for node in consortium.nodes.values()]
        await consortium.stop()
        for store in stores:
            shutil.rmtree(store / "payloads" / lost.payload.id.hex())

        await consortium.start()

        await consortium.over(await consortium.fill_round(rows(2)))
        assert consortium.round("cleveland", 2).status == "certified"
        await consortium.level()
        assert consortium.same_chain()


async def test_a_silent_validator_does_not_stop_the_chain(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await consortium.stop("hungary")
        names = tuple(name for name in NAMES if name != "hungary")
        number = await consortium.fill_round(rows(1), names)
        await consortium.over(number)
        assert consortium.round("cleveland", number).status == "certified"

        await consortium.start("hungary")
        await consortium.level()
        assert consortium.same_chain()


def falsified(result: RoundResult, how: str) -> RoundResult:
    """Return a result with one lie in it."""
    if how == "one bit of the model":
        root = bytearray(result.model.root)
        root[-1] ^= 1
        return msgspec.structs.replace(result, model=msgspec.structs.replace(result.model, root=bytes(root)))
    if how == "an update dropped":
        return msgspec.structs.replace(result, contributions=result.contributions[1:])
    invented = msgspec.structs.replace(result.contributions[0], participant="zzz")
    return msgspec.structs.replace(result, contributions=(*result.contributions, invented))


@pytest.mark.parametrize("how", ["one bit of the model", "an update dropped", "an update invented"])
async def test_nobody_appends_a_false_result_even_with_a_quorum_of_signatures(tmp_path: Path, how: str) -> None:
    """The liar holds the keys of a quorum, which is more than any f of them have, and still convinces nobody."""
    async with running(tmp_path) as consortium:
        liar = consortium.nodes["cleveland"]
        honest = liar.results.claims
        lies = 0

        def lying() -> list[AggregateClaim]:
            nonlocal lies
            claims = []
            for claim in honest():
                false = falsified(claim.result, how)
                keys = [consortium.validator_key(name) for name in NAMES[:3]]
                seals = tuple(sign_result(key, liar.chain_id, liar.validators(), false) for key in keys)
                claims.append(AggregateClaim(false, tuple(sorted(seals, key=lambda seal: seal.validator))))
                lies += 1
            return claims

        liar.results.claims = lying  # type: ignore[method-assign]
        for seed in range(4):  # every validator is the primary of some of these heights
            number = await consortium.fill_round(rows(seed))
            await consortium.over(number, *NAMES[1:])
            assert consortium.round("hungary", number).status == "certified"
        assert lies > 0
        await consortium.level()
        assert consortium.same_chain()
        for number in range(1, 5):
            certified = result_of(consortium.nodes["hungary"].state(), "heart", number)
            assert certified == await recomputed(consortium.nodes["va-long-beach"], number)


async def recomputed(node: Node, number: int) -> RoundResult:
    """Aggregate a round again from a node's payloads."""
    job = job_of(node.state(), present(round_of(node.state(), "heart", number), "the round"))
    base = None if job.base.payload is None else await read(node, job.base.payload)
    return compute(job, base, [await read(node, update.payload) for update in job.updates]).result


async def read(node: Node, descriptor: PayloadDescriptor) -> bytes:
    return await node.payload_store.read(descriptor.id, 0, descriptor.size)


async def test_out_of_range_words_are_refused_with_a_receipt(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        words = rows(1)[0].copy()
        words[3] = 8_192
        receipt = await consortium.update("va-long-beach", words)
        assert receipt.code == "update.out_of_range"


async def test_a_round_nobody_completes_fails_at_its_deadline_on_all_nodes(tmp_path: Path) -> None:
    async with running(tmp_path, heart_task(collect_ms=300)) as consortium:
        assert (await consortium.update("cleveland", rows(1)[0])).accepted
        await consortium.over(1)
        assert {consortium.round(name, 1).status for name in NAMES} == {"failed"}


async def test_transactions_of_many_senders_reach_the_chain_once(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        receipts = await asyncio.gather(*(consortium.evaluate(name) for name in NAMES))
        assert all(receipt.accepted for receipt in receipts)
        await consortium.level()
        assert consortium.same_chain()


async def test_a_consortium_of_liars_and_silence_within_f_still_trains(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await equivocate(consortium, "cleveland")
        for seed in range(3):
            number = await consortium.fill_round(rows(seed))
            await consortium.over(number, *NAMES[1:])
        await consortium.level()
        assert consortium.same_chain()


async def equivocate(consortium: RunningConsortium, name: str) -> None:
    """Make a node send one half of its peers nothing of what it says in consensus."""
    node = consortium.nodes[name]
    send = node.transport.send
    index = node.validators().index_of(node.key.public_key)
    network = node.driver._network
    others = [peer for peer in range(4) if peer != index]

    def half(data: bytes) -> None:
        for peer in others[:2]:
            send(peer, Channel.CONSENSUS, data)

    network.broadcast = half  # type: ignore[method-assign]


async def test_messages_that_wait_for_the_replica_are_bounded_in_bytes(tmp_path: Path) -> None:
    """I7: a neighbour that sends faster than this node works costs bounded memory."""
    async with running(tmp_path) as consortium:
        driver = consortium.nodes["cleveland"].driver
        for _ in range(200):  # all in one step of the loop, so that the replica takes none of them
            driver.take_message(bytes(1 << 20), b"neighbour")
        assert driver.waiting_bytes <= BYTES_MAX
        assert (await consortium.evaluate("hungary")).accepted
