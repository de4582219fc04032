"""Two proposers in a row that keep somebody's transactions off the chain, among real nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from fl.records import EvaluationReport
from genesis.local import LocalPlan, make_local
from ledger.application import StateReader
from ledger.codec import encode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.transaction import decode_transaction, sign_transaction
from node.mempool import Mempool
from node.node import Node, clock_ms
from node.overlooked import PATIENCE_SECONDS
from tests.node.running import NAMES, RunningConsortium, heart_task

PARAMETERS = ConsensusParameters(view_timeout_ms=20_000)
"""So long that nothing in this test happens because a view's time is over."""

VICTIM, TRAFFIC = NAMES[0], NAMES[1]


def censor(mempool: Mempool, victim: bytes) -> None:
    """Have a node hold the victim's transactions and never propose them; it votes like an honest one."""
    select = mempool.select

    def without_victim(state: StateReader, count_max: int, bytes_max: int) -> list[bytes]:
        return [raw for raw in select(state, count_max, bytes_max) if decode_transaction(raw).sender != victim]

    mempool.select = without_victim  # type: ignore[method-assign]
    mempool.has_next = lambda state: bool(without_victim(state, 100, 65_536))  # type: ignore[method-assign]


async def say(node: Node, key: SigningKey) -> Digest:
    """Submit the smallest transaction there is; return its id."""
    nonce = node.next_free_nonce(key.public_key)
    report = EvaluationReport("heart", 0, 10, ())
    return await node.submit(encode(sign_transaction(key, node.chain_id, "evaluation", nonce, report)))


async def everywhere(nodes: Sequence[Node], identity: Digest) -> None:
    async with asyncio.timeout(10):
        while not all(identity in node.mempool for node in nodes):  # noqa: ASYNC110 - a pool has no event of its own
            await asyncio.sleep(0.01)


async def test_the_second_primary_that_passes_a_transaction_over_loses_its_view_at_once(tmp_path: Path) -> None:
    """Height 1 and 2 belong to censors. Without R10 the transaction would wait for height 3, which nobody begins."""
    plan = LocalPlan(NAMES, NAMES, (heart_task(),), parameters=PARAMETERS)
    consortium = RunningConsortium(make_local(tmp_path / "consortium", plan, time_ms=clock_ms()))
    await consortium.start()
    try:
        nodes = [consortium.nodes[name] for name in sorted(NAMES)]
        victim, traffic = consortium.key(VICTIM), consortium.key(TRAFFIC)
        for index in (1, 2):
            censor(nodes[index].mempool, victim.public_key)
        wanted = await say(nodes[0], victim)
        await everywhere(nodes, wanted)
        began = monotonic()
        async with asyncio.timeout(10):
            while monotonic() < began + PATIENCE_SECONDS + 0.5:  # noqa: ASYNC110 - it is time itself that must pass
                await asyncio.sleep(0.05)

        await say(nodes[0], traffic)
        for node in nodes:
            await asyncio.wait_for(node.wait_for_block(Height(1)), 10)
        assert nodes[0].store.transaction(wanted) is None, "the first censor is not known for one yet"
        began = monotonic()
        await say(nodes[0], traffic)
        receipt = await consortium.receipt(nodes[0], wanted)

        assert receipt.accepted
        found = nodes[0].store.transaction(wanted)
        assert found is not None
        assert found.height == 2
        certified = nodes[0].store.certified_block(Height(2))
        assert certified is not None
        assert certified.certificate.view == 1, "the honest primary of the next view took it in"
        assert certified.block.header.proposer == 3
        assert monotonic() - began < PARAMETERS.view_timeout_ms / 1000 / 2
        assert nodes[0].metrics.passed_over._value.get() == 1
        (reason,) = (reason for reason in nodes[0].status().reasons if reason.code == "proposal.censoring")
        assert (reason.names, reason.height, reason.view) == ((sorted(NAMES)[2],), 2, 0)
    finally:
        await consortium.stop()
