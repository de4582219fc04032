"""Chunks that came a moment ago: how much memory they take, and until when."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ledger.digest import Digest, digest
from node.payloads import PayloadStore
from node.payloads.recent import KEPT_S_MAX, RecentChunks
from tests.node.depots import make_payload

FIRST, SECOND, THIRD = (digest("payload", bytes([number])) for number in range(3))
ROOM = 100


def kept(payloads: RecentChunks) -> set[tuple[Digest, int]]:
    """Return what is kept of the three payloads."""
    places = [(one, index) for one in (FIRST, SECOND, THIRD) for index in range(8)]
    return {place for place in places if payloads.get(*place) is not None}


async def test_the_oldest_payload_makes_room_and_the_newest_takes_none_of_its_own() -> None:
    recent = RecentChunks(ROOM, lambda: None)
    recent.keep(FIRST, 0, bytes(40))
    recent.keep(SECOND, 0, bytes(40))
    recent.keep(SECOND, 1, bytes(40))
    assert kept(recent) == {(SECOND, 0), (SECOND, 1)}
    recent.keep(SECOND, 2, bytes(40))
    assert kept(recent) == {(SECOND, 0), (SECOND, 1)}
    recent.keep(THIRD, 0, bytes(101))
    assert recent.held_bytes <= ROOM
    recent.close()


async def test_a_chunk_that_comes_again_takes_the_place_of_the_earlier_one() -> None:
    recent = RecentChunks(ROOM, lambda: None)
    recent.keep(FIRST, 0, b"a" * 60)
    recent.keep(FIRST, 0, b"b" * 70)
    assert recent.get(FIRST, 0) == b"b" * 70
    assert recent.held_bytes == 70
    recent.forget(FIRST)
    assert (recent.held_bytes, recent.get(FIRST, 0)) == (0, None)
    recent.close()


async def test_nothing_is_kept_when_nothing_came_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    dropped: list[str] = []
    now_s = [loop.time()]
    recent = RecentChunks(ROOM, lambda: dropped.append("all"))
    recent.keep(FIRST, 0, bytes(40))
    monkeypatch.setattr(loop, "time", lambda: now_s[0])
    now_s[0] += KEPT_S_MAX - 1
    recent.keep(SECOND, 0, bytes(40))
    now_s[0] += 2
    await turn()
    assert kept(recent) == {(FIRST, 0), (SECOND, 0)}
    now_s[0] += KEPT_S_MAX
    await turn()
    assert (kept(recent), recent.held_bytes, dropped) == (set(), 0, ["all"])


async def test_what_is_erased_is_in_memory_no_more(tmp_path: Path) -> None:
    store = await PayloadStore.open(tmp_path, bytes_max=1 << 30, recent_bytes_max=8 << 20)
    payload = make_payload(2.5)
    descriptor = await store.add(payload)
    target = bytearray(100)
    (store.files.path / "payloads" / descriptor.id.hex() / "data").write_bytes(b"")
    store.read_into_blocking(descriptor, 1 << 20, memoryview(target))
    assert target == payload[1 << 20 :][:100], "it came from memory: the disk has nothing"
    await store.delete(descriptor.id)
    assert store._recent.held_bytes == 0
    await store.close()


async def turn() -> None:
    """Let timers that are due run."""
    for _ in range(3):
        await asyncio.sleep(0)
