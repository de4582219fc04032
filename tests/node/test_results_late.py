"""A round that others certify while this node still computes it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import msgspec
import numpy as np

from fl.aggregates import sign_result, verify_result_seal
from fl.results import closed_jobs
from ledger.certificate import Seal
from ledger.codec import decode, encode
from ledger.digest import Digest, digest
from ledger.evidence import offences, result_message
from ledger.fields import Height
from ledger.merkle import leaf_hash
from ledger.payload import PayloadDescriptor, chunks_of, describe
from ledger.validators import ValidatorSet
from node.accusations import proof_of_results
from node.results import RESULT_VOTE_BYTES_MAX, ResultBook, ResultVote
from tests.fl.consortium import CHAIN, NAMES, SCHEMA, Consortium, key_of, task_spec, validators_of

ROWS = np.array([[100 * row + column for column in range(SCHEMA.size)] for row in range(4)], np.int16)
RESULT, OTHER = digest("test-result", b"one"), digest("test-result", b"two")


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

    book.turn_to(after)

    (claim,) = book.claims()
    assert [seal.validator for seal in claim.seals] == [0, 1, 2]
    for seal in claim.seals:
        assert verify_result_seal(CHAIN, after, result.task, result.round, result.digest, seal)
    await book.stop()


def vote_of(name: str, digest: Digest, validators: ValidatorSet) -> bytes:
    index = validators.index_of(key_of(name, "validator").public_key)
    assert index is not None
    signature = key_of(name, "validator").sign("result", CHAIN, result_message("heart", 1, digest))
    return encode(ResultVote("heart", 1, digest, Seal(index, signature)))


async def test_votes_count_on_under_new_indices_when_the_set_changes_and_who_left_is_not_counted() -> None:
    _, _, _, book = closed_round()
    before, after = validators_of(NAMES), validators_of(("bern", *NAMES[1:]))
    for name in NAMES[:3]:
        assert book.take_vote(vote_of(name, RESULT, before))

    book.turn_to(after)

    votes = book._rounds["heart", 1].votes
    assert sorted(after.members[index].name for index in votes) == sorted(NAMES[1:3])
    assert all(vote.seal.validator == index for index, vote in votes.items())
    assert not book.take_vote(vote_of(NAMES[1], RESULT, after)), "known already"
    assert book.take_vote(vote_of("bern", RESULT, after))
    await book.stop()


async def test_a_vote_of_one_round_does_not_count_as_one_of_another() -> None:
    _, _, _, book = closed_round()
    vote = decode(vote_of(NAMES[1], RESULT, validators_of(NAMES)), ResultVote, bytes_max=1_024)

    assert not book.take_vote(encode(msgspec.structs.replace(vote, round=2)))
    await book.stop()


async def test_two_results_of_one_round_prove_their_signer_a_liar() -> None:
    _, _, _, book = closed_round()
    validators, shown = validators_of(NAMES), list[tuple[ResultVote, ResultVote]]()
    book._on_two_results = lambda *votes: shown.append(votes)
    for result in (RESULT, OTHER, RESULT):
        book.take_vote(vote_of(NAMES[2], result, validators))

    (votes,) = shown
    (offence,) = offences(CHAIN, validators, proof_of_results(Height(1), *votes))
    assert (offence.kind, validators.members[offence.validator].name) == ("conflicting-results", NAMES[2])
    await book.stop()
