"""The API of a node that has pruned its past: headers for ever, a clear answer for the rest."""

from __future__ import annotations

from pathlib import Path

from ledger.fields import Height
from node.api.answers import BlocksAnswer
from node.api.headers import CertifiedHeaderAnswer
from tests.node.api_client import asking, evaluation
from tests.node.single_node import served


async def test_a_pruned_block_is_gone_and_its_header_is_not(tmp_path: Path) -> None:
    async with served(tmp_path) as node, asking(node) as asker:
        said = [await asker.submit("alpha", "evaluation", evaluation()) for _ in range(4)]
        node.node.store.prune(Height(3))

        gone = await asker.get("/v1/blocks/2")
        unknown = await asker.get("/v1/blocks/9")
        transaction = await asker.get(f"/v1/transactions/{said[0].id}")
        header = (await asker.get("/v1/headers/2")).read(CertifiedHeaderAnswer)
        listed = (await asker.get("/v1/blocks")).read(BlocksAnswer)
        proof = await asker.get(f"/v1/proofs/receipts/{said[3].id}")

    assert (gone.status, gone.code) == (410, "block.pruned")
    assert b"/v1/headers/2" in gone.body
    assert (unknown.status, unknown.code) == (404, "block.unknown")
    assert (transaction.status, transaction.code) == (404, "transaction.unknown")
    assert b"blocks below 3 are pruned here" in transaction.body
    assert header.header.height == 2
    assert [one.pruned for one in listed.items] == [False, False, True, True]
    assert proof.status == 200
