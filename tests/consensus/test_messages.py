"""Messages and their bytes; what hostile bytes can do to a replica: nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import (
    MESSAGE_BYTES_MAX,
    Drop,
    MessageReceived,
    SetTimer,
    decode_message,
    encode_message,
)
from consensus.messages import Body, Decided, Message, Prepare
from consensus.votes import VIEWS_PER_MEMBER_MAX, VoteBook
from ledger.block import BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, Block
from ledger.certificate import COMMIT, PREPARE, make_certificate, verify_certificate, verify_vote
from ledger.codec import CodecError
from ledger.fields import Height, View
from ledger.validators import VALIDATORS_MAX
from tests.consensus.council import H1, V0, V1, Council, receive
from tests.simulation import toy

COUNCIL = Council()
BLOCK = COUNCIL.block()
PREPARED = COUNCIL.certificate(PREPARE, BLOCK, (0, 1, 2))
OPENING = COUNCIL.opening(V1, *(COUNCIL.view_change(index, V1, PREPARED) for index in (0, 1, 2)))
MESSAGES: tuple[Message, ...] = (
    COUNCIL.pre_prepare(BLOCK),
    COUNCIL.pre_prepare(BLOCK, V1, OPENING),
    COUNCIL.prepare(2, BLOCK),
    COUNCIL.commit(2, BLOCK),
    COUNCIL.view_change(2, V1),
    COUNCIL.view_change(2, V1, PREPARED),
    OPENING,
    Decided(COUNCIL.certified(BLOCK)),
    COUNCIL.seats[2].sign_status(H1, V0, 3, COUNCIL.certified(BLOCK).certificate),
    COUNCIL.seats[2].seal_body_request(H1, BLOCK.id),
    Body(BLOCK),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


def test_a_message_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(CodecError, match="at most"):
        decode_message(bytes(MESSAGE_BYTES_MAX + 1))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_with_anything_behind_it_is_refused(message: Message) -> None:
    with pytest.raises(CodecError):
        decode_message(encode_message(message) + b"\x00")


def test_votes_are_the_seals_of_certificates() -> None:
    """Nothing is signed twice: what is voted is what anybody can check with the ledger's own function."""
    vote = COUNCIL.commit(2, BLOCK)

    assert verify_vote(toy.CHAIN_ID, COMMIT, H1, V0, COUNCIL.validators, BLOCK.id, vote.seal)
    seals = [COUNCIL.commit(index, BLOCK).seal for index in (3, 0, 2)]
    verify_certificate(toy.CHAIN_ID, COMMIT, COUNCIL.validators, make_certificate(H1, V0, BLOCK.id, seals))


def test_the_largest_proposal_of_the_largest_council_fits_one_message() -> None:
    council = Council(VALIDATORS_MAX)
    size = BLOCK_BYTES_MAX // BLOCK_TRANSACTIONS_MAX
    transactions = (bytes(size),) * BLOCK_TRANSACTIONS_MAX
    proposer = council.validators.primary(H1, V1)
    block = toy.build(toy.GENESIS, transactions, 0, council.validators, proposer)
    signers = range(VALIDATORS_MAX)
    prepared = council.certificate(PREPARE, block, signers)
    opening = council.opening(V1, *(council.view_change(index, V1, prepared) for index in signers))

    assert len(encode_message(council.pre_prepare(block, V1, opening))) <= MESSAGE_BYTES_MAX


@given(st.binary(max_size=300))
def test_no_bytes_bring_a_replica_down(data: bytes) -> None:
    assert all(isinstance(effect, Drop) for effect in COUNCIL.replica(0).step(MessageReceived(data)))


@given(st.sampled_from(MESSAGES), st.data())
def test_a_flipped_bit_never_makes_a_vote_count(message: Message, data: st.DataObject) -> None:
    """Whatever is still a message after the flip is dropped."""
    raw = bytearray(encode_message(message))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    replica = COUNCIL.replica(0)

    effects = replica.step(MessageReceived(bytes(raw)))

    assert all(isinstance(effect, Drop | SetTimer) for effect in effects)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=60))
def test_a_vote_book_is_bounded_and_counts_members_not_votes(cast: list[tuple[int, int]]) -> None:
    book: VoteBook[Prepare] = VoteBook(H1, 4)
    for sender, view in cast:
        book.add(COUNCIL.prepare(sender, BLOCK, View(view)))

    for view in range(9):
        seals = book.seals(View(view), BLOCK.id)
        assert [seal.validator for seal in seals] == sorted({seal.validator for seal in seals})
    kept = [view for view in range(9) if book.find(0, View(view))]
    said = sorted({view for sender, view in cast if sender == 0})
    assert kept == said[-VIEWS_PER_MEMBER_MAX:] or len(kept) == VIEWS_PER_MEMBER_MAX


def test_heights_of_blocks_and_messages_must_agree() -> None:
    second = COUNCIL.block(2, tip=toy.after(BLOCK))
    message = COUNCIL.pre_prepare(second)
    shifted = type(message)(H1, V0, Block(second.header, second.transactions), COUNCIL.prepare(1, BLOCK).seal, None)

    assert all(isinstance(effect, Drop) for effect in receive(COUNCIL.replica(0), shifted))
    assert message.height == Height(2)
