"""A node whose build computes something else: it stops by itself and says so, and nobody else is held up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fl.application import FederatedLearning
from ledger.application import BlockContext, Overlay
from ledger.receipt import Event
from ledger.transaction import Transaction
from node.chain import DivergedError
from node.node import Node
from tests.node.running import running


class FaultyBuild(FederatedLearning):
    """Forgets what it was told about evaluations."""

    def execute(self, state: Overlay, context: BlockContext, transaction: Transaction) -> tuple[Event, ...]:
        """Say something else than everybody."""
        events = super().execute(state, context, transaction)
        return () if transaction.kind == "evaluation" else events


async def test_a_node_that_executes_otherwise_than_a_quorum_ends_with_a_diagnosis_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as consortium:
        faulty = consortium.nodes["va-long-beach"]
        _break(faulty)
        assert (await consortium.evaluate("cleveland")).accepted
        async with asyncio.timeout(20):
            with pytest.raises(DivergedError, match=r"certified by a quorum but invalid here.*foedus audit"):
                await faulty.wait()
        assert (await consortium.evaluate("hungary")).accepted
        assert faulty.chain.height == 0


def _break(node: Node) -> None:
    node.chain._application = FaultyBuild()
