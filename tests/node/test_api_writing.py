"""Writing over HTTP: only enrolled keys, only bounded bytes, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path
from time import time_ns
from types import MappingProxyType

import msgspec
import pytest

from ledger.codec import decode, encode
from ledger.fields import Height
from ledger.payload import (
    CHUNK_BYTES,
    AvailabilityCertificate,
    chunk_hashes,
    chunks_of,
    describe,
    verify_availability,
)
from ledger.transaction import TRANSACTION_BYTES_MAX, sign_transaction, transaction_id
from node.api import transactions
from node.api.access import BODY_BYTES_MAX
from node.api.answers import AvailabilityAnswer, SubmittedAnswer, UploadAnswer
from node.signed_request import BODY_HEADER, SKEW_MS_MAX, BodyDigest, digest_of_chunks, signed_headers
from tests.node.api_client import Asker, Reply, asking, evaluation, payload_path
from tests.node.single_node import STRANGER, TRAINER_KEYS, VALIDATOR_KEYS, served

ALPHA = TRAINER_KEYS["alpha"]
BINARY = {"Content-Type": "application/msgpack"}
BIG = bytes(range(256)) * ((2 * CHUNK_BYTES + 70_000) // 256)


@pytest.fixture
async def asker(tmp_path: Path) -> AsyncIterator[Asker]:
    async with served(tmp_path) as node, asking(node) as opened:
        yield opened


def span(first: int, last: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {first}-{last}/{len(BIG)}"}


async def test_a_transaction_that_is_waited_for_comes_back_with_its_receipt(asker: Asker) -> None:
    answer = await asker.submit("alpha", "evaluation", evaluation())

    assert (answer.status, answer.height, answer.index) == ("committed", 1, 0)
    assert answer.receipt is not None
    assert answer.receipt.events[0].kind == "model.evaluated"


async def test_a_transaction_is_taken_at_once_when_nobody_waits(asker: Asker) -> None:
    asker.served.node.holding = True
    raw = asker.signed("alpha", "evaluation", evaluation())

    reply = await asker.post(raw, wait=False)

    assert reply.status == 202
    assert reply.read(SubmittedAnswer).id == transaction_id(raw).hex()
    assert (await asker.get(f"/v1/transactions/{transaction_id(raw).hex()}")).code == "transaction.unknown"


async def test_the_same_transaction_again_is_the_same_answer(asker: Asker) -> None:
    raw = asker.signed("alpha", "evaluation", evaluation())

    first = (await asker.post(raw)).read(SubmittedAnswer)
    again = (await asker.post(raw)).read(SubmittedAnswer)

    assert again == first
    assert asker.served.node.chain.height == 1


async def test_json_carries_a_transaction_in_hex(asker: Asker) -> None:
    raw = asker.signed("alpha", "evaluation", evaluation())
    body = msgspec.json.encode({"transaction": raw.hex()})
    path = "/v1/transactions?wait=committed"

    reply = await asker.ask("POST", path, body=body, headers={"Content-Type": "application/json"})

    assert reply.read(SubmittedAnswer).status == "committed"


async def test_what_execution_refuses_is_committed_with_its_reason(asker: Asker) -> None:
    answer = await asker.submit("gamma", "evaluation", evaluation())

    assert answer.receipt is not None
    assert answer.receipt.code == "evaluation.not_enrolled"


@pytest.mark.parametrize(
    "body, content_type, status, code",
    [
        (b"", "application/msgpack", 422, "transaction.malformed"),
        (b"\x95garbage", "application/msgpack", 422, "transaction.malformed"),
        (b"{", "application/json", 400, "request.invalid"),
        (b'{"transaction": "zz"}', "application/json", 400, "request.invalid"),
        (b'{"transaction": "00", "more": 1}', "application/json", 400, "request.invalid"),
        (b'{"transaction": "' + b"00" * (TRANSACTION_BYTES_MAX + 1) + b'"}', "application/json", 413, "body.too_large"),
        (b"x" * (BODY_BYTES_MAX + 1), "application/msgpack", 413, "body.too_large"),
        (b"x", "text/plain", 415, "request.media_type"),
    ],
)
async def test_a_body_that_is_no_transaction_has_a_named_reason(
    asker: Asker, body: bytes, content_type: str, status: int, code: str
) -> None:
    reply = await asker.ask("POST", "/v1/transactions", body=body, headers={"Content-Type": content_type})

    assert (reply.status, reply.code) == (status, code)


async def test_a_nonce_that_is_used_up_is_a_conflict(asker: Asker) -> None:
    node = asker.served.node
    first = asker.signed("alpha", "evaluation", evaluation())
    other = asker.signed("alpha", "evaluation", evaluation(auc=1))
    await asker.post(first)

    reply = await asker.post(other)

    assert (reply.status, reply.code) == (409, "transaction.stale_nonce")
    assert node.chain.height == 1


async def test_a_wait_ends_when_another_transaction_takes_the_nonce(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the sender's node: what it said before was still on its way from other nodes."""
    node = asker.served.node
    node.holding, waits, wait = True, asyncio.Event(), node.wait_for_block

    async def noted(height: Height) -> None:
        waits.set()
        await wait(height)

    monkeypatch.setattr(node, "wait_for_block", noted)
    ours = asker.signed("alpha", "evaluation", evaluation())
    other = asker.signed("alpha", "evaluation", evaluation(auc=1))
    reply = asyncio.create_task(asker.post(ours))
    await waits.wait()
    node.forget()
    await asker.post(other)

    assert ((await reply).status, (await reply).code) == (409, "transaction.stale_nonce")


