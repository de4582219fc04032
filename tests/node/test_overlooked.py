"""What counts as passed over by a proposer, and every good reason that does not."""

from __future__ import annotations

import msgspec

from fl.records import EvaluationReport
from ledger.block import Block, Header
from ledger.codec import encode
from ledger.digest import digest
from ledger.fields import Height
from ledger.parameters import ConsensusParameters
from ledger.state_map import StateMap
from ledger.transaction import sign_transaction, transaction_id
from node.mempool import Mempool, MempoolLimits
from node.overlooked import CLAIMS_ROOM, PATIENCE_SECONDS, SHORT_BLOCK_MAX, Overlooked
from node.repetition import TO_PRIMARY_MAX
from tests.fl.consortium import CHAIN, NAMES, Consortium, key_of, task_spec

PARAMETERS = ConsensusParameters(block_transactions_max=100, block_bytes_max=65_536)
REPORT = EvaluationReport("heart", 0, 10, ())
VICTIM, OTHER = NAMES[0], NAMES[1]


def say(name: str, nonce: int = 0) -> bytes:
    return encode(sign_transaction(key_of(name, "participant"), CHAIN, "evaluation", nonce, REPORT))


def stranger(number: int) -> bytes:
    """A well-formed transaction of somebody else, of whom a block may be full."""
    key = key_of(f"stranger-{number}", "participant")
    return encode(sign_transaction(key, CHAIN, "evaluation", 0, REPORT))


def block(*raws: bytes) -> Block:
    zero = digest("test", b"")
    header = Header(CHAIN, Height(1), 1, zero, zero, zero, zero, zero, zero, zero, 1, 0)
    return Block(header, raws)


class Desk:
    """A pool with the victim's transaction in it, and a clock that is set by hand."""

    def __init__(self, limits: MempoolLimits | None = None) -> None:
        self.consortium = Consortium.begin(task_spec())
        self.mempool = Mempool(self.consortium.application, CHAIN, limits or MempoolLimits())
        self.now_s = 100.0
        self.overlooked = Overlooked(self.mempool, self.consortium.application, monotonic_s=lambda: self.now_s)
        self.parameters = PARAMETERS

    @property
    def state(self) -> StateMap:
        return self.consortium.state

    def hold(self, raw: bytes, seconds: float = PATIENCE_SECONDS) -> None:
        """Have a transaction waiting for so long."""
        self.mempool.add(raw, self.state)
        self.overlooked.look(self.state)
        self.now_s += seconds

    def append(self, *raws: bytes) -> None:
        self.overlooked.take_block(block(*raws), self.state, self.parameters)

    def why_not(self, *raws: bytes) -> str:
        return self.overlooked.why_not(block(*raws), self.state, self.parameters)


def waiting() -> Desk:
    """A desk whose victim has been passed over by one block."""
    desk = Desk()
    desk.hold(say(VICTIM))
    desk.append(say(OTHER))
    return desk


def test_the_second_block_that_passes_a_transaction_over_is_not_waited_for() -> None:
    desk = Desk()
    desk.hold(say(VICTIM))
    assert desk.why_not(say(OTHER)) == "", "one block alone proves nothing"

    desk.append(say(OTHER))

    assert transaction_id(say(VICTIM)).hex() in desk.why_not(say(OTHER))
    assert "passed over by 1 blocks" in desk.why_not()


def test_a_block_that_holds_it_is_welcome() -> None:
    assert waiting().why_not(say(VICTIM), say(OTHER)) == ""


def test_what_has_not_waited_for_long_enough_is_not_missed() -> None:
    desk = Desk()
    desk.hold(say(VICTIM), PATIENCE_SECONDS - 0.1)
    desk.append(say(OTHER))
    desk.now_s += 0.05
    assert desk.why_not(say(OTHER)) == ""


