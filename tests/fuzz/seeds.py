"""Real encodings to begin with: one consortium's history, its consensus, its files, its requests. Always the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Final

from consensus.messages import Body, BodyRequest, Decided, Message, Status, encode_message
from consensus.safety import (
    CommitRecord,
    EnteredRecord,
    PrepareRecord,
    ProposalRecord,
    SafetyRecord,
    ViewChangeRecord,
    encode_record,
)
from fl.aggregates import sign_result
from fl.records import TaskApproval, TaskProposal
from fl.results import claimed_results
from fl.state import present, task_of
from genesis.cards import Membership, card_text, make_card
from genesis.document import document_text
from genesis.presets import heart_task
from genesis.signatures import GenesisSignatures, merge, sign_genesis, signatures_text
from genesis.task_plans import plan_of_task, plan_text
from ledger.certificate import COMMIT, PREPARE
from ledger.chain import CertifiedHeader
from ledger.codec import Record, encode
from ledger.fields import Height
from ledger.identity import SigningKey
from ledger.light import prove_receipt, prove_state, prove_transaction
from ledger.payload import Acknowledgement, describe, sign_acknowledgement
from ledger.transaction import decode_transaction
from node.results import ResultVote
from node.transport.frames import EVERYBODY, Frame, Kind, Ping, Pong, broadcast, control, direct, relayed
from node.transport.handshake import Hello
from node.wire import Acknowledged, Channel, PayloadFrame, encode_payload_frame, sign_announcement
from tests.consensus.council import H1, V0, V1, V2, Council
from tests.recorded import GENESIS_MS, NAMES, Recorded, key_of, member

ROUNDS: Final = 2


@cache
def history() -> Recorded:
    """Return two rounds of learning."""
    recorded = Recorded.begin()
    recorded.learn(ROUNDS)
    return recorded


def raws() -> list[bytes]:
    """Return the transactions of the history, a proposal and an approval besides."""
    recorded = history()
    task = present(task_of(recorded.state, "heart"), "the task").spec
    said: list[tuple[str, Record]] = [
        ("task.propose", TaskProposal(heart_task(("cleveland",), 3, None), None)),
        ("task.approve", TaskApproval("heart", task.digest)),
    ]
    more = [recorded.transaction(NAMES[0], kind, payload, ahead=place) for place, (kind, payload) in enumerate(said)]
    return [*{raw for certified in recorded.blocks for raw in certified.block.transactions}, *more]


def payloads(kind: str) -> list[bytes]:
    """Return what transactions of a kind say."""
    decoded = map(decode_transaction, raws())
    return [transaction.payload for transaction in decoded if transaction.kind == kind]


def facts(prefix: bytes) -> list[bytes]:
    """Return the values that the state holds under keys of a prefix."""
    return [value for key, value in history().state.items() if key.startswith(prefix)]


def light_proofs() -> list[bytes]:
    """Return one proof of each kind of fact, and one of absence."""
    recorded = history()
    certified, execution = recorded.blocks[-1], recorded.executions[-1]
    header = CertifiedHeader(certified.block.header, certified.certificate)
    key = next(iter(execution.state.items()))[0]
    proofs = (
        prove_transaction(certified, 0),
        prove_receipt(header, execution.receipts, 0),
        prove_state(header, execution.state, key),
        prove_state(header, execution.state, b"nothing"),
    )
    return [encode(proof) for proof in proofs]


@cache
def council() -> Council:
    """Return four validators and their keys."""
    return Council()


def messages() -> list[Message]:
    """Return every kind of consensus message, justified where it must be."""
    seats = council()
    block = seats.block()
    prepared, certified = seats.certificate(PREPARE, block, range(3)), seats.certified(block)
    asking = [seats.view_change(sender, V1, prepared if sender else None) for sender in range(3)]
    opening = seats.opening(V1, *asking)
    later = seats.opening(V2, *(seats.view_change(sender, V2) for sender in range(1, 4)))
    seat = seats.seats[2]
    status = Status(H1, V0, 1, seats.keys[2].public_key, seats.keys[2].sign("status", seat.chain_id, b""), None)
    return [
        seats.pre_prepare(block),
        seats.pre_prepare(block, V1, opening),
        *(seats.prepare(sender, block) for sender in range(4)),
        *(seats.commit(sender, block) for sender in range(4)),
        *asking,
        opening,
        later,
        Decided(certified),
        status,
        Status(Height(2), V0, 1, status.sender, status.signature, certified.certificate),
        BodyRequest(H1, block.id, seat.seal_vote(COMMIT, H1, V0, block.id)),
        Body(block),
    ]


def encoded_messages() -> list[bytes]:
    """Return them as they travel."""
    return [encode_message(message) for message in messages()]


def safety_records() -> list[bytes]:
    """Return every kind of word that a replica keeps."""
    seats = council()
    block = seats.block()
    prepared = seats.certificate(PREPARE, block, range(3))
    asking = [seats.view_change(sender, V1, prepared) for sender in range(3)]
    records: list[SafetyRecord] = [
        ProposalRecord(seats.pre_prepare(block)),
        PrepareRecord(H1, V0, block, seats.prepare(0, block).seal),
        CommitRecord(prepared, seats.commit(0, block).seal),
        ViewChangeRecord(asking[0]),
        EnteredRecord(seats.opening(V1, *asking)),
    ]
    return [encode_record(record) for record in records]


def payload_frames() -> list[PayloadFrame]:
    """Return an announcement and an acknowledgement."""
    recorded, key = history(), key_of(NAMES[0], "validator")
    validators, chain_id = recorded.document.validators, recorded.document.chain_id
    payload = describe(next(iter(recorded.payloads.values())))
    acknowledgement = Acknowledgement(payload, "ok")
    return [
        sign_announcement(key, chain_id, validators, payload),
        Acknowledged(acknowledgement, sign_acknowledgement(key, chain_id, validators, acknowledgement)),
    ]


def result_votes() -> list[bytes]:
    """Return a validator's word for a result."""
    recorded = history()
    validators, chain_id = recorded.document.validators, recorded.document.chain_id
    result = next(claimed_results(recorded.blocks[1].block.transactions))
    seal = sign_result(key_of(NAMES[0], "validator"), chain_id, validators, result)
    return [encode(ResultVote(result.task, result.round, result.digest, seal))]


