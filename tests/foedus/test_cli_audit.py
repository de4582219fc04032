"""`foedus audit` and `foedus export`: exit codes and JSON for scripts, names of blocks and transactions for people."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from genesis.document import document_text
from ledger.fields import Height
from ledger.payload import describe
from ledger.transaction import transaction_id
from node.store import Store
from tests.foedus.commands import Shell
from tests.foedus.kept import change, copied, keep
from tests.recorded import Recorded

ROUNDS = 2


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    history = Recorded.begin()
    history.learn(ROUNDS)
    return history


@pytest.fixture(scope="module")
def kept(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep(recorded, tmp_path_factory.mktemp("kept") / "node")


def test_an_honest_node_gives_zero_and_says_what_was_checked(foedus: Shell, kept: Path) -> None:
    done = foedus("audit", kept, "--json")
    assert done.code == 0
    expected = {"blocks": 4, "updates": 8, "aggregates": 2, "differences": 0, "first_difference": None}
    assert expected.items() <= done.answer.items()


def test_a_difference_gives_three_and_names_block_and_transaction(
    foedus: Shell, recorded: Recorded, kept: Path, tmp_path: Path
) -> None:
    data = copied(kept, tmp_path / "node")
    change(data, "UPDATE receipts SET receipt = x'94' WHERE height = 1 AND position = 2")
    done = foedus("audit", data)
    identity = transaction_id(recorded.blocks[0].block.transactions[2]).hex()
    assert done.code == 3
    assert f"block 1, transaction 2 ({identity})" in done.err
    first = foedus("audit", data, "--json").answer["first_difference"]
    assert isinstance(first, dict)
    assert (first["height"], first["index"], first["transaction"]) == (1, 2, identity)


def test_nothing_to_audit_gives_one(foedus: Shell, tmp_path: Path) -> None:
    done = foedus("audit", tmp_path)
    assert (done.code, "holds no chain" in done.err) == (1, True)


def test_a_genesis_document_can_be_named(foedus: Shell, recorded: Recorded, kept: Path, tmp_path: Path) -> None:
    data = copied(kept, tmp_path / "node")
    (data.parent / "genesis.json").rename(tmp_path / "trusted.json")
    assert foedus("audit", data).code == 1
    assert foedus("audit", data, "--genesis", tmp_path / "trusted.json").code == 0


@pytest.fixture
def exported(foedus: Shell, kept: Path, tmp_path: Path) -> Path:
    target = tmp_path / "chain.tar"
    done = foedus("export", kept, target, "--json")
    assert done.code == 0
    assert (done.answer["blocks"], done.answer["models"], done.answer["models_missing"]) == (4, 2, 0)
    return target


def test_an_export_is_audited_anywhere(foedus: Shell, exported: Path) -> None:
    done = foedus("audit", exported, "--json")
    assert done.code == 0, done.err
    expected = {"blocks": 4, "updates": 8, "aggregates": 0, "aggregates_skipped": 2, "payloads": 2, "differences": 0}
    assert expected.items() <= done.answer.items()


def test_an_export_holds_no_update(recorded: Recorded, exported: Path) -> None:
    content = exported.read_bytes()
    updates = [payload for payload in recorded.payloads.values() if len(payload) == 32 + 2 * 8]
    assert len(updates) == 4 * ROUNDS
    assert not any(payload[32:] in content for payload in updates if any(payload[32:]))


def test_the_same_chain_is_exported_to_the_same_bytes(
    foedus: Shell, kept: Path, exported: Path, tmp_path: Path
) -> None:
    foedus("export", kept, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == exported.read_bytes()


def test_an_export_never_overwrites(foedus: Shell, kept: Path, exported: Path) -> None:
    before = exported.read_bytes()
    assert foedus("export", kept, exported).code == 1
    assert exported.read_bytes() == before


def rewritten(source: Path, target: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a copy of an export with other members."""
    with tarfile.open(source) as tar:
        members = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    edit(members)
    with tarfile.open(target, "w:") as tar:
        for name, content in members.items():
            place = target.with_name("member")
            place.write_bytes(content)
            tar.add(place, name)
    return target


def without(name: str) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        del members[name]

    return edit


def flip(name: str, place: int = -20) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        content = bytearray(members[name])
        content[place] ^= 1
        members[name] = bytes(content)

    return edit


