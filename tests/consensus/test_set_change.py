"""The committee changes at the border between two heights: who joins votes from there, who leaves only looks on."""

from __future__ import annotations

from msgspec.structs import replace

from consensus import (
    AppendBlock,
    BlockAppended,
    BuildBlock,
    Drop,
    DropReason,
    Effect,
    Evidence,
    FetchBlocks,
    FetchEnded,
    Replica,
    Started,
    Timer,
    TimerExpired,
    TimerKind,
    WorkArrived,
    decode_message,
)
from consensus.committee import Committee
from consensus.messages import Commit, Decided, Prepare, PrePrepare, Status, Vote
from ledger.block import Block, CertifiedBlock
from ledger.certificate import COMMIT, PREPARE
from ledger.evidence import ConflictingCertificates, offences
from ledger.fields import Height, View
from ledger.validators import ValidatorSet
from node.accusations import proof_of_messages
from tests.consensus.council import H1, V0, V1, V2, Council, accept, of, receive, sent, validate, votes
from tests.simulation import toy

H2, H3 = Height(2), Height(3)


class Border:
    """Height 1 belongs to four validators, height 2 to a set that replaces the last of them by a fifth."""

    def __init__(self) -> None:
        keys = toy.signing_keys(5)
        everybody = toy.validator_set(keys).members
        self.keys = keys
        self.before = ValidatorSet.of(everybody[:4])
        self.after = ValidatorSet.of((*everybody[:3], everybody[4]))
        self.council = Council()
        self.block = self.council.block()
        self.tip = toy.after(self.block)

    def replica(self, who: int, *, knows_what_comes: bool = True) -> Replica:
        """Return the replica that holds key number `who`, at height 1, started."""
        replica = Replica(
            toy.CHAIN_ID,
            self.keys[who],
            toy.PARAMETERS,
            self.before,
            height=H1,
            parent_id=toy.CHAIN_ID,
            coming=self.after if knows_what_comes else None,
        )
        replica.step(Started())
        return replica

    def seat(self, who: int, *, of_height: Height = H2) -> Committee:
        """Return key number `who` as a member of a height's set."""
        return Committee(toy.CHAIN_ID, self.before if of_height == H1 else self.after, self.keys[who])

    def cross(self, replica: Replica) -> list[Effect]:
        """Have block 1 decided and appended."""
        signers = [who for who in (0, 1, 2, 3) if self.keys[who].public_key != replica._key.public_key][:3]
        certificate = self.council.certificate(COMMIT, self.block, signers)
        effects = receive(replica, Decided(CertifiedBlock(self.block, certificate)))
        assert isinstance(effects[-1], AppendBlock)
        return replica.step(BlockAppended(H1, self.block.id, self.after, toy.PARAMETERS))

    def second(self, proposer: int) -> Block:
        """Return a block of height 2."""
        return toy.build(self.tip, (b"tx",), self.tip.time_ms + 10, self.after, proposer)

    def vote(self, kind: type[Vote], who: int, block: Block, view: View = V0) -> Vote:
        """Return a vote of height 2."""
        seal = self.seat(who).seal_vote(PREPARE if kind is Prepare else COMMIT, H2, view, block.id)
        return kind(H2, view, block.id, seal)

    def proposal(self, who: int, block: Block) -> PrePrepare:
        """Return a proposal of height 2."""
        return PrePrepare(H2, V0, block, self.seat(who).seal_vote(PREPARE, H2, V0, block.id), None)


def test_a_newcomer_only_looks_on_before_its_first_height_and_votes_from_there() -> None:
    border = Border()
    newcomer = border.replica(4)
    assert (newcomer.index, newcomer.can_sign) == (None, False)
    assert votes(receive(newcomer, border.council.pre_prepare(border.block))) == []

    border.cross(newcomer)

    assert (newcomer.index, newcomer.can_sign) == (3, True)
    block = border.second(2)
    assert border.after.primary(H2, V0) == 2
    (vote,) = votes(accept(newcomer, border.proposal(2, block)))
    assert isinstance(vote, Prepare)
    assert border.seat(0).is_signed_vote(vote)


def test_who_left_signs_nothing_from_there_and_still_learns_what_is_decided() -> None:
    border = Border()
    leaver = border.replica(3)
    assert leaver.can_sign

    border.cross(leaver)

    assert (leaver.index, leaver.can_sign) == (None, False)
    block = border.second(2)
    effects = receive(leaver, border.proposal(2, block), *(border.vote(Commit, who, block) for who in (0, 1, 4)))
    assert votes(effects) == []
    assert [effect.certified.block for effect in of(effects, AppendBlock)] == [block]


def test_a_newcomer_proposes_when_the_new_set_makes_it_primary() -> None:
    border = Border()
    newcomer = border.replica(4)
    border.cross(newcomer)
    assert not newcomer.is_primary
    height_3 = Height(3)
    assert border.after.primary(height_3, V0) == 3

    block = border.second(2)
    effects = receive(newcomer, border.proposal(2, block), *(border.vote(Commit, who, block) for who in (0, 1, 2)))
    assert of(effects, AppendBlock)
    newcomer.step(BlockAppended(H2, block.id, border.after, toy.PARAMETERS))

    assert of(newcomer.step(WorkArrived()), BuildBlock) == [BuildBlock(height_3, V0)]