def hellos() -> list[bytes]:
    """Return what nodes say first."""
    keys = tuple(member(name).transport_key for name in NAMES)
    chain_id = history().document.chain_id
    return [encode(Hello(1, chain_id, 1, ())), encode(Hello(1, chain_id, 7, keys))]


def frames() -> list[bytes]:
    """Return a message of every kind and channel as it stands on the wire."""
    keys = [member(name).transport_key for name in NAMES]
    content = {
        Channel.CONSENSUS: encoded_messages(),
        Channel.TRANSACTION: raws(),
        Channel.RESULT: result_votes(),
        Channel.PAYLOAD: [encode_payload_frame(frame) for frame in payload_frames()],
    }
    plain = [(channel, data) for channel, datas in content.items() for data in datas]
    return [
        *(direct(channel, data) for channel, data in plain),
        *(broadcast(channel, number, data) for number, (channel, data) in enumerate(plain)),
        *(
            relayed(Frame(Kind.RELAYED, channel, number, keys[0], keys[1] if number % 2 else EVERYBODY, data))
            for number, (channel, data) in enumerate(plain)
        ),
        control(Ping(5, tuple(keys))),
        control(Pong(5, 6)),
    ]


def genesis_texts() -> list[bytes]:
    """Return genesis documents in their JSON form."""
    return [document_text(history().document).encode(), json.dumps({"chain_name": "x"}).encode()]


def card_texts() -> list[bytes]:
    """Return a member's card in its JSON form."""
    name = NAMES[0]
    keys = [key_of(name, use) for use in ("validator", "transport", "participant")]
    people = tuple(one for one in history().document.learning.participants if one.name == name)
    said = Membership(name, GENESIS_MS, member(name), people)
    return [card_text(make_card(said, keys)).encode()]


def signature_texts() -> list[bytes]:
    """Return everybody's signature under the document in its JSON form."""
    document = history().document
    parts: list[GenesisSignatures] = [sign_genesis(document, key_of(name, "validator")) for name in NAMES]
    return [signatures_text(merge(document, parts)).encode(), signatures_text(parts[0]).encode()]


def plan_texts() -> list[bytes]:
    """Return a task's plan as JSON and as TOML."""
    plan = plan_of_task(history().document.learning.tasks[0])
    text = plan_text(plan).encode()
    return [text, b'{"id": "heart", "rule": "median/1", "tensors": []}', b'id = "heart"\n[[tensors]]\nname = "w"\n']


def key_texts() -> list[bytes]:
    """Return key files, sealed and not."""
    key = SigningKey(bytes(range(32)))
    return [
        json.dumps({"seed": key.seed.hex(), "owner": "a", "public_key": key.public_key.hex()}).encode(),
        json.dumps({"kind": "foedus-key", "version": 1}).encode(),
    ]


def texts(*values: object) -> list[bytes]:
    """Return values as JSON."""
    return [json.dumps(value).encode() for value in values]


def encoded(records: Iterable[Record]) -> list[bytes]:
    """Return the encodings of records."""
    return [encode(record) for record in records]