@pytest.mark.parametrize("name", ["blocks/000000000002", "receipts/000000000002"])
def test_a_flipped_byte_of_an_export_is_named_by_its_block(
    foedus: Shell, exported: Path, tmp_path: Path, name: str
) -> None:
    done = foedus("audit", rewritten(exported, tmp_path / "bad.tar", flip(name)), "--json")
    first = done.answer["first_difference"]
    assert done.code == 3
    assert isinstance(first, dict)
    assert first["height"] == 2


def test_a_flipped_byte_of_an_exported_model_is_found(
    foedus: Shell, recorded: Recorded, exported: Path, tmp_path: Path
) -> None:
    model = next(payload for payload in recorded.payloads.values() if len(payload) == 32 + 4 * 8)
    bad = rewritten(exported, tmp_path / "bad.tar", flip(f"models/{describe(model).id.hex()}"))
    done = foedus("audit", bad)
    assert (done.code, "DIFFERS (payload) block 2, transaction 0" in done.err) == (3, True)


@pytest.mark.parametrize("name", ["blocks/000000000004", "receipts/000000000003"])
def test_a_missing_member_is_found(foedus: Shell, exported: Path, tmp_path: Path, name: str) -> None:
    bad = rewritten(exported, tmp_path / "bad.tar", without(name))
    done = foedus("audit", bad)
    assert (done.code, f"{name} is missing" in done.err) == (3, True)


def test_a_member_that_belongs_to_nothing_is_found(foedus: Shell, exported: Path, tmp_path: Path) -> None:
    bad = rewritten(exported, tmp_path / "bad.tar", lambda members: members.update({"models/extra": b"x"}))
    assert foedus("audit", bad).code == 3


@pytest.mark.parametrize("cut", [10, 600, 5_000])
def test_a_file_that_is_no_export_or_cut_off_is_an_error_or_a_difference(
    foedus: Shell, exported: Path, tmp_path: Path, cut: int
) -> None:
    (tmp_path / "cut.tar").write_bytes(exported.read_bytes()[:cut])
    done = foedus("audit", tmp_path / "cut.tar")
    assert done.code in {1, 3}
    assert "Traceback" not in done.err


def test_an_export_of_another_chain_than_the_trusted_one_is_refused(
    foedus: Shell, exported: Path, tmp_path: Path
) -> None:
    import msgspec

    other = msgspec.structs.replace(Recorded.begin().document, chain_name="other")
    (tmp_path / "other.json").write_text(document_text(other))
    done = foedus("audit", exported, "--genesis", tmp_path / "other.json")
    assert (done.code, "the genesis document of chain" in done.err) == (1, True)


def pruned(kept: Path, recorded: Recorded, directory: Path, below: int = 3) -> Path:
    """Return a copy of a node's data whose first blocks are pruned."""
    data = copied(kept, directory)
    with Store.open(data, recorded.document.chain_id) as store:
        store.prune(Height(below))
    return data


def test_a_pruned_node_gives_four_and_says_that_nothing_was_executed(
    foedus: Shell, recorded: Recorded, kept: Path, tmp_path: Path
) -> None:
    data = pruned(kept, recorded, tmp_path / "node")

    done = foedus("audit", data)
    answer = foedus("audit", data, "--json").answer

    assert done.code == 4
    assert "NOT EXECUTED: the blocks below 3 are pruned here. 4 headers" in done.err
    assert {"blocks": 0, "headers": 4, "blocks_from": 3, "differences": 0}.items() <= answer.items()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE blocks SET certificate = (SELECT certificate FROM blocks WHERE height = 1) WHERE height = 2",
        "DELETE FROM blocks WHERE height = 2",
        "UPDATE state SET value = x'01' WHERE key = (SELECT min(key) FROM state)",
        "UPDATE receipts SET receipt = x'94' WHERE height = 3 AND position = 0",
    ],
)
def test_a_false_header_state_or_receipt_of_a_pruned_node_is_found(
    foedus: Shell, recorded: Recorded, kept: Path, tmp_path: Path, statement: str
) -> None:
    data = pruned(kept, recorded, tmp_path / "node")
    change(data, statement)

    assert foedus("audit", data).code == 3


def test_a_pruned_node_exports_nothing_and_says_who_can(
    foedus: Shell, recorded: Recorded, kept: Path, tmp_path: Path
) -> None:
    done = foedus("export", pruned(kept, recorded, tmp_path / "node"), tmp_path / "chain.foedus")

    assert done.code == 1
    assert "blocks_from" in done.err
