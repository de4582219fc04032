"""A disk that forgets. One law: what was synced survives a power cut, of the rest a beginning, perhaps torn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from ledger.block import BLOCK_BYTES_MAX, CertifiedBlock
from ledger.chain import CertifiedHeader
from ledger.codec import decode, encode
from ledger.digest import DIGEST_BYTES, Digest, digest
from ledger.execution import Execution
from ledger.fields import Height
from ledger.merkle import leaf_hash
from ledger.payload import PayloadDescriptor
from ledger.state_map import StateMap
from node.payloads.content import is_on_grid, verdict
from node.payloads.errors import ChunkMismatchError, UnknownPayloadError
from node.payloads.files import Card, Inventory, PayloadFiles, Scan
from node.payloads.proof import chunk_length, hashes_lead_to, require_root
from node.store import HeaderAhead, Tip

CHECKSUM_BYTES: Final = 8
CERTIFIED_BLOCK_BYTES_MAX: Final = BLOCK_BYTES_MAX + 65_536

Effect = Callable[[str], None]
"""Called before anything reaches the disk; a power cut may come out of it."""


class DamagedDiskError(AssertionError):
    """The disk holds what no power cut leaves."""


@dataclass(slots=True)
class Disk:
    """One file of frames, and payloads."""

    synced: list[bytes] = field(default_factory=list)
    unsynced: list[bytes] = field(default_factory=list)
    payloads: dict[Digest, tuple[Card, list[bytes]]] = field(default_factory=dict)
    """Finished, hence durable: card and chunks."""

    def write(self, body: bytes) -> None:
        """Hand a frame to the cache."""
        self.unsynced.append(_checksum(body) + body)

    def sync(self) -> None:
        """Make what was written durable."""
        self.synced += self.unsynced
        self.unsynced.clear()

    def cut_power(self, dice: Random) -> None:
        """Keep a beginning of what was not synced; the first frame that is lost may be torn."""
        kept = dice.randint(0, len(self.unsynced))
        self.synced += self.unsynced[:kept]
        if kept < len(self.unsynced) and dice.random() < 0.5:
            torn = self.unsynced[kept]
            self.synced.append(torn[: dice.randrange(len(torn))])
        self.unsynced.clear()

    def bodies(self) -> list[bytes]:
        """Cut a torn end and return the frames' bodies, as at a start."""
        whole = [frame for frame in self.synced if frame[:CHECKSUM_BYTES] == _checksum(frame[CHECKSUM_BYTES:])]
        if whole != self.synced[: len(whole)] or len(self.synced) - len(whole) > 1:
            raise DamagedDiskError(f"{len(self.synced)} frames, {len(whole)} of them whole, and not the first ones")
        self.synced = whole
        return [frame[CHECKSUM_BYTES:] for frame in whole]