SMALL = b"x" * 40
SMALL_PATH = payload_path(describe(SMALL))


async def test_a_transaction_says_itself_who_speaks(asker: Asker) -> None:
    """No request is signed, no token shown: what a stranger signed may not wait, whoever brings it."""
    raw = asker.signed("alpha", "evaluation", evaluation())
    said = sign_transaction(STRANGER, asker.served.node.chain_id, "evaluation", 0, evaluation())
    forged = raw[:-1] + bytes([raw[-1] ^ 1])

    assert (await asker.post(encode(said))).code == "transaction.unknown_sender"
    assert (await asker.post(forged)).code == "transaction.bad_signature"
    assert (await asker.post(raw)).read(SubmittedAnswer).status == "committed"


async def test_a_transaction_that_does_not_come_is_not_waited_for(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "STALLED_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", asker.served.server.port)
    head = "Host: localhost\r\nContent-Type: application/msgpack\r\nContent-Length: 9"
    writer.write(f"POST /v1/transactions HTTP/1.1\r\n{head}\r\n\r\n".encode())

    assert b" 408 " in await reader.readline()
    assert b"request.stalled" in await reader.read(2_000)
    writer.close()


async def test_more_transactions_at_once_than_are_read_are_told_to_come_back(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(asker.served.server._app._state, transactions.SUBMISSIONS, asyncio.Semaphore(0))

    reply = await asker.post(asker.signed("alpha", "evaluation", evaluation()))

    assert (reply.status, reply.code) == (503, "node.busy")


async def test_an_upload_needs_a_signature_or_a_token(asker: Asker) -> None:
    for method, path in (("PUT", SMALL_PATH), ("GET", SMALL_PATH), ("GET", SMALL_PATH + "/certificate")):
        reply = await asker.ask(method, path, body=SMALL if method == "PUT" else b"")
        assert (reply.status, reply.code) == (401, "request.unauthorised")
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")


async def test_only_participants_of_the_chain_may_upload(asker: Asker) -> None:
    for key in (STRANGER, VALIDATOR_KEYS["alpha"]):
        reply = await asker.ask("PUT", SMALL_PATH, body=SMALL, key=key)
        assert (reply.status, reply.code) == (403, "request.not_enrolled")


@pytest.mark.parametrize("skew", [-SKEW_MS_MAX - 5_000, SKEW_MS_MAX + 5_000])
async def test_a_signature_outside_the_replay_window_is_refused(asker: Asker, skew: int) -> None:
    now = time_ns() // 1_000_000

    reply = await asker.ask("PUT", SMALL_PATH, body=SMALL, key=ALPHA, time_ms=now + skew)

    assert (reply.status, reply.code) == (401, "request.unsigned")


async def test_a_signature_for_another_path_or_body_is_refused(asker: Asker) -> None:
    now, chain = time_ns() // 1_000_000, asker.served.node.chain_id
    signed = signed_headers(ALPHA, chain, "PUT", SMALL_PATH + "?more", now, SMALL)
    other_path = await asker.ask("PUT", SMALL_PATH, body=SMALL, headers=signed)
    assert other_path.code == "request.unsigned"
    signed = signed_headers(ALPHA, chain, "PUT", SMALL_PATH, now, b"another body")
    other_body = await asker.ask("PUT", SMALL_PATH, body=SMALL, headers=signed)
    assert other_body.code == "request.body_digest"
    signed[BODY_HEADER] = "00" * 32
    assert (await asker.ask("PUT", SMALL_PATH, body=SMALL, headers=signed)).status == 401


async def test_a_part_of_a_payload_may_be_signed_by_its_chunk_hashes(asker: Asker) -> None:
    """As the protocol page has it, written down once more."""
    descriptor, chain = describe(BIG), asker.served.node.chain_id
    path, now = payload_path(descriptor), time_ns() // 1_000_000
    leaves = [sha256(b"\0" + chunk).digest() for chunk in chunks_of(BIG)]

    def said(hashes: list[bytes]) -> BodyDigest:
        joined = b"".join(hashes)
        text = b"foedus/1/http-body-chunks\0" + len(joined).to_bytes(8, "big") + joined
        return BodyDigest(sha256(text).digest(), of_chunks=True)

    async def put(digest: BodyDigest, body: bytes = BIG, changed: Mapping[str, str] = MappingProxyType({})) -> Reply:
        headers = signed_headers(ALPHA, chain, "PUT", path, now, digest) | dict(changed)
        return await asker.ask("PUT", path, body=body, headers=headers)

    assert said(leaves) == digest_of_chunks(chunk_hashes(BIG))
    for false in (said(leaves[::-1]), said(leaves[:-1]), BodyDigest(said(leaves).value), said([])):
        assert (await put(false)).code == "request.body_digest"
    plain = BodyDigest(sha256(BIG).digest())
    kind_changed = {BODY_HEADER: "chunks-" + plain.text}
    assert (await put(plain, changed=kind_changed)).code == "request.body_digest"
    damaged = bytes([BIG[0] ^ 1]) + BIG[1:]
    assert (await put(said(leaves), damaged)).code in {"request.body_digest", "payload.mismatch"}
    assert (await put(said(leaves))).status == 200
    assert (await asker.ask("GET", path, key=ALPHA)).read(UploadAnswer).stored


async def test_an_upload_in_parts_in_any_order_is_whole_at_the_end(asker: Asker) -> None:
    descriptor = describe(BIG)
    path = payload_path(descriptor)
    last = 2 * CHUNK_BYTES

    tail = await asker.ask("PUT", path, body=BIG[last:], headers=span(last, len(BIG) - 1), key=ALPHA)
    assert tail.read(UploadAnswer).missing == (0, 1)
    assert (await asker.ask("GET", path, key=ALPHA)).read(UploadAnswer).missing == (0, 1)
    head = await asker.ask("PUT", path, body=BIG[:last], headers=span(0, last - 1), key=ALPHA)

    answer = head.read(UploadAnswer)
    assert (answer.stored, answer.missing_count, answer.verdict) == (True, 0, "out_of_range")
    node = asker.served.node
    assert await node.payloads.read(descriptor.id, 5, 70) == BIG[5:75]
    again = await asker.ask("PUT", path, body=BIG[:last], headers=span(0, last - 1), key=ALPHA)
    assert again.read(UploadAnswer).stored


async def test_an_upload_that_is_not_what_its_name_says_is_not_kept(asker: Asker) -> None:
    path = payload_path(describe(b"a" * 100))

    reply = await asker.ask("PUT", path, body=b"b" * 100, key=ALPHA)

    assert (reply.status, reply.code) == (422, "payload.mismatch")
    assert not (await asker.ask("GET", path, key=ALPHA)).read(UploadAnswer).stored


@pytest.mark.parametrize(
    "content_range",
    ["bytes 1-100/{}", "bytes 0-99/{}", "bytes 0-1048575/7", "bytes 5-4/{}", "lines 1-2/3", "bytes 0-9999999/{}"],
)
async def test_a_range_that_is_not_whole_chunks_of_the_payload_is_refused(asker: Asker, content_range: str) -> None:
    path = payload_path(describe(BIG))
    headers = {"Content-Range": content_range.format(len(BIG))}

    reply = await asker.ask("PUT", path, body=BIG[:100], headers=headers, key=ALPHA)

    assert (reply.status, reply.code) == (400, "payload.range")


async def test_a_certificate_is_a_quorums_word(asker: Asker) -> None:
    node = asker.served.node
    descriptor = await asker.put("alpha", bytes(40))

    answer = (await asker.ask("GET", payload_path(descriptor) + "/certificate", key=ALPHA)).read(AvailabilityAnswer)

    certificate = decode(bytes.fromhex(answer.certificate), AvailabilityCertificate, bytes_max=10_000)
    verify_availability(node.chain_id, node.validators(), certificate)
    assert (answer.verdict, answer.validators) == ("ok", (0, 1, 3))


async def test_waiting_for_a_certificate_is_bounded(asker: Asker) -> None:
    asker.served.node.acknowledging = False
    descriptor = await asker.put("alpha", bytes(40))
    path = payload_path(descriptor) + "/certificate?timeout=0"

    assert (await asker.ask("GET", path, key=ALPHA)).code == "payload.unacknowledged"
    unknown = payload_path(describe(bytes(41))) + "/certificate"
    assert (await asker.ask("GET", unknown, key=ALPHA)).code == "payload.unknown"


async def test_a_connection_that_breaks_in_mid_upload_costs_only_what_was_under_way(asker: Asker) -> None:
    descriptor = describe(BIG)
    path = payload_path(descriptor)
    node = asker.served.node
    signed = signed_headers(ALPHA, node.chain_id, "PUT", path, time_ns() // 1_000_000, BIG)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", asker.served.server.port)
    writer.write(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BIG)}\r\n{head}\r\n".encode())
    writer.write(BIG[: CHUNK_BYTES + 1000])
    await writer.drain()
    while True:  # the first chunk is on the disk before the connection breaks
        state = (await asker.ask("GET", path, key=ALPHA)).read(UploadAnswer)
        if state.missing == (1, 2):
            break
    writer.transport.abort()
    del reader

    rest = BIG[CHUNK_BYTES:]
    reply = await asker.ask("PUT", path, body=rest, headers=span(CHUNK_BYTES, len(BIG) - 1), key=ALPHA)
    assert reply.read(UploadAnswer).stored
