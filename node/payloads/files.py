"""Payloads as files. One law: what is under `payloads/` is whole, verified and on disk; all else may vanish.

::

    payloads/<id>/   card, hashes, data   moved here in one rename, after everything in it was fsynced
    staging/<id>/    card, hashes, data   being received; `hashes` has zeros for chunks that are not known yet
    keys/<id>        the key that data is sealed under; leave `keys/` out of backups, so that erasure reaches them
    erased           log of 33-byte entries: 1 (erased) or 0 (wanted again), payload id

`data` holds sealed chunks in places of equal size (`node.payloads.sealing`). All calls block; `PayloadFiles` has no
state but its path, so it can be used in any thread, and handed to another process.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from ledger.codec import CodecError, Record, decode, encode
from ledger.digest import DIGEST_BYTES, Digest
from ledger.merkle import leaf_hash
from ledger.payload import CHUNK_BYTES, PayloadDescriptor, Verdict
from node.directories import make_directory
from node.payloads import places
from node.payloads.content import is_on_grid, verdict
from node.payloads.durable import fsync, pread, pwrite, typed, write_durably
from node.payloads.erasures import erased_payloads, note
from node.payloads.errors import (
    ChunkMismatchError,
    DamagedPayloadError,
    RootMismatchError,
    StorageError,
    UnknownPayloadError,
)
from node.payloads.proof import chunk_length, hashes_lead_to, require_root
from node.payloads.sealing import KEY_BYTES, PLACE_BYTES, BrokenSealError, new_key

CARD_BYTES_MAX: Final = 512
STAGING_AGE_S_MAX: Final = 7 * 24 * 3600
"""A payload that nobody went on receiving for this long is dropped at the next start."""

_UNKNOWN: Final = bytes(DIGEST_BYTES)


class Card(Record):
    """What a node notes about a payload."""

    payload: PayloadDescriptor
    owner: Annotated[str, Meta(max_length=128)]
    """Validator whose quota it counts against; empty for this node's own."""

    verdict: Verdict
    """Of the content check; meaningless while the payload is staged."""


@dataclass(slots=True)
class Inventory:
    """What a store's directory holds."""

    stored: dict[Digest, Card]
    staged: dict[Digest, Card]
    erased: set[Digest]


@dataclass(slots=True)
class Scan:
    """The chunks of a staged payload that are on disk and true."""

    present: dict[int, bool]
    """Chunk index to `is_on_grid`."""

    verified: bool
    """All chunk hashes are known and lead to the root, so each chunk is verified as it comes."""


