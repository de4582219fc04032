"""Whom the SDK believes: several nodes, a document that is found, sets that follow one another, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

import foedus
from fl.membership.records import SeatChange, SeatChanges
from fl.membership.state import SEAT_CHANGES_KEY
from foedus import Progress, aio
from foedus.client import progress
from genesis.document import document_text, initial_state
from genesis.keys import write_key
from ledger.chain import CertifiedHeader
from ledger.codec import decode, encode
from ledger.reigns import REIGNS_KEY, SET_PREFIX, VALIDATORS_PENDING_KEY, Reigns, reigns_of
from ledger.validators import ValidatorSet
from node.api.server import ApiServer
from node.metrics import NodeMetrics
from node.tokens import new_token
from tests.foedus.lying_node import lying
from tests.node import single_node
from tests.node.single_node import TRAINER_KEYS, Served, opened, served, toy_task

ALPHA, BETA = TRAINER_KEYS["alpha"], TRAINER_KEYS["beta"]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path / "node") as opened:
        yield opened


def moved(model: dict[str, np.ndarray], by: float) -> dict[str, np.ndarray]:
    return {name: array + np.float32(by) for name, array in model.items()}


async def first_round(session: aio.Session) -> aio.Round:
    return await anext(session.rounds())


async def test_another_node_of_the_institution_takes_over_when_one_is_silent(node: Served) -> None:
    """The first address never answers; the one that answers is then asked at once."""
    async with aio.connect(["http://127.0.0.1:9", node.url], key=ALPHA, task="toy", timeout=5) as session:
        current = await first_round(session)
        await current.submit(moved(current.model, 0.25), samples=1)

    assert [one.receipt.code for one in node.node.store.transactions(limit=9)] == ["ok"]


@pytest.mark.parametrize("after_forwarding", [False, True])
@pytest.mark.parametrize("place", range(9))
async def test_a_submission_survives_the_loss_of_a_node_at_any_request(
    node: Served, place: int, after_forwarding: bool
) -> None:
    """The first of two nodes dies for good at one request, before or after the chain got it; the update counts once."""
    async with lying(node) as dying:
        dying.breaks, dying.after_forwarding = (lambda _method, _path, count: count >= place), after_forwarding
        async with aio.connect([dying.url, node.url], key=ALPHA, task="toy", timeout=10) as session:
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)

    assert [one.receipt.code for one in node.node.store.transactions(limit=9)] == ["ok"]


async def test_a_payload_that_only_the_lost_node_had_is_sent_to_the_one_that_took_over(
    node: Served, tmp_path: Path
) -> None:
    """The second node has a disk of its own: it answers that it knows nothing of the payload."""
    async with served(tmp_path / "other") as other, lying(other) as dying:
        dying.breaks = lambda _method, path, _count: path.endswith("/certificate")
        dying.after_forwarding = False
        async with aio.connect([dying.url, node.url], key=ALPHA, task="toy", timeout=10) as session:
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)

    assert len(node.node.published) == 1


async def test_when_no_node_answers_all_are_named() -> None:
    with pytest.raises(foedus.NodeUnreachableError, match=r"127\.0\.0\.1:9 and http://127\.0\.0\.1:8 "):
        async with aio.connect(["http://127.0.0.1:9", "http://127.0.0.1:8"], timeout=0.3):
            pass
    with pytest.raises(foedus.ClientError, match="1 to 16 URLs"):
        async with aio.connect([]):
            pass


async def test_a_genesis_document_beside_the_key_is_found_and_pins_the_chain(node: Served, tmp_path: Path) -> None:
    keys = tmp_path / "participants"
    keys.mkdir()
    write_key(keys / "alpha.key", ALPHA, owner="alpha")
    (tmp_path / "genesis.json").write_text(document_text(node.node.genesis))

    async with aio.connect(node.url, key=keys / "alpha.key") as session:
        assert session.verified
    async with aio.connect(node.url, key=keys / "alpha.key", genesis=False) as session:
        assert not session.verified
    (tmp_path / "genesis.json").write_text(document_text(single_node.document(toy_task(rounds=9))))
    with pytest.raises(foedus.UnverifiedError, match="follows chain"):
        async with aio.connect(node.url, key=keys / "alpha.key"):
            pass


async def test_a_genesis_document_may_be_named_by_the_environment(
    node: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agreed.json").write_text(document_text(node.node.genesis))
    monkeypatch.setenv("FOEDUS_GENESIS", str(tmp_path / "agreed.json"))

    async with aio.connect(node.url) as session:
        assert session.verified


def renamed(validators: ValidatorSet, address: str) -> ValidatorSet:
    return ValidatorSet.of(tuple(msgspec.structs.replace(one, address=address) for one in validators.members))


@asynccontextmanager
async def changing(directory: Path, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> AsyncIterator[Served]:
    """A node of a chain whose validators change after its first blocks; the keys stay, so that the test can sign on."""
    genesis = single_node.document(toy_task(**({} if times == 1 else {"rounds": 9})))
    members = renamed(genesis.validators, "elsewhere:7001").members
    state = initial_state(genesis)
    if times == 1:
        state = state.update({VALIDATORS_PENDING_KEY: encode(ValidatorSet(members))})
    else:
        waiting = SeatChanges(tuple(SeatChange(one.name, one) for one in members[:times]))
        state = state.update({SEAT_CHANGES_KEY: encode(waiting)})
    monkeypatch.setattr(single_node, "initial_state", lambda _document: state)
    async with opened(directory) as node:
        server = ApiServer(node, NodeMetrics())
        await server.start()
        try:
            yield Served(node, server)
        finally:
            await server.stop()


async def test_a_change_of_validators_is_followed_from_the_genesis_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with changing(tmp_path, monkeypatch) as node:
        genesis = node.node.genesis
        async with aio.connect(node.url, key=ALPHA, task="toy", genesis=genesis) as session:
            for height in range(1, 4):
                await session.evaluate({"auc": 0.5}, samples=height, version=0) if height == 1 else None
                current = await first_round(session)
                await current.submit(moved(current.model, 0.25), samples=1)
                node.node.force_close()
                await node.node.seal()
        assert node.node.chain.height >= 8
        assert node.node.validators() != genesis.validators
        async with aio.connect(node.url, task="toy", genesis=genesis) as late:
            assert (await late.task()).status == "finished"


async def test_a_client_that_missed_several_changes_follows_them_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with changing(tmp_path, monkeypatch, times=4) as node, lying(node) as proxy:
        genesis = node.node.genesis
        async with aio.connect(node.url, key=ALPHA, task="toy") as session:
            await first_round(session)
            for version in range(4):
                await session.evaluate({"auc": 0.5}, samples=1, version=0) if version == 0 else None
                current = await first_round(session)
                if version < 3:
                    await current.submit(moved(current.model, 0.25), samples=1)
                    node.node.force_close()
                    await node.node.seal()
        assert len(reigns_of(node.node.state())) >= 4

        async with aio.connect(node.url, task="toy", genesis=genesis) as late:
            assert (await late.task()).status in {"active", "finished"}

        hidden = reigns_of(node.node.state())
        without = encode(Reigns((*hidden[:1], *hidden[2:])))
        proxy.change = lambda path, body: without if path == f"/v1/state/{REIGNS_KEY.hex()}" else body
        with pytest.raises(foedus.UnverifiedError, match="was decided by validator set"):
            async with aio.connect(proxy.url, task="toy", genesis=genesis) as deceived:
                await deceived.task()


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda found: msgspec.structs.replace(found, certificate=shortened(found)), "needs 3 of 4 signatures"),
        (lambda found: msgspec.structs.replace(found, header=retimed(found)), "certificate is for block"),
        (lambda found: msgspec.structs.replace(found, header=moved_up(found)), "was needed, got"),
    ],
)
async def test_headers_that_nobody_signed_lead_to_no_other_validators(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[CertifiedHeader], CertifiedHeader],
    message: str,
) -> None:
    async with changing(tmp_path, monkeypatch) as node, lying(node) as proxy:
        async with aio.connect(node.url, key=ALPHA, task="toy") as session:
            await session.evaluate({"auc": 0.5}, samples=1)
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)

        def lie(path: str, body: bytes) -> bytes:
            if path != "/v1/headers/1":
                return body
            return encode(spoil(decode(body, CertifiedHeader, bytes_max=1 << 16)))

        proxy.change = lie
        with pytest.raises(foedus.UnverifiedError, match=message):
            async with aio.connect(proxy.url, task="toy", genesis=node.node.genesis) as late:
                await late.task()


async def test_validators_that_no_header_named_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with changing(tmp_path, monkeypatch) as node, lying(node) as proxy:
        async with aio.connect(node.url, key=ALPHA, task="toy") as session:
            await session.evaluate({"auc": 0.5}, samples=1)
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)
        other = encode(renamed(node.node.genesis.validators, "liar:1"))
        kept = f"/v1/state/{SET_PREFIX.hex()}"
        proxy.change = lambda path, body: other if path.startswith(kept) else body

        with pytest.raises(foedus.UnverifiedError, match="is decided by validator set"):
            async with aio.connect(proxy.url, task="toy", genesis=node.node.genesis) as late:
                await late.task()


def shortened(found: CertifiedHeader) -> object:
    return msgspec.structs.replace(found.certificate, seals=found.certificate.seals[:2])


def retimed(found: CertifiedHeader) -> object:
    return msgspec.structs.replace(found.header, time_ms=found.header.time_ms + 1)


def moved_up(found: CertifiedHeader) -> object:
    return msgspec.structs.replace(found.header, height=found.header.height + 1)


async def test_a_token_opens_a_node_that_wants_one_and_so_does_a_known_key(tmp_path: Path) -> None:
    async with served(tmp_path, read="token") as node:
        _, token = new_token(tmp_path, "script", "read", now_ms=1)
        with pytest.raises(foedus.NodeRefusedError, match=r"request\.unauthorised"):
            async with aio.connect(node.url, task="toy"):
                pass
        async with aio.connect(node.url, task="toy", token=token) as session:
            assert (await session.status()).height == 0
        async with aio.connect(node.url, key=ALPHA, task="toy", genesis=node.node.genesis) as session:
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)
        async with aio.connect(node.url, key=BETA, task="toy", token=token) as session:
            current = await first_round(session)
            await current.submit(moved(current.model, 0.25), samples=1)


async def test_progress_is_told_in_bytes_to_the_end(tmp_path: Path) -> None:
    told: list[Progress] = []
    async with (
        served(tmp_path, toy_task(updates_max=1, width=1_500_000)) as node,
        aio.connect(node.url, key=ALPHA, task="toy", progress=told.append) as session,
    ):
        current = await first_round(session)
        await current.submit(moved(current.model, 0.25), samples=1)
        node.node.force_close()
        await node.node.seal()
        await session.model()

    uploads = [one.done for one in told if one.direction == "upload"]
    downloads = [one.done for one in told if one.direction == "download"]
    assert uploads == sorted(uploads)
    assert (len(uploads) > 10, uploads[-1]) == (True, 32 + 2 * 3_000_001)
    assert (len(downloads) > 10, downloads[-1]) == (True, 32 + 4 * 3_000_001)
    assert all(one.done <= one.total for one in told)


def test_bars_go_to_standard_error_only_when_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.reporting(False) as nothing:
        assert nothing is None
    with progress.reporting(True) as report:
        assert report is not None
        report(Progress("upload", 1, 2))
        report(Progress("upload", 2, 2))

    assert capsys.readouterr().out == ""


async def test_a_script_without_asyncio_has_the_same_choices(node: Served, tmp_path: Path) -> None:
    def script() -> bool:
        urls = ("http://127.0.0.1:9", node.url)
        with foedus.connect(urls, task="toy", genesis=node.node.genesis, progress=False, timeout=5) as session:
            return session.verified

    assert await asyncio.to_thread(script)
