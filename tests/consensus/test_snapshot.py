"""A snapshot in place of blocks: the replica goes on above it, and what it said below binds it no more."""

from __future__ import annotations

import pytest

from consensus import (
    AppendBlock,
    CertifiedBlockReceived,
    FetchBlocks,
    FetchEnded,
    SnapshotInstalled,
)
from consensus.messages import Decided, Prepare, Status
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT
from ledger.fields import Height
from tests.consensus.council import H1, V0, Council, accept, of, receive, sent, votes
from tests.simulation import toy


def chain_of(council: Council, length: int) -> list[Block]:
    """Return blocks, one after the other."""
    tip, blocks = toy.GENESIS, list[Block]()
    for height in range(1, length + 1):
        blocks.append(council.block(height % 4, tip=tip))
        tip = toy.after(blocks[-1])
    return blocks


def installed(council: Council, block: Block) -> SnapshotInstalled:
    header = block.header
    height = Height(header.height)
    return SnapshotInstalled(height, block.id, header.time_ms, council.validators, toy.PARAMETERS)


def test_a_replica_votes_on_top_of_a_snapshot() -> None:
    council = Council()
    blocks = chain_of(council, 6)
    replica = council.replica(0)

    replica.step(installed(council, blocks[4]))
    effects = accept(replica, council.pre_prepare(blocks[5]))

    assert replica.height == Height(6)
    assert [vote for vote in sent(effects) if isinstance(vote, Prepare)]


def test_what_was_voted_below_a_snapshot_is_over() -> None:
    council = Council()
    blocks = chain_of(council, 3)
    replica = council.replica(0)
    assert votes(accept(replica, council.pre_prepare(blocks[0])))

    replica.step(installed(council, blocks[1]))

    assert replica.can_sign
    assert not votes(receive(replica, council.commit(1, blocks[0]), council.commit(2, blocks[0])))
    assert not of(receive(replica, Decided(council.certified(blocks[0]))), AppendBlock)


def test_blocks_go_on_above_a_snapshot_and_a_fetch_that_was_under_way_does_no_harm() -> None:
    council = Council()
    blocks = chain_of(council, 6)
    replica = council.replica(0)
    certificate = council.certified(blocks[5]).certificate
    said = [council.seats[member].sign_status(Height(7), V0, 1, certificate) for member in (2, 3)]
    assert of(receive(replica, *said), FetchBlocks)
    assert replica.height == H1

    replica.step(installed(council, blocks[3]))
    late = replica.step(CertifiedBlockReceived(council.certified(blocks[0])))
    (fetch,) = of(replica.step(FetchEnded()), FetchBlocks)

    assert not of(late, AppendBlock)
    assert (fetch.from_height, fetch.to_height) == (Height(5), Height(6))
    effects = replica.step(CertifiedBlockReceived(council.certified(blocks[4])))
    assert effects[-1] == AppendBlock(council.certified(blocks[4]))


def test_a_snapshot_of_after_the_start_ends_the_observation_of_who_forgot_its_votes() -> None:
    council = Council()
    blocks = chain_of(council, 3)
    early = council.replica(0, observe_until_ms=blocks[2].header.time_ms)
    late = council.replica(0, observe_until_ms=blocks[1].header.time_ms)

    for replica in (early, late):
        replica.step(installed(council, blocks[1]))

    assert not early.can_sign
    assert late.can_sign


def test_a_snapshot_leads_on() -> None:
    council = Council()
    blocks = chain_of(council, 3)
    replica = council.replica(0)
    replica.step(installed(council, blocks[2]))

    with pytest.raises(AssertionError, match="a snapshot is of 2"):
        replica.step(installed(council, blocks[1]))


def test_who_has_no_block_below_says_where_it_stands() -> None:
    council = Council()
    blocks = chain_of(council, 2)
    replica = council.replica(0)
    replica.step(installed(council, blocks[1]))

    (answer,) = sent(receive(replica, council.seats[2].sign_status(Height(2), V0, 1, None)))

    assert isinstance(answer, Status)
    assert answer.height == Height(3)


def test_a_check_for_another_set_counts_for_nothing() -> None:
    """What the driver checked is believed for the set in force alone."""
    council, other = Council(), Council(7)
    block = council.block()
    good = council.certified(block)
    bad = CertifiedBlock(block, council.certificate(COMMIT, block, (1, 2)))

    assert not of(council.replica(0).step(CertifiedBlockReceived(bad, other.validators.hash)), AppendBlock)
    assert of(council.replica(0).step(CertifiedBlockReceived(good, council.validators.hash)), AppendBlock)
