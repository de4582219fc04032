"""The payload store on real files: what it keeps, refuses and survives."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.digest import Digest
from ledger.merkle import leaf_hash
from ledger.payload import CHUNK_BYTES, SALT_BYTES, PayloadDescriptor, chunks_of, describe
from node.payloads import (
    ChunkMismatchError,
    DamagedPayloadError,
    IncompletePayloadError,
    PayloadFiles,
    PayloadStore,
    QuotaError,
    RootMismatchError,
    StorageError,
    UnknownPayloadError,
)
from node.payloads.quota import needed_bytes
from node.payloads.sealing import PLACE_BYTES, ROOM_BYTES, BrokenSealError, new_key, seal, unseal, unseal_into
from node.payloads.store import CHUNKS_REMEMBERED_MAX
from tests.node.depots import make_payload

QUOTA = 64 << 20
PAYLOAD = make_payload(2.5)
DESCRIPTOR = describe(PAYLOAD)
ID = DESCRIPTOR.id
CHUNKS = list(chunks_of(PAYLOAD))
HASHES = b"".join(leaf_hash(chunk) for chunk in CHUNKS)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[PayloadStore]:
    opened = await PayloadStore.open(tmp_path, bytes_max=QUOTA)
    yield opened
    await opened.close()


async def reopened(store: PayloadStore) -> PayloadStore:
    await store.close()
    return await PayloadStore.open(store.files.path, bytes_max=QUOTA)


async def test_what_is_added_can_be_read_in_any_piece(store: PayloadStore) -> None:
    assert await store.add(PAYLOAD) == DESCRIPTOR

    assert store.has(ID)
    assert await store.read(ID, 0, len(PAYLOAD)) == PAYLOAD
    assert await store.read(ID, CHUNK_BYTES - 5, 10) == PAYLOAD[CHUNK_BYTES - 5 : CHUNK_BYTES + 5]
    assert await store.read(ID, len(PAYLOAD) - 3, 100) == PAYLOAD[-3:]
    assert [await store.read_chunk(ID, index) for index in range(4)] == [*CHUNKS, b""]
    assert await store.hashes(ID) == HASHES


async def test_a_payload_hashed_in_memory_is_kept_as_any_other(store: PayloadStore) -> None:
    await store.add_hashed(DESCRIPTOR, memoryview(PAYLOAD), HASHES)
    await store.add_hashed(DESCRIPTOR, memoryview(PAYLOAD), HASHES)

    again = await reopened(store)
    assert again.has(ID)
    assert await again.read(ID, 0, len(PAYLOAD)) == PAYLOAD
    await again.close()


async def test_hashes_of_another_payload_keep_nothing(store: PayloadStore) -> None:
    with pytest.raises(RootMismatchError):
        await store.add_hashed(DESCRIPTOR, memoryview(PAYLOAD), HASHES[::-1])

    assert not store.has(ID)


@pytest.mark.parametrize("offset, length", [(0, len(PAYLOAD)), (32, len(PAYLOAD) - 32), (CHUNK_BYTES - 3, 7), (5, 0)])
async def test_a_payload_is_read_into_memory_from_any_place(store: PayloadStore, offset: int, length: int) -> None:
    await store.add(PAYLOAD)
    target = bytearray(length)

    store.files.read_into(DESCRIPTOR, offset, memoryview(target))

    assert target == PAYLOAD[offset : offset + length]


async def test_a_chunk_in_memory_does_not_outlive_its_payload(store: PayloadStore) -> None:
    await store.add(PAYLOAD)
    assert await store.read_chunk(ID, 0) == CHUNKS[0]

    await store.delete(ID)
    with pytest.raises(UnknownPayloadError):
        await store.read_chunk(ID, 0)
    assert not store._reads


async def test_a_chunk_that_could_not_be_read_is_read_again(store: PayloadStore) -> None:
    await store.add(PAYLOAD)
    data = store.files.path / "payloads" / ID.hex() / "data"
    kept = data.read_bytes()
    data.write_bytes(kept[:-40])
    with pytest.raises(DamagedPayloadError):
        await store.read_chunk(ID, 2)

    data.write_bytes(kept)
    assert await store.read_chunk(ID, 2) == CHUNKS[2]


async def test_chunks_may_come_in_any_order_and_twice(store: PayloadStore) -> None:
    await store.stage(DESCRIPTOR)
    for index in (2, 0, 2, 1):
        await store.write_chunk(ID, index, CHUNKS[index])
    await store.finish(ID)

    assert await store.read(ID, 0, len(PAYLOAD)) == PAYLOAD


async def test_a_payload_is_not_had_before_its_last_chunk_is_finished(store: PayloadStore) -> None:
    await store.stage(DESCRIPTOR)
    await store.write_chunk(ID, 0, CHUNKS[0])

    assert not store.has(ID)
    assert store.missing_chunks(ID) == [1, 2]
    with pytest.raises(IncompletePayloadError, match="2 chunks"):
        await store.finish(ID)
    with pytest.raises(UnknownPayloadError):
        await store.read_chunk(ID, 0)


async def test_with_hashes_a_wrong_chunk_is_refused_as_it_comes(store: PayloadStore) -> None:
    await store.stage(DESCRIPTOR, hashes=HASHES)

    with pytest.raises(ChunkMismatchError):
        await store.write_chunk(ID, 0, CHUNKS[1])
    assert store.missing_chunks(ID) == [0, 1, 2]


async def test_without_hashes_a_wrong_chunk_is_found_at_the_end(store: PayloadStore) -> None:
    await store.stage(DESCRIPTOR)
    for index, chunk in enumerate([CHUNKS[1], CHUNKS[0], CHUNKS[2]]):
        await store.write_chunk(ID, index, chunk)

    with pytest.raises(RootMismatchError):
        await store.finish(ID)
    assert not store.has(ID)
    assert store.usage().used_bytes == 0


@pytest.mark.parametrize("wrong", [HASHES[:-32], HASHES + bytes(32), bytes(len(HASHES)), HASHES[32:] + HASHES[:32]])
async def test_hashes_that_do_not_lead_to_the_root_are_refused(store: PayloadStore, wrong: bytes) -> None:
    with pytest.raises(RootMismatchError):
        await store.stage(DESCRIPTOR, hashes=wrong)
    assert store.usage().staged == 0


@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES - 1])
async def test_a_chunk_of_another_length_is_refused(store: PayloadStore, length: int) -> None:
    await store.stage(DESCRIPTOR)

    with pytest.raises(ChunkMismatchError, match=f"{length} came"):
        await store.write_chunk(ID, 0, bytes(length))
    with pytest.raises(ChunkMismatchError):
        await store.write_chunk(ID, 3, CHUNKS[0])
    with pytest.raises(ChunkMismatchError):
        await store.write_chunk(ID, -1, CHUNKS[0])


@pytest.mark.parametrize(
    "body, verdict",
    [
        (b"\xff\x1f\x01\xe0", "ok"),  # 8191, -8191
        (b"\x00\x20", "out_of_range"),  # 8192
        (b"\x00\xe0", "out_of_range"),  # -8192
        (b"\x00\x80", "out_of_range"),  # -32768, whose absolute value is no int16
        (bytes(2 * CHUNK_BYTES) + b"\x00\x20", "out_of_range"),
        (b"", "malformed"),
        (b"\x00\x20\x00", "malformed"),
    ],
)
async def test_the_verdict_depends_on_the_body_alone(store: PayloadStore, body: bytes, verdict: str) -> None:
    for salt in (bytes(SALT_BYTES), b"\xff" * SALT_BYTES):
        descriptor = await store.add(salt + body)

        assert store.verdict(descriptor.id) == verdict


async def test_a_stored_payload_is_there_after_a_restart(store: PayloadStore) -> None:
    await store.add(PAYLOAD, owner="somebody")

    again = await reopened(store)

    assert again.stored() == store.stored()
    assert again.verdict(ID) == "ok"
    assert await again.read(ID, 0, len(PAYLOAD)) == PAYLOAD


@pytest.mark.parametrize("hashes", [HASHES, b""], ids=["with hashes", "without"])
async def test_an_interrupted_upload_goes_on_where_it_was(store: PayloadStore, hashes: bytes) -> None:
    await store.stage(DESCRIPTOR, hashes=hashes)
    await store.write_chunk(ID, 1, CHUNKS[1])

    again = await reopened(store)
    with pytest.raises(UnknownPayloadError):
        again.missing_chunks(ID)
    await again.stage(DESCRIPTOR)

    assert again.missing_chunks(ID) == [0, 2]
    await again.write_chunk(ID, 0, CHUNKS[0])
    await again.write_chunk(ID, 2, CHUNKS[2])
    assert await again.finish(ID) == "ok"


async def test_a_chunk_that_a_power_cut_tore_counts_as_missing(store: PayloadStore) -> None:
    await store.stage(DESCRIPTOR)
    for index, chunk in enumerate(CHUNKS):
        await store.write_chunk(ID, index, chunk)
    data = store.files.path / "staging" / ID.hex() / "data"
    with data.open("r+b") as file:
        file.seek(PLACE_BYTES + 5000)
        file.write(bytes(4096))

    again = await reopened(store)
    await again.stage(DESCRIPTOR)

    assert again.missing_chunks(ID) == [1]


async def test_a_chunk_that_was_taken_unseen_is_dropped_when_the_hashes_come(store: PayloadStore) -> None:
    await store.stage(DESCRIPTOR)
    await store.write_chunk(ID, 0, CHUNKS[1])
    await store.write_chunk(ID, 1, CHUNKS[1])

    await store.stage(DESCRIPTOR, hashes=HASHES)

    assert store.missing_chunks(ID) == [0, 2]


WRITER = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[2])
from node.payloads import PayloadStore
from tests.node.depots import make_payload

async def main():
    store = await PayloadStore.open(pathlib.Path(sys.argv[1]), bytes_max=1 << 30)
    for seed in range(10_000):
        descriptor = await store.add(make_payload(0.4, seed=seed))
        print(descriptor.id.hex(), flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 7])
async def test_what_was_acknowledged_survives_sigkill_at_any_moment(tmp_path: Path, after: int) -> None:
    root = Path(__file__).parents[2]
    writer = subprocess.Popen(  # noqa: ASYNC220 - it is killed a moment later
        [sys.executable, "-c", WRITER, str(tmp_path), str(root)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(after)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()

    store = await PayloadStore.open(tmp_path, bytes_max=1 << 30)
    for name in acknowledged:
        payload_id = Digest(bytes.fromhex(name))
        content = await store.read(payload_id, 0, 1 << 20)
        assert describe(content).id == payload_id
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {
        card.payload.id.hex() for card in [*store.stored(), *store.staged()]
    }
    await store.close()


async def test_nothing_of_a_payload_is_readable_on_disk(store: PayloadStore) -> None:
    await store.add(PAYLOAD)
    data = (store.files.path / "payloads" / ID.hex() / "data").read_bytes()

    assert PAYLOAD[100:132] not in data
    assert PAYLOAD[:32] not in data


async def test_erasing_destroys_key_and_bytes_and_holds_over_a_restart(store: PayloadStore) -> None:
    await store.add(PAYLOAD)

    await store.delete(ID)

    assert not store.has(ID)
    assert store.is_erased(ID)
    assert list((store.files.path / "keys").iterdir()) == []
    assert list((store.files.path / "payloads").iterdir()) == []
    again = await reopened(store)
    assert again.is_erased(ID)
    assert not again.has(ID)


async def test_an_erasure_that_a_crash_interrupted_is_completed_at_the_next_start(store: PayloadStore) -> None:
    from node.payloads.erasures import note

    await store.add(PAYLOAD)
    note(store.files.path / "erased", ID, erased=True)

    again = await reopened(store)

    assert not again.has(ID)
    assert list((store.files.path / "keys").iterdir()) == []


async def test_what_was_erased_may_be_wanted_again(store: PayloadStore) -> None:
    await store.add(PAYLOAD)
    await store.delete(ID)
    await store.add(PAYLOAD)

    again = await reopened(store)

    assert again.has(ID)
    assert not again.is_erased(ID)


async def test_the_quota_counts_stored_and_reserved_bytes(tmp_path: Path) -> None:
    store = await PayloadStore.open(tmp_path, bytes_max=2 * needed_bytes(DESCRIPTOR))
    await store.add(PAYLOAD)
    await store.stage(describe(make_payload(2.5, seed=2)))

    with pytest.raises(QuotaError) as caught:
        await store.stage(describe(make_payload(0.1, seed=3)))
    assert caught.value.free == 0
    await store.delete(ID)
    await store.stage(describe(make_payload(0.1, seed=3)))
    await store.close()


async def test_one_owner_cannot_use_up_the_space_of_others(tmp_path: Path) -> None:
    store = await PayloadStore.open(tmp_path, bytes_max=QUOTA, owner_bytes_max=3 << 20)
    await store.add(PAYLOAD, owner="greedy")

    with pytest.raises(QuotaError, match="greedy"):
        await store.add(make_payload(1, seed=2), owner="greedy")
    await store.add(make_payload(1, seed=2), owner="modest")
    await store.close()


async def test_a_disk_that_refuses_costs_the_request_not_the_store(
    store: PayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system call itself fails, as on a full disk; see the tmpfs test for a real one."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    await store.stage(DESCRIPTOR)
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="No space left") as caught:
            await store.write_chunk(ID, 0, CHUNKS[0])
    assert caught.value.errno == errno.ENOSPC

    for index, chunk in enumerate(CHUNKS):
        await store.write_chunk(ID, index, chunk)
    assert await store.finish(ID) == "ok"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a tmpfs needs root")
async def test_a_disk_that_is_really_full_is_a_typed_error(tmp_path: Path) -> None:
    mounted = subprocess.run(  # noqa: ASYNC221 - takes a millisecond
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=False
    )
    if mounted.returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        store = await PayloadStore.open(tmp_path, bytes_max=QUOTA)
        with pytest.raises(StorageError) as caught:
            await store.add(PAYLOAD)
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(StorageError):
            await store.add(make_payload(0.01))
        await store.discard(ID)
        small = await store.add(make_payload(0.01))
        assert store.has(small.id)
        await store.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)  # noqa: ASYNC221 - as above


async def test_a_changed_byte_on_disk_is_found_when_it_is_read(store: PayloadStore) -> None:
    await store.add(PAYLOAD)
    data = store.files.path / "payloads" / ID.hex() / "data"
    content = bytearray(data.read_bytes())
    content[PLACE_BYTES + 5000] ^= 1
    data.write_bytes(content)

    with pytest.raises(DamagedPayloadError, match="chunk 1"):
        await store.read(ID, 0, len(PAYLOAD))
    assert await store.read_chunk(ID, 0) == CHUNKS[0]


async def test_a_stream_is_cut_into_chunks_and_may_break_off(store: PayloadStore) -> None:
    async def stream(content: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(content), 300_000):
            yield content[start : start + 300_000]

    await store.stage(DESCRIPTOR)
    await store.receive(ID, 0, stream(PAYLOAD[: CHUNK_BYTES + 10]))
    assert store.missing_chunks(ID) == [1, 2]
    await store.receive(ID, 1, stream(PAYLOAD[CHUNK_BYTES:]))

    assert await store.finish(ID) == "ok"


async def test_memory_does_not_grow_with_a_payloads_size(store: PayloadStore) -> None:
    size = 48 * CHUNK_BYTES
    chunk = make_payload(1)
    hashes = leaf_hash(chunk) * 48
    from ledger.merkle import root_of_hashes

    descriptor = PayloadDescriptor(size, root_of_hashes([leaf_hash(chunk)] * 48))
    tracemalloc.start()
    await store.stage(descriptor, hashes=hashes)
    for index in range(48):
        await store.write_chunk(descriptor.id, index, chunk)
    await store.finish(descriptor.id)
    for index in range(48):
        await store.read_chunk(descriptor.id, index)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < (6 + CHUNKS_REMEMBERED_MAX) * CHUNK_BYTES


def test_files_need_no_store_to_be_read(tmp_path: Path) -> None:
    """A worker process gets the path alone."""
    import asyncio

    async def fill() -> None:
        store = await PayloadStore.open(tmp_path, bytes_max=QUOTA)
        await store.add(PAYLOAD)
        await store.close()

    asyncio.run(fill())

    assert PayloadFiles(tmp_path).read(DESCRIPTOR, 0, DESCRIPTOR.size) == PAYLOAD


def test_a_sealed_chunk_opens_only_at_its_place_with_its_key() -> None:
    key, other = new_key(), new_key()
    room = memoryview(bytearray(ROOM_BYTES))
    sealed = bytes(seal(key, ID, 3, b"chunk", room))
    target = memoryview(bytearray(5))

    assert b"chunk" not in sealed
    assert unseal(key, ID, 3, room, 5) == b"chunk"
    unseal_into(key, ID, 3, room, target)
    assert bytes(target) == b"chunk"
    for wrong in ((other, ID, 3), (key, DESCRIPTOR.root, 3), (key, ID, 4)):
        with pytest.raises(BrokenSealError):
            unseal(*wrong, room, 5)
        with pytest.raises(BrokenSealError):
            unseal_into(*wrong, room, target)


def test_what_stood_in_the_memory_before_does_not_reach_the_disk() -> None:
    room = memoryview(bytearray(b"secret--" * (ROOM_BYTES // 8)))

    assert b"secret" not in bytes(seal(new_key(), ID, 0, b"chunk", room))


async def test_a_file_system_that_has_only_a_page_cache_keeps_the_same_bytes(
    store: PayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses O_DIRECT; what others wrote past the cache is read there, and the other way round."""
    opened = os.open
    refused: list[int] = []

    def refusing(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            refused.append(flags)
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, mode)

    early = await store.add(make_payload(0.5))
    monkeypatch.setattr(os, "open", refusing)
    assert await store.add(PAYLOAD) == DESCRIPTOR
    assert await store.read(early.id, 0, early.size) == make_payload(0.5)
    monkeypatch.undo()

    assert refused
    assert await store.read(ID, 0, len(PAYLOAD)) == PAYLOAD
