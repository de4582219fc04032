"""A long chain, written straight to the nodes' stores. One law: it is what those nodes could have agreed on.

Blocks are built, executed and certified with the real keys of a local consortium, only without processes and without
votes sent: thousands of blocks in seconds.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from fl.application import FederatedLearning
from fl.records import TaskProposal, TaskSpec
from genesis.document import initial_state
from genesis.keys import read_key
from genesis.local import LocalConsortium, LocalNode
from genesis.presets import PRESETS
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, make_certificate, sign_vote
from ledger.codec import encode
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.transaction import sign_transaction
from node.chain import Chain
from node.store import Store
from node.store.database import DATABASE_NAME

STEP_MS: Final = 5
BATCH_BLOCKS: Final = 256


@dataclass(slots=True)
class Author:
    """Who writes the chain: holds everybody's keys."""

    consortium: LocalConsortium
    validators: dict[str, SigningKey]
    officer: SigningKey
    nonce: int = 0

    @classmethod
    def of(cls, consortium: LocalConsortium) -> Author:
        """Read the keys of a consortium that nobody runs."""
        keys = {node.name: read_key(node.directory / "keys" / "validator.key") for node in consortium.nodes}
        first = consortium.nodes[0].name
        return cls(consortium, keys, read_key(consortium.participants[f"{first}-officer"]))

    def write(self, node: LocalNode, blocks: int, transactions: int) -> None:
        """Append blocks to one node's chain, each with so many proposals of a task."""
        document = self.consortium.document
        with Store.open(node.data, document.chain_id) as store:
            chain = Chain(store, FederatedLearning(), document.chain_id, initial_state(document), document.time_ms)
            for done in range(0, blocks, BATCH_BLOCKS):
                with chain.batch():
                    for _ in range(min(BATCH_BLOCKS, blocks - done)):
                        self._append(chain, [self.proposal() for _ in range(transactions)])

    def _append(self, chain: Chain, raws: list[bytes]) -> None:
        validators, height = chain.validators, chain.next_height
        execution = chain.build(
            raws, chain.tip_time_ms + STEP_MS, height % len(validators), is_verified=lambda _: True, on_invalid=_never
        )
        block = execution.block
        seals = [
            sign_vote(self.validators[one.name], chain.chain_id, COMMIT, height, View(0), validators, block.id)
            for one in validators.members[: validators.quorum]
        ]
        chain.append(CertifiedBlock(block, make_certificate(height, View(0), block.id, seals)), is_verified=bool)

    def proposal(self) -> bytes:
        """Return the officer's next transaction."""
        self.nonce += 1
        spec = msgspec.structs.replace(_spec(), id=f"task-{self.nonce}")
        chain_id = self.consortium.document.chain_id
        proposal = TaskProposal(spec, None)
        return encode(sign_transaction(self.officer, chain_id, "task.propose", self.nonce - 1, proposal))


def copy_chain(source: LocalNode, target: LocalNode) -> None:
    """Give another node that does not run the same chain; the votes of either are its own."""
    target.data.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.data / DATABASE_NAME, target.data / DATABASE_NAME)


def height_of(data: Path) -> Height:
    """Return how far a node's chain goes on its disk."""
    with Store.open_readonly(data) as store:
        tip = store.tip()
    return Height(0) if tip is None else tip.height


def _spec() -> TaskSpec:
    preset = PRESETS["heart"]
    return msgspec.structs.replace(preset.task(preset.trainers, None, None), participants=())


def _never(raw: bytes) -> None:
    raise AssertionError(f"the author writes valid transactions only, {len(raw)} bytes were refused")