def test_the_time_counts_from_when_this_node_first_saw_it_waiting() -> None:
    """A transaction that has just come is no older for the clock having gone on."""
    desk = Desk()
    desk.now_s += 1_000
    desk.mempool.add(say(VICTIM), desk.state)
    desk.append(say(OTHER))
    assert desk.why_not(say(OTHER)) == ""


def test_what_cannot_be_executed_yet_is_not_missed() -> None:
    desk = Desk()
    desk.hold(say(VICTIM, nonce=1))
    desk.append(say(OTHER))
    assert desk.why_not(say(OTHER)) == "", "its sender's nonce 0 is missing"


def test_what_the_application_would_not_admit_any_more_is_not_missed() -> None:
    """Nodes that heard of it later have refused it."""
    desk = waiting()
    assert desk.why_not(say(OTHER)) != ""
    closed = Consortium.begin(task_spec(), names=tuple(f"other-{name}" for name in NAMES))
    assert desk.overlooked.why_not(block(say(OTHER)), closed.state, desk.parameters) == ""


def test_a_sender_that_stands_in_the_block_with_something_else_is_not_missed() -> None:
    """It may have given different transactions with one nonce to different nodes."""
    desk = waiting()
    other = encode(
        sign_transaction(key_of(VICTIM, "participant"), CHAIN, "evaluation", 0, EvaluationReport("heart", 0, 11, ()))
    )
    assert desk.why_not(other) == ""


def test_a_full_block_is_not_accused() -> None:
    desk = waiting()
    raws = [stranger(number) for number in range(10)]
    desk.parameters = msgspec.structs.replace(PARAMETERS, block_transactions_max=10 + CLAIMS_ROOM)
    assert desk.why_not(*raws) == ""
    desk.parameters = msgspec.structs.replace(PARAMETERS, block_transactions_max=11 + CLAIMS_ROOM)
    assert desk.why_not(*raws) != ""


def test_a_block_without_room_for_its_bytes_is_not_accused() -> None:
    desk = waiting()
    size, own = len(stranger(1)), len(say(VICTIM))
    desk.parameters = msgspec.structs.replace(PARAMETERS, block_bytes_max=size + own - 1)
    assert desk.why_not(stranger(1)) == ""
    desk.parameters = msgspec.structs.replace(PARAMETERS, block_bytes_max=size + own)
    assert desk.why_not(stranger(1)) != ""


def test_a_long_block_in_which_nobody_came_twice_may_have_run_out_of_time() -> None:
    desk = waiting()
    once = [stranger(number) for number in range(SHORT_BLOCK_MAX + 1)]
    assert desk.why_not(*once) == ""
    assert desk.why_not(*once[:SHORT_BLOCK_MAX]) != ""
    twice = [*once, encode(sign_transaction(key_of("stranger-0", "participant"), CHAIN, "evaluation", 1, REPORT))]
    assert desk.why_not(*twice) != "", "whose turn came twice proves that everybody's came once"


def test_what_is_in_a_block_at_last_is_forgotten() -> None:
    desk = waiting()
    desk.mempool.discard(say(VICTIM))
    desk.overlooked.look(desk.state)
    desk.mempool.add(say(VICTIM), desk.state)
    desk.now_s += 10
    assert desk.why_not(say(OTHER)) == ""
    assert desk.overlooked._passed_over == {}


def test_no_more_is_watched_than_is_repeated_to_primaries() -> None:
    names = tuple(f"member-{number:02}" for number in range(TO_PRIMARY_MAX + 5))
    consortium = Consortium.begin(task_spec(), names=names)
    mempool = Mempool(consortium.application, CHAIN, MempoolLimits())
    for name in names:
        mempool.add(say(name), consortium.state)
    overlooked = Overlooked(mempool, consortium.application, monotonic_s=lambda: 0.0)

    overlooked.look(consortium.state)

    assert list(overlooked._since_s) == [transaction_id(say(name)) for name in names[:TO_PRIMARY_MAX]]
