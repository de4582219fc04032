"""A round that others certify while this node still computes it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import numpy as np

from fl.aggregates import sign_result, verify_result_seal
from fl.results import closed_jobs
from ledger.codec import decode, encode
from ledger.digest import Digest
from ledger.merkle import leaf_hash
from ledger.payload import PayloadDescriptor, chunks_of, describe
from node.results import RESULT_VOTE_BYTES_MAX, ResultBook, ResultVote
from tests.fl.consortium import CHAIN, NAMES, SCHEMA, Consortium, key_of, task_spec, validators_of

ROWS = np.array([[100 * row + column for column in range(SCHEMA.size)] for row in range(4)], np.int16)


@dataclass(slots=True)
class Shelf:
    """Payloads in memory, which can be held back at two places."""

    payloads: dict[Digest, bytes]
    here: asyncio.Event = field(default_factory=asyncio.Event)
    reading: threading.Event = field(default_factory=threading.Event)
    readable: threading.Event = field(default_factory=threading.Event)
    writable: asyncio.Event = field(default_factory=asyncio.Event)
    kept: asyncio.Queue[PayloadDescriptor] = field(default_factory=asyncio.Queue)

    async def obtain(self, descriptor: PayloadDescriptor) -> None:
        await self.here.wait()
        assert descriptor.id in self.payloads

    def read_into(self, descriptor: PayloadDescriptor, offset: int, target: memoryview) -> None:
        self.reading.set()
        assert self.readable.wait(10)
        target[:] = self.payloads[descriptor.id][offset : offset + len(target)]

    async def keep(self, descriptor: PayloadDescriptor, payload: memoryview, chunk_hashes: bytes) -> None:
        await self.writable.wait()
        assert describe(payload) == descriptor
        assert chunk_hashes == b"".join(map(leaf_hash, chunks_of(bytes(payload))))
        await self.kept.put(descriptor)


def closed_round() -> tuple[Consortium, Shelf, asyncio.Queue[bytes], ResultBook]:
    consortium = Consortium.begin(task_spec())
    consortium.fill_round(ROWS)
    shelf, said = Shelf(consortium.payloads), asyncio.Queue[bytes]()
    book = ResultBook(key_of(NAMES[0], "validator"), CHAIN, shelf, said.put_nowait, lambda: None)
    book.validators = validators_of(NAMES)
    book.open_job(next(closed_jobs(consortium.state)))
    return consortium, shelf, said, book


async def test_a_node_keeps_the_model_that_others_were_quicker_to_certify() -> None:
    consortium, shelf, said, book = closed_round()
    shelf.here.set()
    shelf.writable.set()
    await asyncio.to_thread(shelf.reading.wait)

    book.forget_except(set())
    shelf.readable.set()

    async with asyncio.timeout(10):
        assert await shelf.kept.get() == consortium.compute().result.model
    await book.stop()
    assert said.empty(), "a signature over a round that is over is of no use"


async def test_a_round_that_is_over_before_its_updates_came_is_given_up() -> None:
    _, shelf, said, book = closed_round()
    await asyncio.sleep(0)

    book.forget_except(set())
    shelf.here.set()
    shelf.readable.set()
    await book.stop()

    assert shelf.kept.empty()
    assert said.empty()
    assert not shelf.reading.is_set()


async def test_a_signature_does_not_wait_for_the_models_disk() -> None:
    consortium, shelf, said, book = closed_round()
    shelf.here.set()
    shelf.readable.set()

    async with asyncio.timeout(10):
        vote = decode(await said.get(), ResultVote, bytes_max=RESULT_VOTE_BYTES_MAX)
        assert vote.result == consortium.compute().result.digest
        assert shelf.kept.empty()
        shelf.writable.set()
        assert await shelf.kept.get() == consortium.compute().result.model
    await book.stop()


async def test_a_model_that_no_disk_has_is_computed_again_and_not_signed_again() -> None:
    consortium, shelf, said, book = closed_round()
    job = next(closed_jobs(consortium.state))
    book.forget_except(set())
    for gate in (shelf.here, shelf.readable, shelf.writable):
        gate.set()

    book.restore(job)

    async with asyncio.timeout(10):
        assert await shelf.kept.get() == consortium.compute().result.model
    await book.stop()
    assert said.empty()


async def test_votes_of_a_set_keep_counting_in_the_next_one_under_their_new_indices() -> None:
    """A claim whose seals name the members of an earlier set is refused, and no proposer could do better."""
    consortium, shelf, said, book = closed_round()
    shelf.here.set()
    shelf.readable.set()
    before = validators_of(NAMES)
    result = consortium.compute().result
    for name in NAMES[1:]:
        seal = sign_result(key_of(name, "validator"), CHAIN, before, result)
        book.take_vote(encode(ResultVote(result.task, result.round, result.digest, seal)))
    await said.get()
    after = validators_of(NAMES[:1] + NAMES[2:])

    book.validators = after

    (claim,) = book.claims()
    assert [seal.validator for seal in claim.seals] == [0, 1, 2]
    for seal in claim.seals:
        assert verify_result_seal(CHAIN, after, result.task, result.round, result.digest, seal)
    await book.stop()
