"""Bearer tokens: hashed at rest, scoped, and worth nothing from the moment they are revoked."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ledger.payload import describe
from node import logs
from node.api.admin import LogLevel
from node.api.answers import UploadAnswer
from node.tokens import (
    FILE_NAME,
    TOKENS_MAX,
    Scope,
    TokenBook,
    TokenError,
    new_token,
    read_tokens,
    revoke_token,
)
from tests.node.api_client import Asker, asking, evaluation, payload_path
from tests.node.single_node import TRAINER_KEYS, served

NOW = 1_700_000_000_000
SMALL = b"x" * 40
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def asker(tmp_path: Path) -> AsyncIterator[Asker]:
    """A node whose operator wants a token even for reading."""
    async with served(tmp_path, read="token") as node, asking(node) as opened:
        yield opened


@pytest.fixture
def quiet() -> Iterator[None]:
    before = logs.current_level()
    yield
    logs.set_level(before)


def bearer(directory: Path, scope: Scope) -> dict[str, str]:
    _, text = new_token(directory, scope, scope, now_ms=NOW)
    return {"Authorization": f"Bearer {text}"}


def test_a_token_is_found_by_its_secret_alone_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    kept, text = new_token(tmp_path, "grafana", "read", now_ms=NOW)

    assert TokenBook(tmp_path).find(text, now_ms=NOW) == kept
    assert text.removeprefix("foedus-read-") not in (tmp_path / FILE_NAME).read_text()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    for other in ("", text[:-1], text + "A", text.replace("foedus-", ""), kept.sha256, kept.name, "foedus-read-é"):
        assert TokenBook(tmp_path).find(other, now_ms=NOW) is None


def test_the_scope_in_a_tokens_text_grants_nothing(tmp_path: Path) -> None:
    kept, text = new_token(tmp_path, "grafana", "read", now_ms=NOW)

    found = TokenBook(tmp_path).find(text.replace("-read-", "-admin-"), now_ms=NOW)

    assert found == kept
    assert not kept.may("submit")


def test_a_revoked_token_is_worth_nothing_to_a_book_that_is_open(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    assert book.find("foedus-read-x", now_ms=NOW) is None
    _, first = new_token(tmp_path, "first", "read", now_ms=NOW)
    _, second = new_token(tmp_path, "second", "admin", now_ms=NOW)
    assert book.find(first, now_ms=NOW) is not None

    revoke_token(tmp_path, "first")

    assert book.find(first, now_ms=NOW) is None
    assert book.find(second, now_ms=NOW) is not None
    (tmp_path / FILE_NAME).unlink()
    assert book.find(second, now_ms=NOW) is None


def test_a_token_ends_when_it_was_said_to(tmp_path: Path) -> None:
    _, text = new_token(tmp_path, "visitor", "read", now_ms=NOW, expires_ms=NOW + 1_000)

    assert TokenBook(tmp_path).find(text, now_ms=NOW + 999) is not None
    assert TokenBook(tmp_path).find(text, now_ms=NOW + 1_000) is None


@pytest.mark.parametrize("damage", ["", "{", '{"tokens": [{"name": "a"}]}', '{"tokens": [], "more": 1}', "[]"])
def test_a_file_that_does_not_read_lets_nobody_in_and_is_said_once(tmp_path: Path, damage: str) -> None:
    faults: list[str] = []
    book = TokenBook(tmp_path, on_fault=faults.append)
    _, text = new_token(tmp_path, "first", "read", now_ms=NOW)
    assert book.find(text, now_ms=NOW) is not None

    (tmp_path / FILE_NAME).write_text(damage)

    assert book.find(text, now_ms=NOW) is None
    assert book.find(text, now_ms=NOW) is None
    assert len(faults) == 1
    with pytest.raises(TokenError, match="damaged"):
        new_token(tmp_path, "second", "read", now_ms=NOW)


def test_a_file_that_others_may_write_lets_nobody_in(tmp_path: Path) -> None:
    _, text = new_token(tmp_path, "first", "read", now_ms=NOW)
    (tmp_path / FILE_NAME).chmod(0o622)

    assert TokenBook(tmp_path).find(text, now_ms=NOW) is None
    with pytest.raises(TokenError, match="chmod 600"):
        read_tokens(tmp_path)


def test_names_are_unique_and_tokens_bounded(tmp_path: Path) -> None:
    entry = {"scope": "read", "sha256": "00" * 32, "created_ms": NOW}
    crowd = [{"name": f"t{number:03}", **entry} for number in range(TOKENS_MAX)]
    (tmp_path / FILE_NAME).write_text(json.dumps({"tokens": crowd}))
    (tmp_path / FILE_NAME).chmod(0o600)

    with pytest.raises(TokenError, match="at most 256"):
        new_token(tmp_path, "one-more", "read", now_ms=NOW)
    with pytest.raises(TokenError, match="exists already"):
        new_token(tmp_path, "t000", "read", now_ms=NOW)
    with pytest.raises(TokenError, match="no token can be made"):
        new_token(tmp_path, "../x", "read", now_ms=NOW)
    with pytest.raises(TokenError, match="there is no token none"):
        revoke_token(tmp_path, "none")
    with pytest.raises(TokenError, match="is no directory"):
        new_token(tmp_path / "nowhere", "x", "read", now_ms=NOW)


def test_a_crash_while_writing_leaves_the_tokens_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, text = new_token(tmp_path, "first", "read", now_ms=NOW)

    def broken(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(TokenError, match="No space left"):
        new_token(tmp_path, "second", "read", now_ms=NOW)

    assert read_tokens(tmp_path) == (kept,)
    monkeypatch.undo()
    new_token(tmp_path, "second", "read", now_ms=NOW)
    assert TokenBook(tmp_path).find(text, now_ms=NOW) == kept


READING = ("/v1/status", "/v1/blocks", "/metrics", "/v1/tasks/toy/models/0/safetensors", "/v1/events")
OPEN = ("/healthz", "/readyz", "/openapi.json", "/docs")


async def test_where_reading_needs_a_token_nothing_is_read_without(asker: Asker) -> None:
    for path in READING:
        reply = await asker.get(path)
        assert (reply.status, reply.code) == (401, "request.unauthorised")
        assert (await asker.ask("HEAD", path)).status in {401, 405}
    for path in OPEN:
        assert (await asker.get(path)).status == 200


@pytest.mark.parametrize("scope", ["read", "submit", "admin"])
async def test_a_token_of_any_scope_reads_until_it_is_revoked(asker: Asker, tmp_path: Path, scope: Scope) -> None:
    headers = bearer(tmp_path, scope)

    assert (await asker.get("/v1/status", headers)).status == 200
    revoke_token(tmp_path, scope)
    assert (await asker.get("/v1/status", headers)).code == "request.unauthorised"


async def test_a_participants_signature_reads_too(asker: Asker) -> None:
    assert (await asker.ask("GET", "/v1/status", key=TRAINER_KEYS["alpha"])).status == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Basic Zm9v", "foedus-read-x", "Bearer " + "x" * 4_000, ""])
async def test_what_is_no_token_is_refused_even_beside_a_signature(asker: Asker, header: str) -> None:
    reply = await asker.ask("GET", "/v1/status", key=TRAINER_KEYS["alpha"], headers={"Authorization": header})

    assert (reply.status, reply.code) == (401, "request.unauthorised")


async def test_a_submit_token_uploads_and_a_read_token_does_not(asker: Asker, tmp_path: Path) -> None:
    path = payload_path(describe(SMALL))
    reader, writer = bearer(tmp_path, "read"), bearer(tmp_path, "submit")

    refused = await asker.ask("PUT", path, body=SMALL, headers=reader)
    assert (refused.status, refused.code) == (403, "request.scope")
    assert (await asker.ask("PUT", path, body=SMALL, headers=writer)).read(UploadAnswer).stored
    assert (await asker.get(path + "/certificate", writer)).status == 200


async def test_a_transaction_needs_no_token_even_where_reading_does(asker: Asker) -> None:
    reply = await asker.post(asker.signed("alpha", "evaluation", evaluation()))

    assert reply.status == 200


async def test_only_an_admin_token_changes_the_log_level(asker: Asker, tmp_path: Path, quiet: None) -> None:
    path, body = "/v1/admin/log-level", b'{"level": "debug"}'
    admin = bearer(tmp_path, "admin")
    for headers, code in (({}, "request.unauthorised"), (bearer(tmp_path, "submit"), "request.scope")):
        assert (await asker.ask("PUT", path, body=body, headers={**headers, **JSON})).code == code
    signed = await asker.ask("PUT", path, body=body, headers=JSON, key=TRAINER_KEYS["alpha"])
    assert signed.code == "request.unauthorised"

    assert (await asker.ask("PUT", path, body=body, headers={**admin, **JSON})).read(LogLevel).level == "debug"
    assert (await asker.get(path, admin)).read(LogLevel).level == "debug"
    wrong = await asker.ask("PUT", path, body=b'{"level": "loud"}', headers={**admin, **JSON})
    assert wrong.code == "request.invalid"
    assert (await asker.ask("PUT", path, body=body, headers=admin)).code == "request.media_type"