def test_messages_of_the_next_height_are_judged_by_its_own_set_and_kept_over_the_border() -> None:
    border = Border()
    replica, block = border.replica(0), border.second(2)
    early = receive(replica, border.proposal(2, block), border.vote(Prepare, 1, block), border.vote(Prepare, 4, block))
    assert of(early, Drop) == []

    effects = border.cross(replica)

    assert [type(vote) for vote in votes(validate(replica, effects))] == [Prepare, Commit]


def test_a_vote_of_the_next_height_by_who_has_left_by_then_is_not_kept() -> None:
    border = Border()
    replica, block = border.replica(0), border.second(2)
    leaver = Committee(toy.CHAIN_ID, border.before, border.keys[3])
    vote = Prepare(H2, V0, block.id, leaver.seal_vote(PREPARE, H2, V0, block.id))

    (drop,) = of(receive(replica, vote), Drop)

    assert drop.reason is DropReason.BAD_SIGNATURE


def test_who_was_seen_ahead_is_remembered_over_a_change_of_the_set() -> None:
    border = Border()
    replica = border.replica(0)
    for who in (1, 2):
        status = border.seat(who).sign_status(Height(9), V0, 1, None)
        receive(replica, status)

    border.cross(replica)

    (fetch,) = of(replica.step(FetchEnded()), FetchBlocks)
    assert (fetch.from_height, set(fetch.validators)) == (H2, {1, 2})


def test_a_status_after_the_border_is_signed_by_the_newcomer() -> None:
    border = Border()
    newcomer = border.replica(4)
    border.cross(newcomer)

    effects = newcomer.step(TimerExpired(Timer(TimerKind.STATUS, H1, V0)))

    (status,) = (message for message in sent(effects) if isinstance(message, Status))
    assert (status.height, status.sender) == (H2, border.keys[4].public_key)


# Evidence that needs two kinds of words


def test_a_prepare_and_a_commit_for_different_blocks_in_one_view_are_evidence() -> None:
    council = Council()
    replica, block, other = council.replica(0), council.block(), council.block(text=b"other")

    for words in (
        (council.prepare(2, block), council.commit(2, other)),
        (council.commit(3, block), council.prepare(3, other)),
    ):
        (found,) = of(receive(replica, *words), Evidence)
        assert {type(decode_message(data)) for data in (found.first, found.second)} == {Prepare, Commit}


def test_a_view_change_that_hides_a_commit_is_evidence_and_one_that_tells_it_is_not() -> None:
    council = Council()
    block = council.block()
    prepared = council.certificate(PREPARE, block, (0, 1, 2))
    for replica, first, second in (
        (council.replica(0), council.commit(2, block), council.view_change(2, V1)),
        (council.replica(0), council.view_change(2, V1), council.commit(2, block)),
    ):
        (found,) = of(receive(replica, first, second), Evidence)
        assert found.offender == 2
    honest = council.replica(0)
    assert of(receive(honest, council.commit(2, block), council.view_change(2, V1, prepared)), Evidence) == []
    assert of(receive(honest, council.commit(3, block, V1), council.view_change(3, V1)), Evidence) == []


def test_a_certificate_shows_who_told_somebody_else_another_block() -> None:
    """The primary proposed one block to us and another to the rest, who decide without us."""
    council = Council()
    replica, ours, theirs = council.replica(0), council.block(), council.block(text=b"theirs")
    accept(replica, council.pre_prepare(ours))

    effects = receive(replica, Decided(CertifiedBlock(theirs, council.certificate(COMMIT, theirs, (1, 2, 3)))))

    (found,) = of(effects, Evidence)
    assert found.offender == 1
    assert isinstance(effects[-1], AppendBlock)


def test_a_prepared_certificate_in_a_view_change_shows_it_too() -> None:
    council = Council()
    replica, ours, theirs = council.replica(0), council.block(), council.block(text=b"theirs")
    accept(replica, council.pre_prepare(ours))
    prepared = council.certificate(PREPARE, theirs, (1, 2, 3))

    (found,) = of(receive(replica, council.view_change(2, V2, prepared)), Evidence)

    assert found.offender == 1
    assert [type(decode_message(data)) for data in (found.first, found.second)] == [Prepare, Prepare]


def test_two_final_blocks_of_one_height_are_evidence_by_their_certificates() -> None:
    border = Border()
    replica, council = border.replica(0), border.council
    border.cross(replica)
    fork = council.block(text=b"fork")
    certificate = council.certificate(COMMIT, fork, (1, 2, 3))
    said = border.seat(1).sign_status(H2, V0, 1, certificate)

    for message in (Decided(CertifiedBlock(fork, certificate)), said):
        (found,) = of(receive(replica, message), Evidence)
        proof = proof_of_messages(found)
        assert isinstance(proof, ConflictingCertificates)
        guilty = {offence.validator for offence in offences(toy.CHAIN_ID, border.before, proof)}
        assert len(guilty) > border.before.faulty_max
        assert found.offender in guilty


def test_the_same_final_block_with_other_signers_or_one_that_nobody_signed_is_no_evidence() -> None:
    border = Border()
    replica, council = border.replica(0), border.council
    border.cross(replica)
    fork = council.block(text=b"fork")
    forged = council.certificate(COMMIT, border.block, (1, 2, 3))
    forged = replace(forged, block_id=fork.id)

    for message in (
        Decided(CertifiedBlock(border.block, council.certificate(COMMIT, border.block, (0, 1, 2)))),
        Decided(CertifiedBlock(fork, forged)),
    ):
        assert of(receive(replica, message), Evidence) == []
