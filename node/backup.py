"""Copies of a node's data directory. One law: a copy knows that it is one, and signs nothing before it has looked on.

A copy may lack votes that the node cast after it was made, so whoever starts from it must observe first
(`node.observation`). It says so itself: nobody has to remember. A backup is written beside its place and moved there
when everything in it is on the disk.

What is left out, unless asked for, are payloads: they are sealed under keys that must not outlive an erasure, and the
other validators have them. A restored node fetches what it needs.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.digest import Digest
from node.observation import COPIED_KEY
from node.payloads.durable import fsync
from node.store import ChainReader, CorruptStoreError, Store
from node.store.database import DATABASE_NAME, open_for_reading, open_for_writing, translated
from node.tokens import FILE_NAME as TOKENS_NAME

PAYLOADS_NAME: Final = "payloads"
_ROOMS: Final = ("payloads", "keys")
_PARTIAL: Final = ".partial"


class BackupError(Exception):
    """A backup cannot be made or used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds."""

    height: int
    block_id: Digest | None
    """Of the last block; None before the first."""

    payloads: int
    size_bytes: int


def back_up(data_dir: Path, target: Path, *, payloads: bool) -> Copied:
    """Copy a data directory, whether its node runs or not, to `target`, which must not exist.

    Args:
        data_dir: of the node.
        target: a data directory of its own afterwards.
        payloads: with the updates and models, and the keys that open them.

    Raises:
        BackupError: the target exists.
        StoreError: the directory cannot be read, or what was read is not whole.
        OSError: the disk refuses.
    """
    with _placed(target) as fresh:
        _copy_database(data_dir, fresh)
        if (data_dir / TOKENS_NAME).exists():
            shutil.copyfile(data_dir / TOKENS_NAME, fresh / TOKENS_NAME)
        if payloads:
            _copy_payloads(data_dir / PAYLOADS_NAME, fresh / PAYLOADS_NAME)
    return described(target)


def restore(copy: Path | None, data_dir: Path, chain_id: Digest) -> Copied | None:
    """Make a data directory of a copy, or an empty one for the peers to fill; its node will observe first.

    Args:
        copy: a data directory made by `back_up`, or any copy of one; None to begin with nothing.
        data_dir: where it goes; must not exist.
        chain_id: that it must hold.

    Returns:
        What it holds; None when it is empty.

    Raises:
        BackupError: the data directory exists.
        StoreError: the copy cannot be read, is damaged, or holds another chain.
        OSError: the disk refuses.
    """
    if copy is not None:
        with ChainReader.open_readonly(copy) as reader:
            reader.require_chain(chain_id)
    with _placed(data_dir) as fresh:
        if copy is None:
            with Store.open(fresh, chain_id) as store:
                store.set_meta(COPIED_KEY, b"\x01")
        else:
            _copy_database(copy, fresh)
            with suppress(FileNotFoundError):
                shutil.copyfile(copy / TOKENS_NAME, fresh / TOKENS_NAME)
            if (copy / PAYLOADS_NAME).is_dir():
                _copy_payloads(copy / PAYLOADS_NAME, fresh / PAYLOADS_NAME)
    return None if copy is None else described(data_dir)


def described(directory: Path) -> Copied:
    """Say what a data directory holds.

    Raises:
        StoreError: it cannot be read.
    """
    with ChainReader.open_readonly(directory) as reader:
        tip = reader.tip()
    files = [path for path in directory.rglob("*") if path.is_file()]
    room = directory / PAYLOADS_NAME / "payloads"
    return Copied(
        height=0 if tip is None else tip.height,
        block_id=None if tip is None else tip.block_id,
        payloads=len(list(room.iterdir())) if room.is_dir() else 0,
        size_bytes=sum(path.stat().st_size for path in files),
    )


@contextmanager
def _placed(target: Path) -> Iterator[Path]:
    """Give a directory to fill that takes its place once all of it is on the disk.

    Raises:
        BackupError: there is something already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} exists: nothing is overwritten; move it away, or name another place")
    fresh = target.with_name(target.name + _PARTIAL)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    try:
        yield fresh
        for path in sorted(fresh.rglob("*"), reverse=True):
            path.chmod(0o700 if path.is_dir() else 0o600)
            fsync(path)
        fsync(fresh)
        if target.exists():
            target.rmdir()
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    fsync(target.parent)


def _copy_database(source: Path, fresh: Path) -> None:
    """Copy the database as it is in one moment, while its node may go on writing, and check that it is whole."""
    path = fresh / DATABASE_NAME
    with closing(open_for_reading(source)) as reading, translated(path), closing(sqlite3.connect(path)) as copy:
        reading.backup(copy, pages=-1)
        found = [str(row[0]) for row in copy.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise CorruptStoreError(source / DATABASE_NAME, found[0])
    _mark(fresh)


def _mark(fresh: Path) -> None:
    """Have the node that starts from this directory observe first."""
    path = fresh / DATABASE_NAME
    with closing(open_for_writing(fresh)) as copy, translated(path):
        copy.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (COPIED_KEY, b"\x01"))
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it


def _copy_payloads(source: Path, fresh: Path) -> None:
    """Copy what is whole; what is erased meanwhile is left out, and the log of erasures comes last."""
    for room in _ROOMS:
        (fresh / room).mkdir(parents=True)
    for place in sorted((source / "payloads").iterdir()):
        try:
            shutil.copyfile(source / "keys" / place.name, fresh / "keys" / place.name)
            shutil.copytree(place, fresh / "payloads" / place.name)
        except (FileNotFoundError, shutil.Error):
            shutil.rmtree(fresh / "payloads" / place.name, ignore_errors=True)
            (fresh / "keys" / place.name).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        shutil.copyfile(source / "erased", fresh / "erased")


def is_inside(path: Path, directory: Path) -> bool:
    """Tell whether a path lies in a directory, whatever links lead there."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))
