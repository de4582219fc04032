"""Targets: the records that cross a border, and the frame layer."""

from __future__ import annotations

from typing import Final, cast

from consensus.messages import MESSAGE_BYTES_MAX, Message, decode_message, encode_message
from consensus.safety import RECORD_BYTES_MAX, SafetyRecord
from fl.records import (
    ActiveTasks,
    AggregateClaim,
    EvaluationReport,
    EvaluationState,
    ModelState,
    Participant,
    RoundResult,
    RoundState,
    TaskApproval,
    TaskProposal,
    TaskState,
    UpdateState,
    UpdateSubmission,
)
from fl.state import ACTIVE_TASKS_KEY, PARTICIPANT_PREFIX, TASK_PREFIX
from ledger.application import STATE_VALUE_BYTES_MAX
from ledger.block import CertifiedBlock
from ledger.chain import CertifiedHeader
from ledger.codec import CodecError, Record, encode
from ledger.fields import Height
from ledger.identity import PublicKey
from ledger.light import LIGHT_PROOF_BYTES_MAX, LightProof, LightProofError, decode_light_proof, verify_light_proof
from ledger.parameters import ConsensusParameters
from ledger.payload import AvailabilityCertificate, describe
from ledger.receipt import Receipt
from ledger.state_parts import PART_ANSWER_BYTES_MAX, StatePart, part_of
from ledger.transaction import TRANSACTION_BYTES_MAX, Transaction, decode_transaction, verify_transaction
from ledger.validators import ValidatorSet
from node.blocks import ANSWER_BYTES_MAX, BlockRange
from node.payloads.files import CARD_BYTES_MAX, Card
from node.results import RESULT_VOTE_BYTES_MAX, ResultVote
from node.sync.checking import CERTIFIED_BLOCK_BYTES_MAX
from node.sync.headers import ANSWER_BYTES_MAX as HEADERS_BYTES_MAX
from node.sync.headers import HeaderRange
from node.sync.state import StateOffer
from node.transport.errors import GarbageFrameError
from node.transport.frames import Frame, Kind, Ping, Pong, broadcast, control, direct, read, relayed
from node.transport.handshake import HELLO_BYTES_MAX, Hello
from node.wire import PAYLOAD_FRAME_BYTES_MAX, PayloadFrame, encode_payload_frame
from tests.fuzz import seeds
from tests.fuzz.target import Target, record
from tests.recorded import NAMES, member

SENDER: Final = PublicKey(bytes(range(32)))


def read_frame(data: bytes) -> None:
    """A WebSocket message is a frame that is written back to the same bytes, or garbage."""
    try:
        frame = read(data, SENDER)
    except GarbageFrameError:
        return
    match frame:
        case Ping() | Pong():
            written = control(frame)
        case Frame(kind=Kind.DIRECT):
            written = direct(frame.channel, frame.data)
        case Frame(kind=Kind.BROADCAST):
            written = broadcast(frame.channel, frame.sequence, frame.data)
        case _:
            written = relayed(frame)
            assert len(frame.identity) == 16
    assert written == data, f"read, it is written as {written.hex()}"


def verified_proof(data: bytes) -> None:
    """A light proof is verified, or refused with a reason."""
    document = seeds.history().document
    try:
        proof = decode_light_proof(data)
        verify_light_proof(document.chain_id, document.validators, proof)
    except (CodecError, LightProofError):
        return
    assert encode(proof) == data


def verified_transaction(data: bytes) -> None:
    """A transaction's signature is valid or not."""
    try:
        transaction = decode_transaction(data)
    except CodecError:
        return
    assert verify_transaction(seeds.history().document.chain_id, transaction) in {True, False}


def any_message(data: bytes) -> None:
    """A consensus message is written back to the same bytes, or refused."""
    try:
        message = decode_message(data)
    except CodecError:
        return
    assert encode_message(message) == data


def _union(kind: object) -> type[Record]:
    return cast("type[Record]", kind)


def _state(name: str, kind: type[Record], prefix: bytes) -> Target:
    return record(f"state-{name}", kind, lambda: seeds.facts(prefix), bytes_max=STATE_VALUE_BYTES_MAX)


def _said(kind: str, name: str, record_type: type[Record]) -> Target:
    return record(f"payload-{name}", record_type, lambda: seeds.payloads(kind), bytes_max=TRANSACTION_BYTES_MAX)


def _blocks() -> list[bytes]:
    return seeds.encoded(seeds.history().blocks)


def _headers() -> list[bytes]:
    blocks = seeds.history().blocks
    return seeds.encoded(CertifiedHeader(one.block.header, one.certificate) for one in blocks)


