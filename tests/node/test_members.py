"""Running nodes and membership: who is attested, who is accused, and that nothing else stops meanwhile."""

from __future__ import annotations

from pathlib import Path

from fl.application import GOVERNANCE_APPROVE, GOVERNANCE_PROPOSE
from fl.membership.cards import Membership
from fl.membership.records import Action, AddMember, Approval, Proposal, ProposalState
from fl.membership.state import offence_of, proposal_of, suspended_of
from fl.records import Participant
from genesis.cards import make_card
from ledger.certificate import PREPARE, sign_vote
from ledger.codec import encode
from ledger.digest import Digest, digest
from ledger.evidence import ConflictingVotes, VoteWord, offences
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.validators import Validator
from node.wire import Channel, InSync, sign_in_sync
from tests.node.running import NAMES, RunningConsortium, rows, running

VOTING, CONNECTING, OFFICER = (SigningKey(bytes([value]) * 32) for value in (201, 202, 203))
FIRST, SECOND, THIRD, LIAR = NAMES


def joining(consortium: RunningConsortium) -> AddMember:
    """Return the action that lets an institution in whose node never runs."""
    node = Validator("basel", VOTING.public_key, CONNECTING.public_key, "")
    people = (Participant("basel-officer", "basel", OFFICER.public_key, ("officer",)),)
    said = Membership("basel", 1_000, node, people)
    chain_id = consortium.local.document.chain_id
    return AddMember(make_card(said, [VOTING, CONNECTING, OFFICER], chain_id=chain_id))


async def vote(consortium: RunningConsortium, action: Action, *names: str) -> None:
    """Let officers propose and approve, each through its own node."""
    for place, name in enumerate(names):
        said = Proposal(action) if place == 0 else Approval(1, proposal(consortium, name).digest)
        kind = GOVERNANCE_PROPOSE if place == 0 else GOVERNANCE_APPROVE
        assert (await consortium.say(f"{name}-officer", kind, said, through=name)).accepted
        await consortium.level()


def proposal(consortium: RunningConsortium, name: str) -> ProposalState:
    """Return the first proposal as a node sees it."""
    found = proposal_of(consortium.nodes[name].state(), 1)
    assert found is not None
    return found


async def test_a_newcomer_is_attested_for_what_is_on_the_chain_and_for_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await vote(consortium, joining(consortium), FIRST, SECOND, THIRD)
        assert proposal(consortium, FIRST).status == "waiting"
        node = consortium.nodes[FIRST]
        chain_id, height, tip = node.chain_id, node.chain.height, node.chain.tip_id

        def tell(name: str, said: InSync) -> None:
            consortium.nodes[name].core.on_frame(len(NAMES), Channel.LEARNER, encode(said))

        for false in (
            sign_in_sync(VOTING, chain_id, height, digest("test", b"another block")),
            sign_in_sync(VOTING, chain_id, Height(height + 3), tip),
            sign_in_sync(CONNECTING, chain_id, height, tip),
            sign_in_sync(VOTING, Digest(bytes(32)), height, tip),
        ):
            tell(FIRST, false)
            tell(THIRD, false)
        tell(SECOND, sign_in_sync(VOTING, chain_id, height, tip))
        await consortium.until(FIRST, lambda: bool(proposal(consortium, FIRST).attestations))
        assert proposal(consortium, FIRST).attestations == (SECOND,)

        tell(THIRD, sign_in_sync(VOTING, chain_id, height, tip))
        await consortium.until(FIRST, lambda: len(node.chain.validators) == len(NAMES) + 1)
        assert (await consortium.evaluate(FIRST)).accepted, "four of five decide though the newcomer does not run"


async def test_what_one_node_can_prove_suspends_while_rounds_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        assert (await consortium.evaluate(FIRST)).accepted
        number = await consortium.fill_round(rows(1))
        liars = consortium.nodes.pop(LIAR)
        proof = double_vote(consortium)
        (offence,) = offences(consortium.local.document.chain_id, consortium.local.document.validators, proof)
        liars.core.steward.accuse(proof)
        assert liars.core.steward._proofs == [], "nobody accuses himself"
        first = consortium.nodes[FIRST]
        first.core.steward.accuse(proof)
        first.core.steward.accuse(proof)

        await consortium.until(FIRST, lambda: len(first.chain.validators) == len(NAMES) - 1)
        await consortium.over(number, FIRST)
        state = first.state()
        assert offence_of(state, LIAR, offence.id) is not None
        assert [one.validator.name for one in suspended_of(state)] == [LIAR]
        assert first.core.steward._proofs == []
        await consortium.fill_round(rows(2)[:3], NAMES[:3])
        await consortium.level()
        assert consortium.same_chain()
        await liars.stop()


def double_vote(consortium: RunningConsortium) -> ConflictingVotes:
    """Return two PREPAREs by the last validator."""
    document, key = consortium.local.document, consortium.validator_key(LIAR)
    at, view = Height(1), View(0)
    index = document.validators.index_of(key.public_key)
    assert index is not None
    words = []
    for block in (digest("test-block", b"one"), digest("test-block", b"two")):
        seal = sign_vote(key, document.chain_id, PREPARE, at, view, document.validators, block)
        words.append(VoteWord(PREPARE, block, seal.signature))
    return ConflictingVotes(at, view, index, words[0], words[1])
