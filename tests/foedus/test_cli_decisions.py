"""What organisations decide about their learning, on the command line, against a real ledger behind a real API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from fl.aggregators import RuleSpec
from fl.governance.changes import change_between
from fl.membership.records import Proposal
from fl.state import present, task_of
from tests.foedus.commands import Shell
from tests.foedus.desk import Desk, serving_desk
from tests.foedus.kept import keep
from tests.recorded import Recorded


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as opened:
        yield opened


def speaking(desk: Desk, name: str) -> tuple[object, ...]:
    return ("--key", desk.key(f"{name}-officer"), "--url", desk.url, "--genesis", desk.genesis, "--json")


def running_task(desk: Desk, foedus: Shell) -> Path:
    """Let a second task become active; return its file."""
    path = desk.directory / "second.toml"
    path.write_text(foedus("task", "template", "--id", "second", "--rule", "median", "--rounds", 5).out)
    assert foedus("task", "propose", path, *speaking(desk, "alpha")).code == 0
    for name in ("beta", "gamma"):
        assert foedus("task", "approve", "second", *speaking(desk, name)).code == 0
    return path


def test_two_of_four_organisations_pause_everything_and_three_end_it(desk: Desk, foedus: Shell) -> None:
    begun = foedus("proposal", "pause", "--hours", 1, *speaking(desk, "alpha"))
    assert (begun.code, begun.answer["status"]) == (0, "open"), begun.err
    done = foedus("proposal", "approve", begun.answer["number"], *speaking(desk, "beta"))
    assert (done.code, done.answer["status"]) == (0, "enacted"), done.err
    shown = foedus("task", "show", "toy", "--url", desk.url)
    assert "paused until" in shown.out
    assert "pause-learning" in foedus("proposal", "list", "--url", desk.url).out
    assert foedus("query", "pauses", "--url", desk.url, "--genesis", desk.genesis).code == 0

    ended = foedus("proposal", "resume", *speaking(desk, "alpha"))
    for name in ("beta", "gamma"):
        ended = foedus("proposal", "approve", ended.answer["number"], *speaking(desk, name))

    assert ended.answer["status"] == "enacted"
    assert "paused until" not in foedus("task", "show", "toy", "--url", desk.url).out


def test_a_running_task_is_changed_by_its_file_and_keeps_what_it_learns(desk: Desk, foedus: Shell) -> None:
    path = running_task(desk, foedus)
    text = path.read_text()
    path.write_text(text.replace("rounds = 5", "rounds = 9"))
    proposed = foedus("proposal", "change-task", path, *speaking(desk, "alpha"))
    assert (proposed.code, proposed.answer["status"]) == (0, "open"), proposed.err
    for name in ("beta", "gamma"):
        foedus("proposal", "approve", proposed.answer["number"], *speaking(desk, name))
    assert "9 rounds from block" in foedus("task", "show", "second", "--url", desk.url).out
    assert foedus("query", "task-change/second", "--url", desk.url, "--genesis", desk.genesis).code == 0

    path.write_text(text.replace('description = "', 'description = "else, '))
    refused = foedus("proposal", "change-task", path, *speaking(desk, "alpha"))
    assert (refused.code, "keeps its description" in refused.err) == (1, True), refused.err
    path.write_text(text.replace('id = "second"', 'id = "third"'))
    unknown = foedus("proposal", "change-task", path, *speaking(desk, "alpha"))
    assert (unknown.code, "foedus task list" in unknown.err) == (1, True)


def test_a_model_that_does_not_exist_cannot_be_put_up_for_release(desk: Desk, foedus: Shell) -> None:
    refused = foedus("proposal", "release", "toy", 3, *speaking(desk, "alpha"))
    assert (refused.code, "foedus model list toy" in refused.err) == (1, True)


def test_a_change_is_tried_on_the_rounds_that_a_node_has_kept(foedus: Shell, tmp_path: Path) -> None:
    history = Recorded.begin()
    history.learn(2)
    spec = present(task_of(history.state, "heart"), "the task").spec
    action = change_between(spec, replace(spec, rule=RuleSpec("median/1", 1)))
    history.block(history.transaction("va", "governance.propose", Proposal(action)))
    node = keep(history, tmp_path / "node")

    done = foedus("proposal", "dry-run", 1, node, "--json")

    assert done.code == 0, done.err
    assert (done.code, done.answer["after"], done.answer["skipped"]) == (0, "median/1", 0)
    assert [one["round"] for one in json.loads(done.out)["rounds"]] == [2, 1]
    assert "median/1 on 2 rounds" in foedus("proposal", "dry-run", 1, node).out
    other = foedus("proposal", "dry-run", 2, node)
    assert (other.code, "changes no task" in other.err) == (1, True)