class DiskStore:
    """What `node.store.Store` is for a core: blocks, state, safety records and facts, on a virtual disk."""

    def __init__(self, disk: Disk, effect: Effect, on_safe: Callable[[list[bytes]], None]) -> None:
        """Read back what the disk holds, and count this start; `on_safe` is told of durable safety records."""
        self._disk: Final = disk
        self._effect: Final = effect
        self._on_safe: Final = on_safe
        self.in_batch = False
        """Whether blocks that are appended are not durable at once."""

        self._blocks: list[bytes] = []
        self._state: dict[bytes, bytes] = {}
        self._safety: dict[int, list[bytes]] = {}
        self._facts: dict[str, bytes] = {}
        for body in disk.bodies():
            self._take(msgspec.msgpack.decode(body))
        self.boot_epoch: Final = int.from_bytes(self._facts.get("boot_epoch", b"\0"), "big") + 1
        self._keep("fact", "boot_epoch", self.boot_epoch.to_bytes(8, "big"))

    def plant(self, genesis_state: StateMap) -> None:
        """Keep the state before block 1."""
        if not self._state:
            self._keep("state", list(genesis_state.items()))

    def tip(self) -> Tip | None:
        """Return the last block's height, id and time."""
        certified = self.certified_block(Height(len(self._blocks)))
        if certified is None:
            return None
        return Tip(Height(len(self._blocks)), certified.block.id, certified.block.header.time_ms)

    def load_state(self) -> StateMap:
        """Return the state after the last block."""
        return StateMap.build(self._state.items())

    def append(self, certified: CertifiedBlock, execution: Execution) -> None:
        """Append a block with its effects in one frame."""
        assert certified.block.header.height == len(self._blocks) + 1, "blocks are appended one after the other"
        self._keep("block", encode(certified), list(execution.changes.items()))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Let the blocks that are appended inside become durable together, before anything is signed or at the end."""
        self.in_batch = True
        try:
            yield
        finally:
            self.in_batch = False
        self._sync("batch")

    def header_ahead(self, height: Height) -> CertifiedHeader | None:
        """Return a header of the chain; none is kept ahead of it, since whoever has all blocks gives no snapshot."""
        found = self.certified_block(height)
        return None if found is None else CertifiedHeader(found.block.header, found.certificate)

    def last_ahead(self) -> None:
        """No header is ahead of the chain."""

    def keep_ahead(self, headers: Sequence[HeaderAhead]) -> None:
        """Nobody fetches headers alone."""
        raise AssertionError(f"{len(headers)} headers without blocks, though every block can be had")

    def install(self, certified: CertifiedHeader, state: StateMap) -> None:
        """Nobody takes a snapshot."""
        raise AssertionError(f"{len(state)} facts at {certified.header.height}, though every block can be had")

    def prune(self, below: Height) -> None:
        """Everybody keeps everything."""
        raise AssertionError(f"blocks below {below} are pruned, though no setting says so")

    def persist_safety(self, height: Height, records: Sequence[bytes]) -> None:
        """Keep what consensus is about to say in one frame."""
        self._keep("safety", height, list(records))
        self._on_safe(list(records))

    def safety(self, height: Height) -> list[bytes]:
        """Return the safety records of a height."""
        return list(self._safety.get(height, ()))

    def certified_block(self, height: Height) -> CertifiedBlock | None:
        """Return a block with its commit certificate."""
        if not 1 <= height <= len(self._blocks):
            return None
        return decode(self._blocks[height - 1], CertifiedBlock, bytes_max=CERTIFIED_BLOCK_BYTES_MAX)

    @property
    def blocks_from(self) -> Height:
        """Every block is here."""
        return Height(1)

    def encoded_blocks(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded blocks from a height on."""
        del bytes_max  # no chain of a simulation is that long
        return self._blocks[from_height - 1 : from_height - 1 + limit]

    def encoded_headers(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded headers with certificates from a height on."""
        del bytes_max
        blocks = (self.certified_block(Height(from_height + place)) for place in range(limit))
        return [encode(CertifiedHeader(one.block.header, one.certificate)) for one in blocks if one is not None]

    def meta(self, key: str) -> bytes | None:
        """Return a fact of this node alone."""
        return self._facts.get(key)

    def set_meta(self, key: str, value: bytes) -> None:
        """Keep a fact of this node alone."""
        self._keep("fact", key, value)

    def _keep(self, *parts: object) -> None:
        body = msgspec.msgpack.encode(parts)
        self._effect(f"write {parts[0]}")
        self._disk.write(body)
        if not (self.in_batch and parts[0] == "block"):
            self._sync(str(parts[0]))
        self._take(msgspec.msgpack.decode(body))

    def _sync(self, what: str) -> None:
        if self._disk.unsynced:
            self._effect(f"sync {what}")
            self._disk.sync()

    def _take(self, parts: list[Any]) -> None:
        match parts:
            case ["state", items]:
                self._state = dict(items)
            case ["block", certified, changes]:
                self._blocks.append(certified)
                for key, value in changes:
                    if value is None:
                        del self._state[key]
                    else:
                        self._state[key] = value
                self._safety = {height: kept for height, kept in self._safety.items() if height > len(self._blocks)}
            case ["safety", height, records]:
                self._safety.setdefault(height, []).extend(records)
            case ["fact", key, value]:
                self._facts[key] = value


class DiskFiles(PayloadFiles):
    """`PayloadFiles` without files: what is staged is lost with the process, what is finished stays."""

    def __init__(self, disk: Disk, effect: Effect) -> None:
        super().__init__(Path("nowhere"))
        self._disk: Final = disk
        self._effect: Final = effect
        self._staged: Final[dict[Digest, tuple[list[bytes], list[bytes]]]] = {}
        """Chunk hashes (empty when unknown) and chunks (empty when missing)."""

    def open(self) -> Inventory:
        """Return what there is."""
        return Inventory({name: card for name, (card, _) in self._disk.payloads.items()}, {}, set())

    def begin(self, card: Card, hashes: bytes) -> Scan:
        """Stage a payload."""
        payload = card.payload
        if hashes:
            require_root(payload, hashes)
        empty = [b""] * payload.chunk_count
        known, chunks = self._staged.setdefault(payload.id, (list(empty), list(empty)))
        if hashes:
            known[:] = [hashes[start : start + DIGEST_BYTES] for start in range(0, len(hashes), DIGEST_BYTES)]
        present = {index: is_on_grid(index, chunk) for index, chunk in enumerate(chunks) if chunk}
        return Scan(present, hashes_lead_to(payload, b"".join(known)))

    def write(
        self, payload: PayloadDescriptor, index: int, chunk: bytes, *, verify: bool, hashed: Digest | None = None
    ) -> bool:
        """Write a chunk of a staged payload."""
        found = hashed or leaf_hash(chunk)
        known, chunks = self._of(payload.id)
        if len(chunk) != chunk_length(payload, index) or (verify and known[index] != found):
            raise ChunkMismatchError(payload_id=payload.id, index=index, reason="not the one that was named")
        known[index], chunks[index] = found, bytes(chunk)
        return is_on_grid(index, chunk)

    def write_hashed(self, payload: PayloadDescriptor, content: memoryview) -> dict[int, bool]:
        """Write all chunks of a staged payload whose hashes are known."""
        return {
            index: self.write(payload, index, bytes(content[start : start + chunk_length(payload, index)]), verify=True)
            for index, start in enumerate(range(0, payload.size, 1 << 20))
        }

    def finish(self, card: Card, on_grid: list[bool]) -> Card:
        """Keep a payload for good."""
        known, chunks = self._of(card.payload.id)
        require_root(card.payload, b"".join(known))
        final = Card(card.payload, card.owner, verdict(card.payload, on_grid))
        self._effect("finish payload")
        self._disk.payloads[card.payload.id] = (final, chunks)
        del self._staged[card.payload.id]
        return final

    def read_into(
        self,
        payload: PayloadDescriptor,
        offset: int,
        target: memoryview,
        at_hand: Callable[[Digest, int], bytes | None] = lambda *_: None,  # noqa: ARG002 - as the base
    ) -> None:
        """Fill `target` with bytes of a stored payload."""
        target[:] = self.read(payload, offset, len(target))

    def read_chunk(self, payload: PayloadDescriptor, index: int, *, staged: bool = False) -> bytes:
        """Return a chunk."""
        if staged:
            return self._of(payload.id)[1][index]
        if payload.id not in self._disk.payloads:
            raise UnknownPayloadError(payload_id=payload.id, wanted="stored")
        return self._disk.payloads[payload.id][1][index]

    def hashes(self, payload_id: Digest) -> bytes:
        """Return the chunk hashes of a stored payload."""
        if payload_id not in self._disk.payloads:
            raise UnknownPayloadError(payload_id=payload_id, wanted="stored")
        return b"".join(leaf_hash(chunk) for chunk in self._disk.payloads[payload_id][1])

    def is_staged(self, payload_id: Digest) -> bool:
        """Tell whether a payload is being received."""
        return payload_id in self._staged

    def discard(self, payload_id: Digest) -> None:
        """Drop a staged payload."""
        self._staged.pop(payload_id, None)

    def _of(self, payload_id: Digest) -> tuple[list[bytes], list[bytes]]:
        if payload_id not in self._staged:
            raise UnknownPayloadError(payload_id=payload_id, wanted="staged")
        return self._staged[payload_id]


def _checksum(body: bytes) -> bytes:
    return digest("disk-frame", body)[:CHECKSUM_BYTES]