class PayloadFiles:
    """The directory of a payload store."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._erasures: Final = path / "erased"

    def open(self) -> Inventory:
        """Create what is missing, drop what a crash or an unfinished erasure left, return what there is.

        Raises:
            StorageError: the directory cannot be used.
        """
        with typed("opening the payload store"):
            for name in ("payloads", "staging", "keys"):
                make_directory(self.path / name, mode=0o700)
            erased = erased_payloads(self._erasures)
            inventory = Inventory(self._cards("payloads"), self._cards("staging"), erased)
            oldest_s = time.time() - STAGING_AGE_S_MAX
            for payload_id in [*inventory.staged]:
                if self._place("staging", payload_id).stat().st_mtime < oldest_s or payload_id in inventory.stored:
                    self._drop("staging", payload_id)
                    del inventory.staged[payload_id]
            for payload_id in erased & inventory.stored.keys():
                self._drop("payloads", payload_id)
                del inventory.stored[payload_id]
            self._drop_stray_keys(inventory)
        return inventory

    def begin(self, card: Card, hashes: bytes) -> Scan:
        """Make room for a payload, or go on with one; return which of its chunks are there.

        Args:
            card: what to note; of a payload already staged the first card stays.
            hashes: its chunk hashes, 32 bytes each, or nothing.

        Raises:
            RootMismatchError: the hashes do not lead to the root.
            StorageError: the disk refuses.
        """
        payload = card.payload
        if hashes:
            require_root(payload, hashes)
        place = self._place("staging", payload.id)
        with typed("staging a payload"):
            if not (place / "card").exists():
                self._begin_new(card, place)
            if hashes:
                (place / "hashes").write_bytes(hashes)
            known = (place / "hashes").read_bytes()
            return Scan(self._scan(payload, place, known), hashes_lead_to(payload, known))

    def write(
        self, payload: PayloadDescriptor, index: int, chunk: bytes, *, verify: bool, hashed: Digest | None = None
    ) -> bool:
        """Write a chunk of a staged payload; return whether it `is_on_grid`. Not fsynced before `finish`.

        It is hashed unless its hash was just computed.

        Raises:
            ChunkMismatchError: wrong length; with `verify`, wrong hash.
            UnknownPayloadError: not staged.
            StorageError: the disk refuses.
        """
        expected = chunk_length(payload, index)
        if len(chunk) != expected:
            reason = f"{expected} bytes were expected, {len(chunk)} came"
            raise ChunkMismatchError(payload_id=payload.id, index=index, reason=reason)
        found = hashed or leaf_hash(chunk)
        place = self._place("staging", payload.id)
        key = self._key(payload.id)
        with self._wanted(payload.id, "staged", "writing a chunk"):
            if verify and pread(place / "hashes", DIGEST_BYTES, index * DIGEST_BYTES) != found:
                raise ChunkMismatchError(payload_id=payload.id, index=index, reason="its hash is another one")
            places.write_chunk(place / "data", key, payload.id, index, chunk)
            if not verify:
                pwrite(place / "hashes", found, index * DIGEST_BYTES)
        return is_on_grid(index, chunk)

    def write_hashed(self, payload: PayloadDescriptor, content: memoryview) -> dict[int, bool]:
        """Write all chunks of a staged payload whose hashes are on disk and were made from `content`.

        Returns:
            Chunk index to `is_on_grid`.

        Raises:
            UnknownPayloadError: not staged.
            StorageError: the disk refuses.
        """
        data = self._place("staging", payload.id) / "data"
        key = self._key(payload.id)
        on_grid = {}
        with self._wanted(payload.id, "staged", "writing a payload"):
            for index in range(payload.chunk_count):
                start = index * CHUNK_BYTES
                chunk = content[start : start + chunk_length(payload, index)]
                places.write_chunk(data, key, payload.id, index, chunk)
                on_grid[index] = is_on_grid(index, chunk)
        return on_grid

    def finish(self, card: Card, on_grid: list[bool]) -> Card:
        """Check the root, put everything on disk, move it to `payloads/`; return the final card.

        Raises:
            RootMismatchError: the chunks are not the payload's; what was staged is dropped.
            StorageError: the disk refuses; nothing is lost, finish again.
        """
        payload = card.payload
        place = self._place("staging", payload.id)
        final = Card(payload, card.owner, verdict(payload, on_grid))
        with typed("finishing a payload"):
            try:
                require_root(payload, (place / "hashes").read_bytes())
            except RootMismatchError:
                self._drop("staging", payload.id)
                raise
            write_durably(place / "card", encode(final))
            for path in (place / "hashes", place / "data", place, self._key_path(payload.id), self.path / "keys"):
                fsync(path)
            place.rename(self._place("payloads", payload.id))
            fsync(self.path / "payloads")
        return final

    def read_chunk(self, payload: PayloadDescriptor, index: int, *, staged: bool = False) -> bytes:
        """Return a chunk.

        Raises:
            UnknownPayloadError: the payload is not here.
            DamagedPayloadError: what is on disk is not what was written.
            StorageError: the disk refuses.
        """
        data, key = self._place("staging" if staged else "payloads", payload.id) / "data", self._key(payload.id)
        with self._opening(payload.id, index):
            return places.read_chunk(data, key, payload.id, index, chunk_length(payload, index))

    def read_into(
        self,
        payload: PayloadDescriptor,
        offset: int,
        target: memoryview,
        at_hand: Callable[[Digest, int], bytes | None] = lambda *_: None,
    ) -> None:
        """Fill `target` with bytes of a stored payload from `offset` on, which it must have; errors as `read_chunk`.

        Args:
            payload: whose bytes.
            offset: of the first one.
            target: to be filled.
            at_hand: gives chunks that need not be read.
        """
        end = offset + len(target)
        assert end <= payload.size, f"bytes up to {end} of a payload of {payload.size}"
        data, key = self._place("payloads", payload.id) / "data", self._key(payload.id)
        for index in range(offset // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            start, length = index * CHUNK_BYTES, chunk_length(payload, index)
            first, last = max(start, offset), min(start + length, end)
            part, chunk = target[first - offset : last - offset], at_hand(payload.id, index)
            if chunk is not None or len(part) < length:
                whole = memoryview(self.read_chunk(payload, index) if chunk is None else chunk)
                part[:] = whole[first - start : last - start]
                continue
            with self._opening(payload.id, index):
                places.read_chunk_into(data, key, payload.id, index, part)

    def read(self, payload: PayloadDescriptor, offset: int, length: int) -> bytes:
        """Return bytes of a stored payload, fewer at its end; errors as `read_chunk`."""
        end = min(offset + length, payload.size)
        if offset >= end:
            return b""
        first, last = offset // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
        parts = [memoryview(self.read_chunk(payload, index)) for index in range(first, last + 1)]
        parts[-1] = parts[-1][: end - last * CHUNK_BYTES]
        parts[0] = parts[0][offset - first * CHUNK_BYTES :]
        return b"".join(parts)

    def hashes(self, payload_id: Digest) -> bytes:
        """Return the chunk hashes of a stored payload, 32 bytes each; errors as `read_chunk`."""
        try:
            return (self._place("payloads", payload_id) / "hashes").read_bytes()
        except FileNotFoundError as error:
            raise UnknownPayloadError(payload_id=payload_id, wanted="stored") from error
        except OSError as error:
            raise StorageError(doing="reading chunk hashes", error=error) from error

    def erase(self, payload_id: Digest) -> None:
        """Note the erasure, then destroy the key, then the bytes; all durably. Nothing there is no error."""
        with typed("erasing a payload"):
            note(self._erasures, payload_id, erased=True)
            self._drop("payloads", payload_id)
            self._drop("staging", payload_id)

    def want_again(self, payload_id: Digest) -> None:
        """Take back that a payload was erased."""
        with typed("noting that a payload is wanted again"):
            note(self._erasures, payload_id, erased=False)

    def is_staged(self, payload_id: Digest) -> bool:
        """Tell whether a payload is being received, as far as the disk knows."""
        return self._place("staging", payload_id).exists()

    def discard(self, payload_id: Digest) -> None:
        """Drop a staged payload."""
        with typed("discarding a staged payload"):
            self._drop("staging", payload_id)

    @contextmanager
    def _opening(self, payload_id: Digest, index: int) -> Iterator[None]:
        try:
            with self._wanted(payload_id, "stored", "reading a chunk"):
                yield
        except BrokenSealError as error:
            raise DamagedPayloadError(payload_id=payload_id, what=f"chunk {index}") from error

    @contextmanager
    def _wanted(self, payload_id: Digest, wanted: str, doing: str) -> Iterator[None]:
        """Turn what the operating system refuses into typed errors: a file that is not there means no such payload."""
        try:
            with typed(doing):
                yield
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise UnknownPayloadError(payload_id=payload_id, wanted=wanted) from error
            raise

    def _place(self, room: str, payload_id: Digest) -> Path:
        return self.path / room / payload_id.hex()

    def _cards(self, room: str) -> dict[Digest, Card]:
        cards: dict[Digest, Card] = {}
        for place in sorted((self.path / room).iterdir()):
            card = _read_card(place / "card")
            if card is None or card.payload.id.hex() != place.name or not self._has_key(place.name):
                shutil.rmtree(place)  # a crash came between its first files, or in the middle of its erasure
                continue
            cards[card.payload.id] = card
        return cards

    def _begin_new(self, card: Card, place: Path) -> None:
        key = self._key_path(card.payload.id)
        try:
            key.write_bytes(new_key())
            place.mkdir(mode=0o700, exist_ok=True)
            (place / "data").touch(mode=0o600)
            (place / "hashes").write_bytes(_UNKNOWN * card.payload.chunk_count)
            (place / "card").write_bytes(encode(card))
        except OSError:
            shutil.rmtree(place, ignore_errors=True)
            key.unlink(missing_ok=True)
            raise

    def _scan(self, payload: PayloadDescriptor, place: Path, known: bytes) -> dict[int, bool]:
        present: dict[int, bool] = {}
        held = (place / "data").stat().st_size
        for index in range(payload.chunk_count):
            expected = known[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
            if expected == _UNKNOWN or index * PLACE_BYTES >= held:
                continue
            with suppress(DamagedPayloadError):
                chunk = self.read_chunk(payload, index, staged=True)
                if leaf_hash(chunk) == expected:
                    present[index] = is_on_grid(index, chunk)
        return present

    def _key_path(self, payload_id: Digest) -> Path:
        return self.path / "keys" / payload_id.hex()

    def _has_key(self, name: str) -> bool:
        path = self.path / "keys" / name
        return path.exists() and path.stat().st_size == KEY_BYTES

    def _key(self, payload_id: Digest) -> bytes:
        try:
            key = self._key_path(payload_id).read_bytes()
        except FileNotFoundError as error:
            raise UnknownPayloadError(payload_id=payload_id, wanted="kept") from error
        except OSError as error:
            raise StorageError(doing="reading a payload's key", error=error) from error
        if len(key) != KEY_BYTES:
            raise DamagedPayloadError(payload_id=payload_id, what="its key")
        return key

    def _drop(self, room: str, payload_id: Digest) -> None:
        """Destroy key and bytes of what is in `room`; the key of a payload that is also elsewhere stays."""
        place, other = self._place(room, payload_id), "staging" if room == "payloads" else "payloads"
        if not place.exists():
            return
        if not self._place(other, payload_id).exists():
            self._key_path(payload_id).unlink(missing_ok=True)
            fsync(self.path / "keys")
        shutil.rmtree(place)
        fsync(place.parent)

    def _drop_stray_keys(self, inventory: Inventory) -> None:
        wanted = {payload_id.hex() for payload_id in inventory.stored.keys() | inventory.staged.keys()}
        for path in (self.path / "keys").iterdir():
            if path.name not in wanted:
                path.unlink()


def _read_card(path: Path) -> Card | None:
    try:
        return decode(path.read_bytes(), Card, bytes_max=CARD_BYTES_MAX)
    except (CodecError, FileNotFoundError):
        return None
