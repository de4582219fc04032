"""`foedus round show`, `foedus audit --report` and the SDK tell the same of a round; the plot is drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import foedus as sdk
from foedus.audit import audit, open_history
from foedus.cli.round_plot import BAR_CELLS, bar
from genesis.keys import write_key
from tests.foedus.commands import Shell
from tests.foedus.kept import keep
from tests.foedus.test_cli_queries import serving
from tests.recorded import Recorded, key_of

NAMES = ["cleveland", "hungary", "switzerland", "va"]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    history = Recorded.begin()
    history.learn(3)
    return history


@pytest.fixture(scope="module")
def kept(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep(recorded, tmp_path_factory.mktemp("kept") / "node")


@pytest.fixture(scope="module")
def url(recorded: Recorded, kept: Path) -> Iterator[str]:
    with serving(recorded, kept) as address:
        yield address


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "cleveland.key"
    write_key(path, key_of("cleveland", "participant"), owner="cleveland")
    return path


def test_the_auditor_computes_what_the_node_says(foedus: Shell, url: str, kept: Path, key: Path) -> None:
    shown = foedus("round", "show", 3, "--url", url, "--key", key, "--json").answer
    audited = foedus("audit", kept, "--report", "heart/3", "--json").answer

    assert shown["report"] == audited["round_report"]
    assert shown["report"] is not None
    with open_history(kept) as history:
        found = audit(history, explain=("heart", 3)).explained
    assert found is not None
    assert (found.rounds_looked_at, [one.participant for one in found.updates]) == (3, NAMES)


def test_the_sdk_gives_the_same_report(url: str, recorded: Recorded, kept: Path) -> None:
    with (
        sdk.connect(url, key=key_of("va", "participant"), task="heart", genesis=recorded.document) as session,
        open_history(kept) as history,
    ):
        assert session.round_report(2) == audit(history, explain=("heart", 2)).explained


def test_who_is_no_member_sees_the_round_and_how_to_see_more(foedus: Shell, url: str) -> None:
    done = foedus("round", "show", 3, "--url", url)

    assert (done.code, "cleveland" in done.out) == (0, True)
    assert "told to members" in done.err
    assert foedus("round", "show", 3, "--url", url, "--json").answer["report"] is None


def test_a_member_sees_why_of_every_update(foedus: Shell, url: str, key: Path) -> None:
    done = foedus("round", "show", 3, "--url", url, "--key", key)

    explained = [line.split("\t") for line in done.out.splitlines() if line.count("\t") == 7]
    assert [line[0] for line in explained] == ["participant", *NAMES]
    assert all(line[-1] for line in explained)


def test_the_plot_is_an_svg_file_of_its_own_with_a_bar_for_everybody(
    foedus: Shell, url: str, key: Path, tmp_path: Path
) -> None:
    target = tmp_path / "round.svg"
    assert foedus("round", "show", 3, "--url", url, "--key", key, "--plot", target).code == 0

    root = ET.fromstring(target.read_text(encoding="utf-8"))  # noqa: S314 - our own file
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(NAMES) <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + len(NAMES)
    again = foedus("round", "show", 3, "--url", url, "--key", key, "--plot", target)
    assert (again.code, "exists" in again.err) == (1, True)


@pytest.mark.parametrize("wanted", ["heart", "heart/x", "/3"])
def test_a_round_to_explain_is_named_by_task_and_number(foedus: Shell, kept: Path, wanted: str) -> None:
    done = foedus("audit", kept, "--report", wanted)
    assert (done.code, "TASK/ROUND" in done.err) == (1, True)


def test_a_round_that_is_not_there_is_said_to_be_missing(foedus: Shell, kept: Path) -> None:
    done = foedus("audit", kept, "--report", "heart/99")
    assert (done.code, "cannot be explained" in done.err) == (0, True)


def test_bars_grow_with_the_distance_and_never_beyond_their_room() -> None:
    drawn = [bar(distance, 1_000, left_out=False) for distance in (0, 1, 500, 1_000)]
    assert [len(one) for one in drawn] == [1, 1, BAR_CELLS // 2, BAR_CELLS]
    assert bar(1_000, 1_000, left_out=True) == "░" * BAR_CELLS
    assert bar(0, 0, left_out=False)
