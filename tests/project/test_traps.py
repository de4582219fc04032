"""Traps that other ledgers fell into: each has a test here or elsewhere, and the page that lists them names it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from consensus import Drop, DropReason
from consensus.messages import Commit
from genesis.cards import InvalidCardError, make_card
from genesis.document import InvalidGenesisError, document_text, read_document
from ledger.block import Header, block_id
from ledger.certificate import Seal
from ledger.fields import Height
from ledger.identity import NO_SIGNATURE, InvalidKeyError, PublicKey, require_public_key, verify
from node.payloads.errors import ChunkMismatchError, RootMismatchError
from node.store import Store
from tests.consensus.council import H1, V0, Council, of, receive
from tests.fuzz import seeds
from tests.project.tree import ROOT

FIELD = 2**255 - 19
SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)
"""All eight points of Ed25519 whose order divides the cofactor."""

NOT_CANONICAL = (
    (FIELD + 1).to_bytes(32, "little").hex(),
    ((1 << 255) | (FIELD + 1)).to_bytes(32, "little").hex(),
    FIELD.to_bytes(32, "little").hex(),
    (2**255 - 1).to_bytes(32, "little").hex(),
    "0100000000000000000000000000000000000000000000000000000000000080",
)
"""Other ways to write points: y of at least the field's prime, and x = 0 with a sign."""

WEAK = pytest.mark.parametrize("key", [*SMALL_ORDER, *NOT_CANONICAL])


@WEAK
def test_keys_of_small_order_and_other_spellings_of_keys_are_no_keys(key: str) -> None:
    with pytest.raises(InvalidKeyError):
        require_public_key(bytes.fromhex(key))


@WEAK
def test_a_weak_key_has_signed_nothing(key: str) -> None:
    """Under a key of small order one signature would do for many messages."""
    message, chain_id = b"anything", seeds.history().document.chain_id
    for point in SMALL_ORDER:
        forged = bytes.fromhex(point) + bytes(32)
        assert not verify(bytes.fromhex(key), "transaction", chain_id, message, forged)


@WEAK
@pytest.mark.parametrize("use", ["validator", "transport", "participant"])
def test_a_weak_key_is_not_registered_by_a_genesis_document(key: str, use: str) -> None:
    document, weak = seeds.history().document, PublicKey(bytes.fromhex(key))
    replace = msgspec.structs.replace
    first, *others = document.validators.members
    if use == "participant":
        people = document.learning.participants
        said = replace(people[0], public_key=weak)
        changed = replace(document, learning=replace(document.learning, participants=(said, *people[1:])))
    else:
        field = "public_key" if use == "validator" else "transport_key"
        members = (replace(first, **{field: weak}), *others)
        changed = replace(document, validators=replace(document.validators, members=members))
    with pytest.raises(InvalidGenesisError, match="prime-order group"):
        read_document(document_text(changed))


@WEAK
def test_a_weak_key_is_not_brought_by_a_member_card(key: str) -> None:
    from tests.genesis.test_cards import key as key_for
    from tests.genesis.test_cards import membership, with_voting_key

    said = with_voting_key(membership("cleveland"), bytes.fromhex(key))
    with pytest.raises(InvalidCardError):
        make_card(said, [key_for("cleveland", use) for use in ("validator", "transport", "trainer", "officer")])


def test_the_identity_of_a_block_knows_no_view_seals_or_certificates() -> None:
    """So that a block that is proposed again after a view change is the same block."""
    council = Council()
    block = council.block()
    assert {"view", "seal", "seals", "certificate", "round"}.isdisjoint(Header.__struct_fields__)
    first, second = council.certified(block, V0), council.certified(block, V0 + 3)  # type: ignore[arg-type]
    assert first.certificate != second.certificate
    assert block_id(first.block.header) == block_id(second.block.header) == block.id


