"""A power cut inside any write of the store: afterwards there is what was before it or what was to be, never a mixture.

What SQLite had not synced may be on the disk in any part, sector by sector: that is what is drawn here, for the log of
a commit and for the database file of a checkpoint. The store that is opened on it is the real one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic

import pytest

from ledger.block import CertifiedBlock
from ledger.digest import Digest
from ledger.execution import Execution
from ledger.fields import Height
from node.store import CorruptStoreError, Store
from node.store.database import transaction
from tests.node.notebook import CHAIN, NotebookChain

SECTOR_BYTES = 512
LOG_HEADER_BYTES = 32
CHECKPOINT_PAGES = 12
"""So few that a checkpoint comes every few writes; SQLite's own number is 1,000."""

SOAK_MINUTES = float(os.environ.get("FOEDUS_SOAK_MINUTES", "6")) / 6


@dataclass(frozen=True, slots=True)
class Memory:
    """What a store remembers."""

    height: int
    root: Digest
    safety: tuple[bytes, ...]

    @classmethod
    def of(cls, store: Store) -> Memory:
        """Read it back."""
        tip = store.tip()
        height = 0 if tip is None else tip.height
        return cls(height, store.load_state().root, tuple(store.safety(Height(height + 1))))


@dataclass(frozen=True, slots=True)
class Files:
    """The bytes on the disk."""

    database: bytes
    log: bytes

    @classmethod
    def of(cls, directory: Path) -> Files:
        """Read them."""
        return cls(*((directory / name).read_bytes() for name in ("chain.sqlite3", "chain.sqlite3-wal")))

    def write(self, directory: Path) -> None:
        """Put them into a directory of their own."""
        directory.mkdir(exist_ok=True)
        for path in directory.iterdir():
            path.unlink()
        (directory / "chain.sqlite3").write_bytes(self.database)
        (directory / "chain.sqlite3-wal").write_bytes(self.log)


def torn(before: bytes, after: bytes, dice: Random) -> bytes:
    """Return a file of which an unsynced write has reached the disk in part."""
    length = max(len(before), dice.randrange(len(after) + 1)) if len(after) > len(before) else len(after)
    share = dice.choice((0.05, 0.5, 0.95))
    mixed = bytearray(before.ljust(length, b"\0")[:length])
    for start in range(0, length, SECTOR_BYTES):
        if dice.random() < share:
            mixed[start : start + SECTOR_BYTES] = after[start : start + SECTOR_BYTES][: length - start]
    return bytes(mixed)


def torn_log(before: bytes, after: bytes, dice: Random) -> bytes:
    """As `torn`, of a log: when SQLite begins it anew, it syncs the new header before it writes anything behind it."""
    if before[:LOG_HEADER_BYTES] == after[:LOG_HEADER_BYTES]:
        return torn(before, after, dice)
    if dice.random() < 0.2:
        return before
    header = after[:LOG_HEADER_BYTES]
    return header + torn(header + before[LOG_HEADER_BYTES:], after, dice)[LOG_HEADER_BYTES:]


def cut(directory: Path, steps: int, points: int, dice: Random) -> int:
    """Write `steps` times, cut `points` times inside each; return how often all of a write survived."""
    chain, survived = NotebookChain(), 0
    with Store.open(directory / "store", CHAIN) as store:
        store._writer.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        store.plant(chain.genesis_state)
        for step in range(steps):
            files, memory = Files.of(directory / "store"), Memory.of(store)
            _write(store, chain, step, dice)
            now, after = Files.of(directory / "store"), Memory.of(store)
            for _ in range(points):
                if now.database != files.database and dice.random() < 0.5:
                    left, allowed = Files(torn(files.database, now.database, dice), now.log), {after}
                else:
                    left, allowed = Files(files.database, torn_log(files.log, now.log, dice)), {memory, after}
                left.write(directory / "copy")
                with Store.open(directory / "copy", CHAIN) as restarted:
                    found = Memory.of(restarted)
                assert found in allowed, f"step {step}: {found} is neither {memory} nor {after}"
                survived += found == after
    return survived


def _write(store: Store, chain: NotebookChain, step: int, dice: Random) -> None:
    height = Height(chain.height + 1)
    if dice.random() < 0.4:
        store.append(*chain.next_block((f"note-{step}", "x" * dice.randrange(3_000))))
    else:
        store.persist_safety(height, [dice.randbytes(dice.randrange(1, 2_000))])


def append_in_two(store: Store, certified: CertifiedBlock, execution: Execution) -> None:
    """What `Store.append` must not be."""
    with transaction(store._writer):
        store._write_block(certified)
    with transaction(store._writer):
        store._write_receipts(execution, certified.block.height)
        store._write_state(execution.changes)


def test_a_power_cut_leaves_what_was_or_what_was_to_be(tmp_path: Path) -> None:
    survived = cut(tmp_path, steps=14, points=5, dice=Random(1))

    assert 0 < survived < 70, "some writes are lost and some are not: the cuts are inside them"


def test_a_block_that_is_written_in_two_transactions_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As half a block, or as a database that a checkpoint between the two has left behind its log."""
    monkeypatch.setattr(Store, "append", append_in_two)

    with pytest.raises((AssertionError, CorruptStoreError), match=r"is neither|is damaged"):
        cut(tmp_path, steps=15, points=6, dice=Random(1))


@pytest.mark.soak
def test_power_cuts_for_as_long_as_there_is_time(tmp_path: Path) -> None:
    until = monotonic() + 30 * SOAK_MINUTES
    for seed in count(2):
        directory = tmp_path / str(seed)
        directory.mkdir()
        cut(directory, steps=40, points=10, dice=Random(seed))
        if monotonic() > until:
            return
