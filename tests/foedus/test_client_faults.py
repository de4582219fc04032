"""The SDK when things break: nodes that restart, connections that are cut, nodes that lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import numpy as np
import pytest

import foedus
from fl.state import task_key
from foedus import aio
from ledger.codec import decode, encode
from ledger.light import LightProof, StateFact, decode_light_proof
from ledger.state_map import StateMap
from node.api import server as server_module
from node.api.server import ApiServer
from node.metrics import NodeMetrics
from node.view import NodeStatus
from tests.foedus.lying_node import LyingNode, lying
from tests.node.single_node import TRAINER_KEYS, Served, document, served, toy_task

ALPHA, BETA = TRAINER_KEYS["alpha"], TRAINER_KEYS["beta"]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as opened:
        yield opened


@pytest.fixture
async def proxy(node: Served) -> AsyncIterator[LyingNode]:
    async with lying(node) as opened:
        yield opened


def moved(model: dict[str, np.ndarray], by: float) -> dict[str, np.ndarray]:
    return {name: array + np.float32(by) for name, array in model.items()}


async def first_round(session: aio.Session) -> aio.Round:
    return await anext(session.rounds())


async def test_a_loop_goes_on_where_it_was_when_its_node_is_restarted(tmp_path: Path) -> None:
    async with served(tmp_path) as node:
        port = node.server.port
        alpha = aio.connect(node.url, key=ALPHA, task="toy", timeout=20)
        session = await alpha.__aenter__()
        rounds = session.rounds()
        first = await anext(rounds)
        await first.submit(moved(first.model, 0.25), samples=1)
        waiting = asyncio.ensure_future(anext(rounds))

    async with served(tmp_path, port=port) as node:
        assert node.node.store.boot_epoch == 2
        async with aio.connect(node.url, key=BETA, task="toy") as partner:
            theirs = await first_round(partner)
            await theirs.submit(moved(theirs.model, 0.25), samples=1)
        second = await waiting
        assert second.number == 2
        await second.submit(moved(second.model, 0.25), samples=1)
        await rounds.aclose()
        await alpha.__aexit__(None, None, None)


@pytest.mark.parametrize("after_forwarding", [False, True])
@pytest.mark.parametrize("place", range(11))
async def test_a_submission_survives_a_cut_at_any_request(tmp_path: Path, after_forwarding: bool, place: int) -> None:
    """The connection is cut at one request, before or after the node behind got it; the update counts once."""

    def cut(_method: str, _path: str, count: int) -> bool:
        return count == place

    async with served(tmp_path) as node, lying(node) as proxy:
        proxy.after_forwarding, proxy.breaks = after_forwarding, cut
        async with aio.connect(proxy.url, key=ALPHA, task="toy", timeout=10) as session:
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)

        assert [one.receipt.code for one in node.node.store.transactions(limit=9)] == ["ok"]
        assert len(proxy.seen) > place + 1


async def test_a_waiting_transaction_that_a_restarted_node_forgot_is_sent_again(node: Served) -> None:
    node.node.holding = True
    async with aio.connect(node.url, key=ALPHA, task="toy", timeout=10) as session:
        speaking = asyncio.ensure_future(session.evaluate({"auc": 0.5}, samples=1))
        while not len(node.node.mempool):
            await session.status()
        port = node.server.port
        await node.server.stop()
        node.node.forget()
        node.server = ApiServer(node.node, NodeMetrics(), port=port)
        await node.server.start()
        await speaking

    assert [one.receipt.code for one in node.node.store.transactions(limit=9)] == ["ok"]


async def test_a_nonce_that_another_script_used_first_is_replaced(node: Served, proxy: LyingNode) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as other:
        await other.evaluate({"auc": 0.5}, samples=1)
    stale = [b'{"key":"%s","committed":0,"next":0}' % ALPHA.public_key.hex().encode()]

    def once_stale(path: str, body: bytes) -> bytes:
        return stale.pop() if path.endswith("/nonce") and stale else body

    proxy.change = once_stale
    async with aio.connect(proxy.url, key=ALPHA, task="toy", timeout=10) as session:
        current = await first_round(session)
        await current.submit(moved(current.model, 0.25), samples=1)

    assert not stale
    assert [one.receipt.code for one in node.node.store.transactions(limit=9)] == ["ok", "ok"]


@pytest.mark.parametrize("after_forwarding, puts", [(False, 5), (True, 4)])
async def test_only_chunks_that_did_not_arrive_are_sent_again(
    tmp_path: Path, after_forwarding: bool, puts: int
) -> None:
    """12 MB: the first chunk alone, then eight, then three; the second is cut twice (aiohttp repeats it once)."""
    async with served(tmp_path, toy_task(width=3_000_000)) as node, lying(node) as proxy:
        sent: list[str] = []

        def cut_second(method: str, _path: str, _count: int) -> bool:
            sent.extend([method] if method == "PUT" else [])
            return method == "PUT" and len(sent) in {2, 3}

        proxy.breaks, proxy.after_forwarding = cut_second, after_forwarding
        async with aio.connect(proxy.url, key=ALPHA, task="toy", timeout=10) as session:
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)

        assert len(sent) == puts


async def test_a_node_that_never_answers_is_given_up_after_the_timeout() -> None:
    with pytest.raises(foedus.NodeUnreachableError, match="check that the node runs"):
        async with aio.connect("http://127.0.0.1:9", timeout=0.3):
            pass


@pytest.mark.parametrize("url", ["", "127.0.0.1:8001", "ftp://x", "http://"])
async def test_what_is_no_address_is_said_at_once(url: str) -> None:
    with pytest.raises(foedus.ClientError, match="a URL such as"):
        async with aio.connect(url):
            pass


async def test_something_else_than_a_node_is_recognised(node: Served, proxy: LyingNode) -> None:
    proxy.change = lambda _path, _body: b"<html>welcome</html>"
    with pytest.raises(foedus.ClientError, match="does not speak this version"):
        async with aio.connect(proxy.url, task="toy"):
            pass


async def test_a_node_of_another_chain_is_found_out(node: Served) -> None:
    other = document(toy_task(rounds=9))
    with pytest.raises(foedus.UnverifiedError, match="follows chain"):
        async with aio.connect(node.url, task="toy", genesis=other):
            pass


async def test_a_model_with_one_flipped_bit_is_found_out(node: Served, proxy: LyingNode) -> None:
    async with (
        aio.connect(node.url, key=ALPHA, task="toy") as alpha,
        aio.connect(node.url, key=BETA, task="toy") as beta,
    ):
        for session in (alpha, beta):
            current = await first_round(session)
            await current.submit(moved(current.model, 0.5), samples=1)
        assert (await first_round(alpha)).base_version == 1

    def flip(path: str, body: bytes) -> bytes:
        return body[:-1] + bytes([body[-1] ^ 1]) if path.endswith("/payload") else body

    proxy.change = flip
    async with aio.connect(proxy.url, task="toy") as session:
        with pytest.raises(foedus.UnverifiedError, match="is not the payload"):
            await session.model()


def forged(path: str, body: bytes) -> bytes:
    """Claim another round of the task, with a proof that fits the claim and a header that nobody signed."""
    if not path.startswith("/v1/proofs/state/" + task_key("toy").hex()):
        return body
    proof = decode_light_proof(body)
    assert isinstance(proof.fact, StateFact)
    assert proof.fact.value is not None
    value = proof.fact.value[:-1] + bytes([proof.fact.value[-1] ^ 1])
    lie = StateMap.build([(proof.fact.key, value)])
    header = msgspec.structs.replace(proof.header, state_root=lie.root)
    return encode(LightProof(header, proof.certificate, StateFact(proof.fact.key, value, lie.prove(proof.fact.key))))


async def test_a_forged_state_is_found_out_by_whoever_has_the_genesis_document(node: Served, proxy: LyingNode) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        await session.evaluate({"auc": 0.5}, samples=1)
    proxy.change = forged

    async with aio.connect(proxy.url, task="toy", genesis=node.node.genesis) as session:
        with pytest.raises(foedus.UnverifiedError, match="certificate is for block"):
            await session.task()


async def test_a_value_that_its_proof_does_not_prove_is_always_found_out(node: Served, proxy: LyingNode) -> None:
    async with aio.connect(node.url, key=ALPHA, task="toy") as session:
        await session.evaluate({"auc": 0.5}, samples=1)

    def lie(path: str, body: bytes) -> bytes:
        if "/v1/proofs/" not in path:
            return body
        proof = decode(body, LightProof, bytes_max=1 << 21)
        assert isinstance(proof.fact, StateFact)
        value = None if proof.fact.value is None else proof.fact.value[:-1] + bytes([proof.fact.value[-1] ^ 1])
        return encode(LightProof(proof.header, proof.certificate, StateFact(proof.fact.key, value, proof.fact.path)))

    proxy.change = lie
    async with aio.connect(proxy.url, task="toy") as session:
        with pytest.raises(foedus.UnverifiedError, match="does not lead from the fact"):
            await session.task()


async def test_an_answer_without_end_is_cut_off(node: Served, proxy: LyingNode) -> None:
    proxy.change = lambda _path, _body: bytes(20 << 20)
    with pytest.raises(foedus.ClientError, match="sent more than"):
        async with aio.connect(proxy.url, task="toy"):
            pass


async def test_a_busy_node_is_asked_again(node: Served, proxy: LyingNode) -> None:
    """The API says 503 while all its slots are taken; the client waits its turn."""
    semaphore = node.server._app[server_module._REQUESTS]
    for _ in range(server_module.REQUESTS_MAX):
        await semaphore.acquire()
    opening = asyncio.ensure_future(status_of(node.url))
    async with aiohttp.ClientSession() as other:
        while 'status="503"' not in node.node.metrics.render().decode():
            await (await other.get(node.url + "/healthz")).read()
    for _ in range(server_module.REQUESTS_MAX):
        semaphore.release()

    assert (await opening).name == "alpha"


async def status_of(url: str) -> NodeStatus:
    async with aio.connect(url, timeout=10) as session:
        return await session.status()


async def test_before_block_1_the_genesis_document_is_believed_and_not_the_node(node: Served, proxy: LyingNode) -> None:
    """A node may say for ever that there is no block yet; it gains nothing by it."""
    proxy.change = lambda path, body: b"a lie" if path.startswith("/v1/state/") else body
    async with aio.connect(proxy.url, task="toy", genesis=node.node.genesis) as session:
        assert (await session.task()).spec.id == "toy"
    async with aio.connect(proxy.url, task="toy", genesis=False) as session:
        with pytest.raises(foedus.UnverifiedError, match="holds something else"):
            await session.task()
