"""A ledger with officers and trainers, served in a thread, so that commands can run beside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

from fl.application import FederatedLearning
from fl.records import LearningGenesis, Participant
from foedus.cli.api import Node
from genesis.document import GenesisDocument, document_text, initial_state
from genesis.keys import write_key
from ledger.digest import digest
from ledger.identity import SigningKey
from node.api.answers import RoundsAnswer
from node.api.server import ApiServer
from node.chain import Chain
from node.mempool import Mempool, MempoolLimits
from node.payloads import PayloadStore
from node.store import Store
from tests.node.single_node import ORGANISATIONS, TRAINER_KEYS, SingleNode, document, toy_task

OFFICER_KEYS = {name: SigningKey(digest("test-officer", name.encode())) for name in ORGANISATIONS}


@dataclass(frozen=True)
class Desk:
    """Where commands are tried."""

    directory: Path
    url: str
    document: GenesisDocument

    @property
    def genesis(self) -> Path:
        """The document, as a file."""
        return self.directory / "genesis.json"

    def key(self, name: str) -> Path:
        """The key file of a trainer, or of an officer (`alpha-officer`)."""
        return self.directory / f"{name}.key"

    def model(self, name: str, **arrays: np.ndarray) -> Path:
        """Write arrays as float32 safetensors."""
        path = self.directory / f"{name}.safetensors"
        save_file({key: np.asarray(array, np.float32) for key, array in arrays.items()}, path)
        return path

    def wait_for_round(self, number: int) -> None:
        """Return once a round of the task `toy` is open, so that the one before is certified."""
        Node(self.url).get(RoundsAnswer, "tasks", "toy", "rounds", limit=1, wait_after=number - 1)

    def toy_model(self, name: str, value: float) -> Path:
        """Write a model of the task `toy` whose values are all the same."""
        return self.model(name, weight=np.full((2, 3), value), bias=np.array(value))


def document_with_officers() -> GenesisDocument:
    plain = document(toy_task())
    officers = tuple(
        Participant(f"{name}-officer", name, OFFICER_KEYS[name].public_key, ("officer",)) for name in ORGANISATIONS
    )
    people = tuple(sorted((*plain.learning.participants, *officers), key=lambda one: one.name))
    return msgspec.structs.replace(plain, learning=LearningGenesis(people, plain.learning.tasks))


@contextmanager
def serving_desk(directory: Path) -> Iterator[Desk]:
    """Serve a new ledger."""
    genesis = document_with_officers()
    (directory / "genesis.json").write_text(document_text(genesis))
    for name, key in TRAINER_KEYS.items():
        write_key(directory / f"{name}.key", key, owner=name)
    for name, key in OFFICER_KEYS.items():
        write_key(directory / f"{name}-officer.key", key, owner=name)
    started, ports, loop = threading.Event(), list[int](), asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        application = FederatedLearning()
        payloads = await PayloadStore.open(directory / "data" / "payloads", bytes_max=1 << 28)
        with Store.open(directory / "data", genesis.chain_id) as store:
            chain = Chain(store, application, genesis.chain_id, initial_state(genesis), genesis.time_ms)
            mempool = Mempool(application, genesis.chain_id, MempoolLimits())
            node = SingleNode(genesis, store, chain, mempool, payloads)
            server = ApiServer(node, node.metrics)
            await server.start()
            ports.append(server.port)
            started.set()
            await stopping.wait()
            await server.stop()
            await asyncio.gather(*node.sealing)
        await payloads.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(20)
    try:
        yield Desk(directory, f"http://127.0.0.1:{ports[0]}", genesis)
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
