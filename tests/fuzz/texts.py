"""Targets: what people and programs write as text. JSON and TOML documents, archives, HTTP requests and answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from foedus.audit.export import write_export
from foedus.audit.export_history import ExportHistory
from foedus.audit.history import Damage, HistoryError
from foedus.audit.node_data import NodeHistory
from foedus.client import wire
from foedus.client.errors import ClientError, NodeRefusedError
from genesis import keys
from genesis.cards import InvalidCardError, card_text, read_card
from genesis.document import InvalidGenesisError, document_text, read_document
from genesis.keys import KeyFileError
from genesis.signatures import InvalidSignaturesError, read_signatures, signatures_text
from genesis.task_plans import InvalidTaskError, read_plan, task_of_plan
from ledger.fields import Height
from node.api import payloads, transactions
from node.api.answering import hex_bytes, integer, limit_of, optional_integer, optional_name, wait_seconds
from node.api.answers import BlockAnswer
from node.api.problem import Problem
from node.api.task_answers import TaskAnswer
from node.config import InvalidConfigError, load_config
from node.payloads.pushing import missing_from_bytes, missing_to_bytes
from node.signed_request import UnsignedRequestError, signed_headers, verify_headers
from node.tokens import FILE_NAME, TokenBook, TokenError, new_token, read_tokens
from tests.foedus.kept import keep
from tests.fuzz import seeds
from tests.fuzz.target import Target
from tests.recorded import NAMES, key_of

SOURCE: Final = "fuzz"
NOW_MS: Final = 1_760_000_000_000


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _document(data: bytes) -> None:
    try:
        document = read_document(_text(data), source=SOURCE)
    except InvalidGenesisError:
        return
    assert read_document(document_text(document)) == document


def _card(data: bytes) -> None:
    try:
        card = read_card(_text(data), source=SOURCE)
    except InvalidCardError:
        return
    assert read_card(card_text(card), source=SOURCE) == card


def _signatures(data: bytes) -> None:
    try:
        signatures = read_signatures(_text(data), source=SOURCE)
    except InvalidSignaturesError:
        return
    assert read_signatures(signatures_text(signatures), source=SOURCE) == signatures


def _plan(data: bytes) -> None:
    for is_json in (True, False):
        try:
            task_of_plan(read_plan(_text(data), source=SOURCE, is_json=is_json))
        except InvalidTaskError:
            continue


def _key_file(data: bytes) -> None:
    try:
        keys._parse(Path(SOURCE), _text(data))
    except KeyFileError:
        return


@cache
def _directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="foedus-fuzz-"))


def _file(name: str, data: bytes) -> Path:
    path = _directory() / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def _config(data: bytes) -> None:
    try:
        load_config(_file("node.toml", data), {})
    except InvalidConfigError:
        return


def _tokens(data: bytes) -> None:
    _file(FILE_NAME, data)
    try:
        read_tokens(_directory())
    except TokenError:
        return


def _token(data: bytes) -> None:
    assert TokenBook(_directory() / "none").find(_text(data), now_ms=0) is None


def _export(data: bytes) -> None:
    try:
        with ExportHistory.open(_file("chain.foedus", data)) as history:
            for height in range(1, min(history.height, 8) + 1):
                history.certified_block(Height(height))
                history.receipts(Height(height))
            for _ in history.end_differences(None):
                pass
    except (HistoryError, InvalidGenesisError, Damage):
        return


def _exports() -> list[bytes]:
    directory = Path(tempfile.mkdtemp(prefix="foedus-fuzz-"))
    data = keep(seeds.history(), directory / "node")
    with NodeHistory.open(data, seeds.history().document) as history:
        write_export(history, directory / "chain.foedus")
    return [(directory / "chain.foedus").read_bytes()]


def _request(data: bytes) -> None:
    """A query, a Content-Range and a path say what they mean, or a problem names what is wrong."""
    text = "".join(letter for letter in _text(data) if letter.isprintable())
    target = "/v1/blocks?" + text
    try:
        request = make_mocked_request("GET", target, headers={"Content-Range": text[:200], "Content-Length": "5"})
    except ValueError:
        return  # aiohttp has no request for it either
    descriptor = seeds.payload_frames()[0].payload  # type: ignore[union-attr]
    asked: tuple[Callable[[], object], ...] = (
        lambda: limit_of(request),
        lambda: wait_seconds(request),
        lambda: optional_integer(request, "before"),
        lambda: optional_name(request, "kind"),
        lambda: hex_bytes(text, "sender", length=32),
        lambda: integer(text, "height"),
        lambda: payloads._content_range(request, descriptor),
    )
    for ask in asked:
        assert _status(ask) in {200, 400}


def _status(ask: Callable[[], object]) -> int:
    try:
        ask()
    except Problem as problem:
        return problem.response().status
    return 200


def _submission(data: bytes) -> None:
    for kind in ("application/json", "application/msgpack", "text/plain"):
        request = make_mocked_request("POST", "/v1/transactions", headers={"Content-Type": kind})
        try:
            raw = transactions._raw_transaction(request, data)
        except Problem as problem:
            response: web.Response = problem.response()
            assert response.status in {400, 413, 415}
        else:
            assert isinstance(raw, bytes)


def _signed(data: bytes) -> None:
    """Four headers are a participant's word, or refused; nothing that was changed is a word."""
    lines = [line.partition(b": ")[::2] for line in data.split(b"\n")]
    headers = {_text(name): _text(value) for name, value in lines}
    chain_id = seeds.history().document.chain_id
    try:
        key, _ = verify_headers(headers, chain_id, "PUT", "/v1/payloads/x", NOW_MS)
    except UnsignedRequestError:
        return
    assert key == key_of(NAMES[0], "participant").public_key


