"""Commands that ask a node: against a real API over a recorded chain."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from fl.application import FederatedLearning
from ledger.transaction import transaction_id
from node.api.server import ApiServer
from node.chain import Chain
from node.mempool import Mempool, MempoolLimits
from node.payloads import PayloadStore
from node.store import Store
from tests.foedus.commands import Shell
from tests.foedus.kept import keep
from tests.node.single_node import SingleNode
from tests.recorded import Recorded


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    history = Recorded.begin()
    history.learn(2)
    return history


@pytest.fixture(scope="module")
def url(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(recorded, keep(recorded, tmp_path_factory.mktemp("kept") / "node")) as address:
        yield address


@contextmanager
def serving(history: Recorded, data: Path) -> Iterator[str]:
    """Serve a kept history's API in a thread of its own."""
    started, addresses, loop = threading.Event(), [], asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        payloads = await PayloadStore.open(data / "payloads", bytes_max=1 << 28)
        document = history.document
        with Store.open(data, document.chain_id) as store:
            application = FederatedLearning()
            chain = Chain(store, application, document.chain_id, history.genesis_state, document.time_ms)
            mempool = Mempool(application, document.chain_id, MempoolLimits())
            node = SingleNode(document, store, chain, mempool, payloads)
            server = ApiServer(node, node.metrics)
            await server.start()
            addresses.append(f"http://127.0.0.1:{server.port}")
            started.set()
            await stopping.wait()
            await server.stop()
        await payloads.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(20)
    yield addresses[0]
    loop.call_soon_threadsafe(stopping.set)
    thread.join()
    loop.close()


def test_status_tells_height_and_peers(foedus: Shell, url: str) -> None:
    out = foedus("status", "--url", url).out
    assert re.search(r"^height +4, decided", out, re.MULTILINE)
    assert "peer gamma" in out
    assert "NOT connected" in out
    assert foedus("status", "--url", url, "--json").answer["height"] == 4


def test_the_url_may_come_from_the_environment(foedus: Shell, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOEDUS_URL", url)
    assert foedus("status", "--json").answer["height"] == 4


def test_the_only_task_need_not_be_named(foedus: Shell, url: str) -> None:
    rows = foedus("round", "list", "--url", url).out.splitlines()
    assert [row.split("\t")[:5] for row in rows[1:]] == [
        ["3", "open", "2", "", "0"],
        ["2", "certified", "1", "2", "4"],
        ["1", "certified", "0", "1", "4"],
    ]
    assert foedus("round", "list", "--url", url, "--task", "heart").out.splitlines() == rows


def test_a_round_is_shown_with_what_the_rule_made_of_each_update(foedus: Shell, url: str) -> None:
    out = foedus("round", "show", "2", "--url", url).out
    assert "model   1 -> 2" in out
    assert [line.split("\t")[0] for line in out.splitlines()[-4:]] == ["cleveland", "hungary", "switzerland", "va"]
    answer = foedus("round", "show", "2", "--url", url, "--json").answer
    updates = answer["updates"]
    assert isinstance(updates, list)
    assert (answer["status"], len(updates)) == ("certified", 4)


def test_tasks_are_listed_and_shown(foedus: Shell, url: str) -> None:
    assert foedus("task", "list", "--url", url).out.splitlines()[1].startswith("heart\tactive\t3\t2 of 1000\t2")
    assert "arc/1 -> nnm/1 -> trimmed-mean/1, against 1 liars" in foedus("task", "show", "heart", "--url", url).out


def test_models_are_listed_and_shown_with_their_evaluations(foedus: Shell, url: str) -> None:
    assert [row.split("\t")[0] for row in foedus("model", "list", "--url", url).out.splitlines()[1:]] == ["2", "1", "0"]
    out = foedus("model", "show", "1", "--url", url).out
    assert "cleveland\t50\tauc=0.812345" in out
    evaluations = foedus("model", "show", "1", "--url", url, "--json").answer["evaluations"]
    assert isinstance(evaluations, list)
    assert len(evaluations) == 1


def test_a_model_is_exported_as_safetensors(foedus: Shell, url: str, tmp_path: Path) -> None:
    done = foedus("model", "export", tmp_path / "m.safetensors", "--url", url, "--json")
    assert (done.code, done.answer["version"]) == (0, 2)
    assert {name: array.shape for name, array in load_file(tmp_path / "m.safetensors").items()} == {
        "weight": (3, 2),
        "bias": (2,),
    }


def test_the_exact_words_are_those_that_the_chain_names(
    foedus: Shell, url: str, recorded: Recorded, tmp_path: Path
) -> None:
    assert foedus("model", "export", tmp_path / "m.bin", "1", "--exact", "--url", url).code == 0
    assert (tmp_path / "m.bin").read_bytes() == list(recorded.payloads.values())[4]
    again = foedus("model", "export", tmp_path / "m.bin", "2", "--url", url)
    assert (again.code, "exists" in again.err) == (1, True)


def test_a_model_of_all_zeros_has_no_exact_words(foedus: Shell, url: str, tmp_path: Path) -> None:
    done = foedus("model", "export", tmp_path / "m.bin", "0", "--exact", "--url", url)
    assert (done.code, "all zeros" in done.err) == (1, True)


def test_blocks_and_transactions_are_shown_with_their_results(foedus: Shell, url: str, recorded: Recorded) -> None:
    assert [row.split("\t")[0] for row in foedus("block", "list", "--url", url).out.splitlines()[1:]] == list("4321")
    out = foedus("block", "show", "2", "--url", url).out
    refused = transaction_id(recorded.blocks[1].block.transactions[2]).hex()
    assert f"2\t{refused}\tevaluation." in out
    assert "event  round.certified  heart/1  model 1" in out
    shown = foedus("tx", "show", refused, "--url", url).out
    assert "block   2, transaction 2" in shown
    assert foedus("tx", "show", refused, "--url", url, "--json").answer["height"] == 2
    assert len(foedus("tx", "list", "--kind", "update", "--url", url, "--limit", 3).out.splitlines()) == 4


@pytest.mark.parametrize(
    "arguments,hint",
    [
        (("block", "show", "99"), "block.unknown"),
        (("tx", "show", "ab"), "64 hex digits"),
        (("round", "show", "9"), "round.unknown"),
        (("model", "show", "9"), "model.unknown"),
        (("task", "show", "nothing"), "task.unknown"),
        (("round", "list", "--task", "../../metrics"), "("),
    ],
)
def test_what_the_node_refuses_is_told_with_its_reason(
    foedus: Shell, url: str, arguments: tuple[str, ...], hint: str
) -> None:
    done = foedus(*arguments, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert hint in done.err


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "ftp://x", "nonsense", "http://"])
def test_no_node_at_the_address_is_told_so(foedus: Shell, address: str) -> None:
    done = foedus("status", "--url", address)
    assert done.code == 1
    assert "no node answers" in done.err or "a URL such as" in done.err
