"""Copies of a data directory: whole, while the node writes, and never a ground to vote on."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from fl.results import job_of
from fl.state import present, round_of
from genesis.keys import read_key
from genesis.local import LocalPlan
from ledger.digest import digest
from node.backup import BackupError, back_up, restore
from node.config import load_config
from node.node import Node
from node.observation import CannotObserveError
from node.payloads import PayloadStore
from node.store import ChainReader, OtherChainError, StoreError
from node.tls import TransportIdentity
from tests.genesis.consortium import make
from tests.node.consortium import until
from tests.node.running import RunningConsortium, rows, running


def data_of(consortium: RunningConsortium, name: str) -> Path:
    return next(node.data for node in consortium.local.nodes if node.name == name)


async def test_a_copy_made_while_the_node_appends_is_one_moment_of_it(tmp_path: Path) -> None:
    """Copies are made in a thread of their own, block after block."""
    async with running(tmp_path) as consortium:
        data, stopping, copies = data_of(consortium, "cleveland"), threading.Event(), list[Path]()

        def copy_on() -> None:
            while not stopping.is_set():
                copies.append(tmp_path / f"copy-{len(copies)}")
                back_up(data, copies[-1], payloads=True)

        thread = threading.Thread(target=copy_on)
        thread.start()
        for seed in range(3):
            await consortium.over(await consortium.fill_round(rows(seed)))
        stopping.set()
        thread.join()
        node = consortium.nodes["cleveland"]
        heights = set()
        for copy in copies:
            with ChainReader.open_readonly(copy) as reader:
                tip = reader.tip()
                height = 0 if tip is None else tip.height
                heights.add(height)
                if tip is not None:
                    original = node.store.header(tip.height)
                    assert original is not None
                    assert reader.load_state().root == original.state_root
        assert len(heights) > 1
        await holds_what_its_chain_needs(copies[-1])


async def holds_what_its_chain_needs(copy: Path) -> None:
    with ChainReader.open_readonly(copy) as reader:
        state = reader.load_state()
    shelf = await PayloadStore.open(copy / "payloads", bytes_max=1 << 30)
    updates = job_of(state, present(round_of(state, "heart", 1), "the first round")).updates
    assert updates
    for update in updates:
        assert len(await shelf.read(update.payload.id, 0, update.payload.size)) == update.payload.size
    await shelf.close()


def test_without_being_asked_a_copy_holds_no_payload_and_no_key_of_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    back_up_of_nothing(data)
    (data / "payloads" / "keys").mkdir(parents=True)
    (data / "payloads" / "keys" / "00").write_bytes(b"secret")
    back_up(data, tmp_path / "copy", payloads=False)
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["chain.sqlite3"]
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    assert (tmp_path / "copy" / "chain.sqlite3").stat().st_mode & 0o077 == 0


def back_up_of_nothing(data: Path) -> None:
    restore(None, data, digest("test", b"chain"))


async def test_a_node_started_from_a_copy_signs_nothing_until_it_has_looked_on(tmp_path: Path) -> None:
    """The safety of I2: what it signed after the copy was made, it no longer knows."""
    async with running(tmp_path) as consortium:
        await consortium.over(await consortium.fill_round(rows(1)))
        data = data_of(consortium, "hungary")
        back_up(data, tmp_path / "copy", payloads=False)
        await consortium.evaluate("cleveland", 1)
        await consortium.stop("hungary")
        data.rename(tmp_path / "lost")
        restore(tmp_path / "copy", data, consortium.local.document.chain_id)

        await consortium.start("hungary")
        restored = consortium.nodes["hungary"]
        assert not restored.status().signs
        assert "signing.observing" in {reason.code for reason in restored.status().reasons}
        await until(lambda: all(peer.connected for peer in restored.status().peers))
        await consortium.stop("hungary")
        await consortium.start("hungary")  # a second start does not forget it either
        assert not consortium.nodes["hungary"].status().signs
        await consortium.evaluate("switzerland", 1)
        await consortium.level()
        assert consortium.same_chain()


async def test_a_directory_that_was_not_copied_signs_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        assert consortium.nodes["hungary"].status().signs


async def test_a_directory_for_the_peers_to_fill_is_a_copy_too(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await consortium.over(await consortium.fill_round(rows(1)))
        await consortium.stop("hungary")
        data = data_of(consortium, "hungary")
        data.rename(tmp_path / "lost")
        assert restore(None, data, consortium.local.document.chain_id) is None

        await consortium.start("hungary")
        await consortium.level()
        assert not consortium.nodes["hungary"].status().signs
        assert consortium.same_chain()


def test_nothing_that_exists_is_overwritten(tmp_path: Path) -> None:
    data = tmp_path / "data"
    back_up_of_nothing(data)
    back_up(data, tmp_path / "copy", payloads=False)
    with pytest.raises(BackupError, match="exists"):
        back_up(data, tmp_path / "copy", payloads=False)
    with pytest.raises(BackupError, match="exists"):
        restore(tmp_path / "copy", data, digest("test", b"chain"))


async def test_a_copy_of_another_chain_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await consortium.evaluate("cleveland")
        back_up(data_of(consortium, "cleveland"), tmp_path / "copy", payloads=False)
    with pytest.raises(OtherChainError):
        restore(tmp_path / "copy", tmp_path / "new", digest("test", b"another chain"))
    assert not (tmp_path / "new").exists()


def test_a_damaged_copy_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "data"
    back_up_of_nothing(data)
    connection = sqlite3.connect(data / "chain.sqlite3")
    connection.execute("INSERT INTO meta VALUES ('filler', ?)", (bytes(1 << 16),))
    connection.commit()
    connection.close()
    damaged = bytearray((data / "chain.sqlite3").read_bytes())
    damaged[4096:8192] = bytes(4096)
    (data / "chain.sqlite3").write_bytes(damaged)
    with pytest.raises(StoreError):
        restore(data, tmp_path / "new", digest("test", b"chain"))
    assert list(tmp_path.iterdir()) == [data]


def test_a_copy_is_no_ground_to_start_from_where_the_others_are_no_quorum(tmp_path: Path) -> None:
    lonely = make(tmp_path / "c", LocalPlan(("alone",), ("alone",), ()))
    node = lonely.nodes[0]
    restore(None, node.data, lonely.document.chain_id)
    config = load_config(node.config, {}).config
    identity = TransportIdentity(read_key(config.keys.transport).seed)
    with pytest.raises(CannotObserveError):
        Node(config, lonely.document, read_key(config.keys.validator), identity)