def _receipts() -> list[bytes]:
    return [encode(receipt) for execution in seeds.history().executions for receipt in execution.receipts]


def _ranges() -> list[bytes]:
    return [encode(BlockRange(tuple(_blocks()))), encode(BlockRange(()))]


def _header_ranges() -> list[bytes]:
    members = encode(ValidatorSet.of(tuple(member(name) for name in NAMES)))
    return [encode(HeaderRange(tuple(_headers()), (members,))), encode(HeaderRange((), ()))]


def _state_parts() -> list[bytes]:
    parts = (part_of(seeds.history().state, path, bytes_max=size) for path in ("", "0", "1") for size in (0, 900))
    return [encode(part) for part in parts if part is not None]


def _cards() -> list[bytes]:
    payload = describe(b"x" * 64)
    return seeds.encoded([Card(payload, "", "ok"), Card(payload, f"validator:{NAMES[0]}", "out_of_range")])


def _certificates() -> list[bytes]:
    from ledger.codec import decode

    said = [decode(data, UpdateSubmission, bytes_max=TRANSACTION_BYTES_MAX) for data in seeds.payloads("update")]
    return seeds.encoded(one.availability for one in said)


RECORDS: Final[tuple[Target, ...]] = (
    Target("frame", read_frame, seeds.frames, is_packed=False),
    record("hello", Hello, seeds.hellos, bytes_max=HELLO_BYTES_MAX),
    Target("message", any_message, seeds.encoded_messages),
    record("message-record", _union(Message), seeds.encoded_messages, bytes_max=MESSAGE_BYTES_MAX),
    record("safety-record", _union(SafetyRecord), seeds.safety_records, bytes_max=RECORD_BYTES_MAX),
    record("transaction", Transaction, seeds.raws, bytes_max=TRANSACTION_BYTES_MAX),
    Target("transaction-signature", verified_transaction, seeds.raws),
    _said("update", "update", UpdateSubmission),
    _said("aggregate", "aggregate", AggregateClaim),
    _said("evaluation", "evaluation", EvaluationReport),
    _said("task.propose", "proposal", TaskProposal),
    _said("task.approve", "approval", TaskApproval),
    record("certified-block", CertifiedBlock, _blocks, bytes_max=CERTIFIED_BLOCK_BYTES_MAX),
    record("certified-header", CertifiedHeader, _headers, bytes_max=CERTIFIED_BLOCK_BYTES_MAX),
    record("block-range", BlockRange, _ranges, bytes_max=ANSWER_BYTES_MAX),
    record("header-range", HeaderRange, _header_ranges, bytes_max=HEADERS_BYTES_MAX),
    record("state-part", StatePart, _state_parts, bytes_max=PART_ANSWER_BYTES_MAX),
    record(
        "state-offer", StateOffer, lambda: [encode(StateOffer((Height(16), Height(17)), Height(1)))], bytes_max=1_024
    ),
    record("receipt", Receipt, _receipts, bytes_max=STATE_VALUE_BYTES_MAX),
    record("light-proof", LightProof, seeds.light_proofs, bytes_max=LIGHT_PROOF_BYTES_MAX),
    Target("light-proof-verified", verified_proof, seeds.light_proofs),
    record("availability", AvailabilityCertificate, _certificates, bytes_max=TRANSACTION_BYTES_MAX),
    record("result-vote", ResultVote, seeds.result_votes, bytes_max=RESULT_VOTE_BYTES_MAX),
    record(
        "payload-frame",
        _union(PayloadFrame),
        lambda: [encode_payload_frame(frame) for frame in seeds.payload_frames()],
        bytes_max=PAYLOAD_FRAME_BYTES_MAX,
    ),
    record("payload-card", Card, _cards, bytes_max=CARD_BYTES_MAX),
    record(
        "validator-set",
        ValidatorSet,
        lambda: seeds.encoded([ValidatorSet.of(tuple(member(name) for name in NAMES))]),
        bytes_max=STATE_VALUE_BYTES_MAX,
    ),
    record(
        "parameters",
        ConsensusParameters,
        lambda: seeds.encoded([ConsensusParameters()]),
        bytes_max=STATE_VALUE_BYTES_MAX,
    ),
    _state("task", TaskState, TASK_PREFIX),
    _state("participant", Participant, PARTICIPANT_PREFIX),
    _state("round", RoundState, b"fl/round/"),
    _state("update", UpdateState, b"fl/update/"),
    _state("model", ModelState, b"fl/model/"),
    _state("result", RoundResult, b"fl/result/"),
    _state("evaluation", EvaluationState, b"fl/evaluation/"),
    _state("active-tasks", ActiveTasks, ACTIVE_TASKS_KEY),
)
