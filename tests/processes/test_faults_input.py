"""What a participant sends that is wrong is refused with a reason, by the SDK or by its node, and changes nothing."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

import foedus
from fl.records import EvaluationReport
from foedus.demo.processes import Processes
from genesis.keys import read_key
from genesis.local import LocalConsortium, LocalNode
from ledger.codec import encode
from ledger.payload import CHUNK_BYTES, describe
from ledger.transaction import Transaction, sign_transaction
from node.signed_request import signed_headers
from tests.processes.harness import Trainers, grow, make_hospitals, require_equal_chains, start

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> LocalConsortium:
    """Four hospitals."""
    return make_hospitals(tmp_path_factory.mktemp("input") / "consortium", collect_ms=500)


@pytest.fixture(scope="module")
def node(consortium: LocalConsortium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """The second node of four that run; one trainer of another makes work. All chains are compared at the end."""
    with Processes(tmp_path_factory.mktemp("logs")) as children:
        start(children, consortium)
        with Trainers(consortium, consortium.nodes[0].name) as trainers:
            grow(list(consortium.nodes), 1)
            yield consortium.nodes[1]
            children.require_alive()
            grow(list(consortium.nodes), 2)
            children.stop()
        require_equal_chains(consortium, trainers.acknowledged)


def ask(
    consortium: LocalConsortium, node: LocalNode, method: str, path: str, body: bytes, signed_body: bytes | None = None
) -> tuple[int, str]:
    """Send a request signed by the node's own participant; return the status and the problem's code."""
    key = read_key(consortium.participants[node.name])
    signed = body if signed_body is None else signed_body
    headers = {"Content-Type": "application/octet-stream"} | signed_headers(
        key, consortium.document.chain_id, method, path, time.time_ns() // 1_000_000, signed
    )
    request = urllib.request.Request(node.url + path, body, headers, method=method)  # noqa: S310 - our own node
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own node
            return answer.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["code"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_sdk_refuses_what_is_no_number_before_it_sends_anything(
    consortium: LocalConsortium, node: LocalNode, bad: float
) -> None:
    with foedus.connect(node.url, key=consortium.participants[node.name], task="heart", timeout=10) as session:
        current = next(iter(session.rounds()))
        name = next(iter(current.model))
        wrong = {key: array.copy() for key, array in current.model.items()}
        wrong[name].flat[0] = bad

        with pytest.raises(foedus.InvalidUpdateError, match=name):
            current.submit(wrong, samples=1)
        with pytest.raises(foedus.InvalidUpdateError, match="finite"):
            session.evaluate({"auc": bad}, samples=1)


def test_what_is_out_of_range_is_cut_off_and_said_so(consortium: LocalConsortium, node: LocalNode) -> None:
    """1e30 is a number: the update saturates, is counted as such, and the rule deals with it."""
    with foedus.connect(node.url, key=consortium.participants[node.name], task="heart", timeout=10) as session:
        for current in session.rounds():
            huge = {name: np.full_like(array, 1e30) for name, array in current.model.items()}
            try:
                submission = current.submit(huge, samples=1)
            except foedus.RoundOverError:
                continue
            assert submission.saturated == sum(array.size for array in huge.values())
            break


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw + b"\x00",
        lambda raw: raw[:-1],
        lambda raw: b"\xdc\x00\x05" + raw[1:],
        lambda raw: raw[:0],
        lambda raw: bytes(len(raw)),
    ],
    ids=["longer", "shorter", "another array", "nothing", "zeros"],
)
def test_another_encoding_of_a_transaction_is_refused(
    consortium: LocalConsortium, node: LocalNode, spoil: object
) -> None:
    assert callable(spoil)
    raw = encode(evaluation(consortium, node))

    status, code = ask(consortium, node, "POST", "/v1/transactions", spoil(raw))

    assert (status, code) == (422, "transaction.malformed")


def test_a_transaction_under_a_forged_signature_is_refused(consortium: LocalConsortium, node: LocalNode) -> None:
    forged = msgspec.structs.replace(evaluation(consortium, node), signature=bytes(64))

    status, code = ask(consortium, node, "POST", "/v1/transactions", encode(forged))

    assert (status, code) == (422, "transaction.bad_signature")


def test_chunks_that_are_not_the_payload_of_their_root_are_refused_and_true_ones_taken_afterwards(
    consortium: LocalConsortium, node: LocalNode
) -> None:
    payload = bytes(range(256)) * (CHUNK_BYTES // 256 + 1)
    descriptor = describe(payload)
    path = f"/v1/payloads/{descriptor.size}-{descriptor.root.hex()}"

    other = ask(consortium, node, "PUT", path, bytes(len(payload)))
    tampered = ask(consortium, node, "PUT", path, payload, signed_body=payload[::-1])
    true = ask(consortium, node, "PUT", path, payload)

    assert other == (422, "payload.mismatch")
    assert tampered == (400, "request.body_digest")
    assert true == (200, "")


def evaluation(consortium: LocalConsortium, node: LocalNode) -> Transaction:
    """Return what the node's participant could say next."""
    report = EvaluationReport("heart", 0, 10, ())
    key = read_key(consortium.participants[node.name])
    return sign_transaction(key, consortium.document.chain_id, "evaluation", 1_000, report)


def test_metrics_outside_of_every_integer_are_refused(consortium: LocalConsortium, node: LocalNode) -> None:
    with (
        foedus.connect(node.url, key=consortium.participants[node.name], task="heart", timeout=10) as session,
        pytest.raises(foedus.InvalidUpdateError, match="finite number"),
    ):
        session.evaluate({"auc": 1e300}, samples=1)


def test_no_request_left_a_trace_on_the_disk(node: LocalNode) -> None:
    """Whatever was refused above is not kept: nothing is staged but the payloads of the running round."""
    staged = list((node.data / "payloads" / "staging").iterdir())
    assert len(staged) <= 2