def test_size_comes_before_sender_sender_before_signature_and_signature_before_state() -> None:
    """Each message below is wrong in everything that comes later as well; the first check is the one that speaks."""
    council = Council()
    replica, block = council.replica(0), council.block()

    def reason(seal: Seal, height: Height, size: int = 0) -> DropReason:
        from consensus import MessageReceived, encode_message

        data = encode_message(Commit(height, V0, block.id, seal)) + bytes(size)
        (drop,) = of(replica.step(MessageReceived(data)), Drop)
        return drop.reason

    assert reason(Seal(99, NO_SIGNATURE), H1, size=2 << 20) is DropReason.MALFORMED
    assert reason(Seal(99, NO_SIGNATURE), H1) is DropReason.NOT_A_MEMBER
    assert reason(Seal(1, NO_SIGNATURE), H1) is DropReason.BAD_SIGNATURE
    assert receive(replica, council.commit(1, block)) == [] or replica.height == H1


def test_a_chunk_is_taken_at_its_own_index_alone(tmp_path: Path) -> None:
    """What a chunk proves, its hash at its place in the list, is proven for that place and no other."""
    from ledger.payload import CHUNK_BYTES, chunk_hashes, describe
    from node.payloads.files import Card, PayloadFiles

    payload = b"".join(bytes([number]) * CHUNK_BYTES for number in range(3))
    files = PayloadFiles(tmp_path / "payloads")
    files.open()
    hashes = b"".join(chunk_hashes(payload))
    card = Card(describe(payload), "", "ok")
    files.begin(card, hashes)
    chunks = [payload[start : start + CHUNK_BYTES] for start in range(0, len(payload), CHUNK_BYTES)]
    for place in (0, 1, 2):
        with pytest.raises((ChunkMismatchError, RootMismatchError)):
            files.write(card.payload, place, chunks[(place + 1) % 3], verify=True)
    for place, chunk in enumerate(chunks):
        files.write(card.payload, place, chunk, verify=True)


@pytest.mark.parametrize("room", ["consensus", "ledger", "fl"])
def test_nothing_is_awaited_inside_a_step(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        waits = (
            ast.Await,
            ast.AsyncFunctionDef,
            ast.AsyncFor,
            ast.AsyncWith,
            ast.Yield if room == "consensus" else ast.Await,
        )
        assert not [node for node in ast.walk(tree) if isinstance(node, waits)], path


def test_one_task_owns_the_replica() -> None:
    """Whoever else wants something of it puts it into the driver's queues."""
    stepping = [
        path.relative_to(ROOT).as_posix()
        for room in ("node", "foedus")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"replica\.step\(", path.read_text(encoding="utf-8"))
    ]
    assert stepping == ["node/driver.py"]


def test_a_payload_is_acknowledged_after_the_directories_that_name_it_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was synced and whose name was not is gone after a power cut."""
    from ledger.payload import describe
    from node.payloads.files import Card, PayloadFiles

    synced: set[int] = set()
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, _noting(getattr(os, name), synced))
    files = PayloadFiles(tmp_path / "payloads")
    files.open()
    payload = b"x" * 64
    card = Card(describe(payload), "", "ok")
    files.begin(card, b"")
    files.finish(card, [files.write(card.payload, 0, payload, verify=False)])
    files_on_disk = [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]
    assert files_on_disk
    holding = {path.parent for path in files_on_disk} | {path.parent.parent for path in files_on_disk}
    assert {path.stat().st_ino for path in holding} <= synced
    unsynced = {path.name for path in files_on_disk if path.stat().st_ino not in synced}
    assert unsynced == set()


def test_a_store_is_opened_when_the_directories_that_name_it_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote that was synced into a directory that a power cut took away is a vote forgotten."""
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", _noting(os.fsync, synced))
    Store.open(tmp_path / "var" / "data", seeds.history().document.chain_id).close()
    assert {tmp_path.stat().st_ino, (tmp_path / "var").stat().st_ino} <= synced


def _noting(sync: Callable[[int], None], synced: set[int]) -> Callable[[int], None]:
    """Note files and directories that are synced by their inodes: they may get other names afterwards."""

    def note(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    return note


def test_every_trap_of_the_page_has_tests_that_exist() -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (`tests/[^|]+) \|$", page, re.MULTILINE)
    assert len(rows) >= 20
    for trap, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert named, trap
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{trap}: {path}::{test}"
