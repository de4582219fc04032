"""The offline audit: everything that is stored is recomputed, and the first thing that differs is named."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fl.optimisers import OptimiserSpec
from fl.results import ComputedRound
from foedus.audit import HistoryError, Report, audit, open_history
from genesis.document import document_text
from ledger.payload import describe
from ledger.transaction import transaction_id
from node.payloads import PayloadFiles
from node.payloads.sealing import ROOM_BYTES, seal
from node.store import OtherChainError, Store, StoreError
from tests.foedus.kept import change, copied, keep
from tests.recorded import Recorded, document_of

ROUNDS = 3


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    history = Recorded.begin()
    history.learn(ROUNDS)
    return history


@pytest.fixture(scope="module")
def kept(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep(recorded, tmp_path_factory.mktemp("kept") / "node")


@pytest.fixture
def data(kept: Path, tmp_path: Path) -> Path:
    return copied(kept, tmp_path / "node")


def audited(path: Path) -> Report:
    with open_history(path) as history:
        return audit(history)


def test_an_honest_node_has_no_differences(recorded: Recorded, kept: Path) -> None:
    report = audited(kept)
    assert report.found == []
    assert (report.blocks, report.transactions, report.updates) == (2 * ROUNDS, 7 * ROUNDS, 4 * ROUNDS)
    assert (report.aggregates, report.aggregates_skipped, report.payloads) == (ROUNDS, 0, 5 * ROUNDS)
    assert report.state_entries == len(recorded.state)


def test_an_audit_changes_nothing(data: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    audited(data)
    assert before.items() <= {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}.items()


def test_a_running_node_can_be_audited(tmp_path: Path) -> None:
    """The audit sees the moment it began; what is appended meanwhile is no extra row."""
    history = Recorded.begin()
    history.learn()
    data = keep(history, tmp_path / "node")
    history.block()
    with (
        Store.open(data, history.document.chain_id) as store,
        open_history(data) as opened,
    ):
        store.append(history.blocks[-1], history.executions[-1])
        report = audit(opened)
    assert (report.blocks, report.found) == (2, [])
    assert audited(data).blocks == 3


def test_a_node_without_blocks_is_audited(tmp_path: Path) -> None:
    report = audited(keep(Recorded.begin(), tmp_path / "node"))
    assert (report.blocks, report.found) == (0, [])


CELLS = {
    "blocks": ("id", "header_bytes", "transaction_count", "block", "certificate"),
    "transactions": ("id", "position", "kind", "sender", "raw_offset", "raw_bytes"),
    "receipts": ("position", "receipt"),
    "events": ("position", "event"),
}


@pytest.mark.parametrize("table,column", [(table, column) for table, columns in CELLS.items() for column in columns])
def test_a_changed_cell_is_found_at_its_height(data: Path, table: str, column: str) -> None:
    number = {"transactions": "sequence", "events": "sequence", "receipts": "position"}.get(table, "height")
    row, value = cell(data, f"SELECT {number}, {column} FROM {table} WHERE height = 4")  # noqa: S608 - our own names
    changed = value + 40 if isinstance(value, int) else flipped(value) if isinstance(value, bytes) else f"{value}x"
    change(data, f"UPDATE {table} SET {column} = ? WHERE {number} = ? AND height = 4", changed, row)  # noqa: S608 - as above
    report = audited(data)
    assert report.differences
    assert report.found[0].height == 4


def cell(data: Path, query: str) -> tuple[int, int | bytes | str]:
    connection = sqlite3.connect(data / "chain.sqlite3")
    first, second = connection.execute(query).fetchone()
    connection.close()
    return first, second


def flipped(value: bytes, at: int | None = None) -> bytes:
    place = len(value) // 2 if at is None else at
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


def test_a_flipped_byte_in_a_stored_transaction_names_block_and_transaction(recorded: Recorded, data: Path) -> None:
    raw = recorded.blocks[2].block.transactions[1]
    connection = sqlite3.connect(data / "chain.sqlite3")
    block = connection.execute("SELECT block FROM blocks WHERE height = 3").fetchone()[0]
    connection.close()
    place = block.index(raw) + len(raw) - 10
    change(data, "UPDATE blocks SET block = ? WHERE height = 3", flipped(block, place))
    first = audited(data).found[0]
    assert (first.kind, first.height, first.index) == ("chain", 3, 1)
    assert first.transaction is not None
    assert first.transaction != transaction_id(raw).hex()


def test_a_changed_receipt_names_its_transaction(recorded: Recorded, data: Path) -> None:
    change(data, "UPDATE receipts SET receipt = ? WHERE height = 2 AND position = 1", b"\x94")
    first = audited(data).found[0]
    identity = transaction_id(recorded.blocks[1].block.transactions[1]).hex()
    assert (first.kind, first.height, first.index, first.transaction) == ("row", 2, 1, identity)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM blocks WHERE height = 3",
        "DELETE FROM transactions WHERE sequence = 3",
        "DELETE FROM receipts WHERE height = 3 AND position = 1",
        "DELETE FROM events WHERE sequence = 3",
    ],
)
def test_a_missing_row_is_found(data: Path, statement: str) -> None:
    change(data, statement)
    assert audited(data).differences


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO receipts SELECT height, position + 50, receipt FROM receipts WHERE height = 2 AND position = 0",
        "INSERT INTO receipts SELECT height + 90, position, receipt FROM receipts WHERE height = 2 AND position = 0",
        "INSERT INTO events SELECT 9999, 77, position, event FROM events WHERE sequence = 1",
        "INSERT INTO events SELECT 9999, height, position, event FROM events WHERE sequence = 1",
        "INSERT INTO transactions SELECT 9999, x'00', 78, position, kind, sender, 1, 1 FROM transactions LIMIT 1",
        "INSERT INTO state VALUES (x'01', x'02')",
    ],
)
def test_an_extra_row_is_found(data: Path, statement: str) -> None:
    change(data, statement)
    assert audited(data).differences


def test_a_block_cut_off_the_end_is_found(data: Path) -> None:
    """Its transactions, receipts and effects on the state still tell of it."""
    change(data, "DELETE FROM blocks WHERE height = ?", 2 * ROUNDS)
    kinds = {difference.kind for difference in audited(data).found}
    assert {"state", "row"} <= kinds


def test_a_changed_state_entry_is_found_and_named(data: Path) -> None:
    change(data, "UPDATE state SET value = x'00' WHERE key = CAST('fl/task/heart' AS BLOB)")
    (difference,) = audited(data).found
    assert difference.kind == "state"
    assert "fl/task/heart" in difference.detail


def test_a_missing_state_entry_is_found(data: Path) -> None:
    change(data, "DELETE FROM state WHERE key = CAST('fl/task/heart' AS BLOB)")
    assert "fl/task/heart is missing" in audited(data).found[0].detail


def test_a_changed_safety_record_is_found(data: Path) -> None:
    change(data, "UPDATE safety SET record = x'00' WHERE sequence = 1")
    assert "table safety, row 1" in audited(data).found[0].detail


def payload_file(history: Recorded, data: Path, which: int, name: str = "data") -> Path:
    """Return a file of the `which`-th payload: 0 to 3 are the first round's updates, 4 its model."""
    return data / "payloads" / "payloads" / list(history.payloads)[which].hex() / name