def _signed_requests() -> list[bytes]:
    key, chain_id = key_of(NAMES[0], "participant"), seeds.history().document.chain_id
    said = signed_headers(key, chain_id, "PUT", "/v1/payloads/x", NOW_MS, b"body")
    return ["\n".join(f"{name}: {value}" for name, value in said.items()).encode()]


def _answer(data: bytes) -> None:
    """What a node answers is read, or is an error of the SDK's own."""
    asked = wire.Wire("http://127.0.0.1:1", key=None, patience=1)
    for kind in (BlockAnswer, TaskAnswer):
        try:
            asked.read(wire.Reply(200, {}, data), kind)
        except ClientError:
            continue
    assert isinstance(wire._refusal(400, data), NodeRefusedError)


def _missing(data: bytes) -> None:
    """A peer's list of missing chunks names each at most once, and none that the payload does not have."""
    try:
        missing = missing_from_bytes(data, 5)
    except ValueError:
        return
    assert missing == sorted(set(missing))
    assert set(missing) <= set(range(5))


def _token_texts() -> list[bytes]:
    _, text = new_token(Path(tempfile.mkdtemp(prefix="foedus-fuzz-")), "reader", "read", now_ms=NOW_MS)
    return [text.encode(), b"foedus-read-", "foedus-read-é".encode()]


def _token_files() -> list[bytes]:
    directory = Path(tempfile.mkdtemp(prefix="foedus-fuzz-"))
    new_token(directory, "reader", "read", now_ms=NOW_MS, expires_ms=NOW_MS)
    return [(directory / FILE_NAME).read_bytes(), b"{}"]


def _configs() -> list[bytes]:
    return [
        (
            b'[node]\nname = "a"\ndata_dir = "data"\n[genesis]\npath = "g"\n[keys]\nvalidator = "v"\ntransport = "t"\n'
            b'[peer]\nport = 7001\n[peers]\nb = "127.0.0.1:7002"\n'
        ),
    ]


def _answers() -> list[bytes]:
    problem = {"type": "x", "code": "block.unknown", "detail": "no", "status": 404}
    return [msgspec.json.encode(problem), b'{"a":' * 50 + b"1" + b"}" * 50]


def _plain(name: str, run: Callable[[bytes], object], found: Callable[[], list[bytes]]) -> Target:
    return Target(name, run, found, is_packed=False)


TEXTS: Final[tuple[Target, ...]] = (
    _plain("genesis-document", _document, seeds.genesis_texts),
    _plain("member-card", _card, seeds.card_texts),
    _plain("genesis-signatures", _signatures, seeds.signature_texts),
    _plain("task-plan", _plan, seeds.plan_texts),
    _plain("key-file", _key_file, seeds.key_texts),
    _plain("settings", _config, _configs),
    _plain("token-file", _tokens, _token_files),
    _plain("token", _token, _token_texts),
    _plain("export", _export, _exports),
    _plain("http-request", _request, lambda: [b"limit=5&before=3&kind=update&timeout=4", b"bytes 0-63/64", b"0" * 64]),
    _plain("http-submission", _submission, lambda: seeds.texts({"transaction": "c0"}, {"transaction": "zz"}, [1])),
    _plain("http-signature", _signed, _signed_requests),
    _plain("http-answer", _answer, _answers),
    _plain("missing-chunks", _missing, lambda: [missing_to_bytes([0, 3, 4]), b"0 0 0 9 -1"]),
)