@pytest.mark.parametrize("which,height,index", [(0, 1, 0), (2, 1, 2), (4, 2, 0), (9, 4, 0)])
@pytest.mark.parametrize("name", ["data", "hashes"])
def test_a_flipped_byte_of_a_payload_names_the_transaction_that_brought_it(
    recorded: Recorded, data: Path, which: int, height: int, index: int, name: str
) -> None:
    path = payload_file(recorded, data, which, name)
    path.write_bytes(flipped(path.read_bytes()))
    first = audited(data).found[0]
    assert (first.kind, first.height, first.index) == ("payload", height, index)


def test_a_payload_sealed_anew_with_other_words_is_found(recorded: Recorded, data: Path) -> None:
    """Whoever holds the node's keys can make its disk consistent again, but not with the chain."""
    identity, payload = list(recorded.payloads.items())[1]
    key = (data / "payloads" / "keys" / identity.hex()).read_bytes()
    payload_file(recorded, data, 1).write_bytes(
        seal(key, identity, 0, flipped(payload, 40), memoryview(bytearray(ROOM_BYTES)))
    )
    first = audited(data).found[0]
    assert (first.kind, first.height, first.index) == ("payload", 1, 1)
    assert "under root" in first.detail


def test_an_aggregate_whose_updates_are_erased_is_skipped_and_counted(recorded: Recorded, data: Path) -> None:
    PayloadFiles(data / "payloads").erase(next(iter(recorded.payloads)))
    report = audited(data)
    assert (report.found, report.aggregates, report.aggregates_skipped) == ([], ROUNDS - 1, 1)


def test_erased_models_are_computed_again_from_their_updates(recorded: Recorded, data: Path) -> None:
    for place in range(ROUNDS):
        PayloadFiles(data / "payloads").erase(list(recorded.payloads)[5 * place + 4])
    report = audited(data)
    assert (report.found, report.aggregates) == ([], ROUNDS)


def test_a_model_with_one_bit_changed_by_a_whole_quorum_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All validators sign a wrong model; the signatures are right, the chain executes, the arithmetic does not lie."""
    from fl import results

    history = Recorded.begin()
    honest = results.compute

    def patched(*inputs: object) -> ComputedRound:
        computed = honest(*inputs)  # type: ignore[arg-type]
        payload = flipped(computed.model_payload, 40)
        return ComputedRound(msgspec.structs.replace(computed.result, model=describe(payload)), payload)

    monkeypatch.setattr("tests.recorded.compute", patched)
    history.learn()
    monkeypatch.undo()
    (difference,) = audited(keep(history, tmp_path / "node")).found
    assert (difference.kind, difference.height, difference.index) == ("aggregate", 2, 0)
    assert difference.detail.startswith("model is ")
    assert difference.transaction == transaction_id(history.blocks[1].block.transactions[0]).hex()


def test_a_database_of_another_chain_is_refused(data: Path) -> None:
    other = msgspec.structs.replace(document_of(), chain_name="other")
    (data.parent / "genesis.json").write_text(document_text(other))
    with pytest.raises(OtherChainError):
        audited(data)


def test_a_missing_genesis_document_is_asked_for(data: Path) -> None:
    (data.parent / "genesis.json").unlink()
    with pytest.raises(HistoryError, match="--genesis"):
        audited(data)


def test_a_directory_without_a_chain_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="holds no chain"):
        open_history(tmp_path)
    with pytest.raises(HistoryError, match="does not exist"):
        open_history(tmp_path / "gone")


def test_flipped_bytes_anywhere_in_the_database_are_found_or_harmless(kept: Path, tmp_path: Path) -> None:
    """A sample of all bytes of the file: what hits no row (free space) may go unnoticed, but is never a crash."""
    size = (kept / "chain.sqlite3").stat().st_size
    noticed = 0
    places = random.Random(11).sample(range(100, size), 30)
    for number, place in enumerate(places):
        data = copied(kept, tmp_path / str(number))
        path = data / "chain.sqlite3"
        path.write_bytes(flipped(path.read_bytes(), place))
        try:
            noticed += bool(audited(data).differences)
        except StoreError:
            noticed += 1
    assert noticed > 0


def test_words_of_the_recorded_rounds_are_not_all_equal(recorded: Recorded) -> None:
    """Else an aggregate could be right by accident."""
    models = [np.frombuffer(list(recorded.payloads.values())[5 * place + 4][32:], "<i4") for place in range(ROUNDS)]
    assert len({model.tobytes() for model in models}) == ROUNDS


def test_what_an_optimiser_remembers_is_audited_with_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All validators sign a second model whose words are right and whose last variance is one off."""
    from fl import results

    document = document_of()
    (task,) = document.learning.tasks
    moved = msgspec.structs.replace(task, optimiser=OptimiserSpec("adam/1", 10_000, 900, 990, 1_000))
    document = msgspec.structs.replace(document, learning=msgspec.structs.replace(document.learning, tasks=(moved,)))
    history = Recorded(document)
    history.learn(2)
    report = audited(keep(history, tmp_path / "honest"))
    assert (report.found, report.aggregates, report.aggregates_skipped) == ([], 2, 0)
    honest = results.compute

    def patched(*inputs: object) -> ComputedRound:
        computed = honest(*inputs)  # type: ignore[arg-type]
        payload = flipped(computed.model_payload, len(computed.model_payload) - 8)
        return ComputedRound(msgspec.structs.replace(computed.result, model=describe(payload)), payload)

    monkeypatch.setattr("tests.recorded.compute", patched)
    history.learn()
    monkeypatch.undo()
    (difference,) = audited(keep(history, tmp_path / "lying")).found
    assert (difference.kind, difference.height) == ("aggregate", 6)
