"""A log of consensus events replays to the last bit, is bounded, and keeps no secret."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from consensus import BlockBuilt, Persist, Replica, SetTimer, Started, WorkArrived
from foedus.cli import app
from ledger.codec import decode, encode
from ledger.fields import Height, View
from node.recording import SEGMENTS_KEPT, Beginning, Entry, FileRecorder, RecordingError, read_segment
from node.replaying import replay, segments_of
from tests.simulation import toy
from tests.simulation.scenario import Scenario
from tests.simulation.whole.consortium import consortium_of
from tests.simulation.whole.world import WholeSimulation


def recorded(directory: Path, seed: int = 1, *, bytes_max: int = 1 << 24) -> WholeSimulation:
    simulation = WholeSimulation(replace(Scenario.draw(seed, 4, whole=True), liars=()))
    simulation.record_to, simulation.record_bytes_max = directory, bytes_max
    simulation.run()
    return simulation


def short_log(directory: Path) -> Path:
    """A primary's first two steps."""
    key, validators = toy.signing_keys(4)[1], toy.validator_set(toy.signing_keys(4))
    recorder = FileRecorder(directory, 1 << 20)
    beginning = Beginning(
        "0", toy.CHAIN_ID, key.public_key, toy.PARAMETERS, validators, Height(1), toy.CHAIN_ID, (), 1, None, None, None
    )
    replica = recorder.begin(beginning, key)
    block = toy.build(toy.GENESIS, (b"tx",), toy.GENESIS_TIME_MS + 1, validators, 1)
    for event in (Started(), WorkArrived(), BlockBuilt(Height(1), View(0), block)):
        recorder.take(event, replica.step(event))
    recorder.close()
    return segments_of(directory)[0]


def test_every_process_of_a_run_under_faults_replays_bit_for_bit(tmp_path: Path) -> None:
    for seed in (1, 3):
        recorded(tmp_path / str(seed), seed)
        found = [replay(path) for name in tmp_path.glob(f"{seed}/*") for path in segments_of(name)]
        assert [one.difference for one in found] == [None] * len(found)
        assert sum(one.entries for one in found) > 500
        assert {one.validator for one in found} >= {"v000", "v001", "v002", "v003"}


def test_a_log_is_bounded_and_its_segments_begin_anywhere(tmp_path: Path) -> None:
    """With so few bytes each height begins a segment; the chain goes on all the same, and what is left replays."""
    simulation = recorded(tmp_path, 3, bytes_max=1)
    for site in simulation.honest:
        segments = segments_of(tmp_path / site.name)
        assert len(segments) == SEGMENTS_KEPT
        assert all(replay(path).difference is None for path in segments)
        assert replay(segments[-1]).first > 1


def test_a_log_keeps_no_secret(tmp_path: Path) -> None:
    recorded(tmp_path)
    secrets = [key.seed for key in (*consortium_of(4).keys, *consortium_of(4).trainers)]
    for path in tmp_path.glob("*/*"):
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets)


def test_the_first_step_that_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = short_log(tmp_path)
    assert replay(path).difference is None
    monkeypatch.setattr("consensus.pace.view_timeout_ms", lambda *_: 499)  # as another version would

    difference = replay(path).difference

    assert difference is not None
    assert (difference.entry, difference.event) == (2, "WorkArrived")
    assert difference.recorded.startswith(SetTimer.__name__)
    assert difference.recorded != difference.replayed


def test_signing_something_else_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = short_log(tmp_path)
    monkeypatch.setattr("consensus.committee._VOTE", "another-domain")

    difference = replay(path).difference

    assert difference is not None
    assert difference.event == "BlockBuilt"
    assert difference.recorded.startswith(Persist.__name__)
    assert "was not signed then" in difference.replayed


def test_a_torn_end_is_cut_and_damage_is_named(tmp_path: Path) -> None:
    path = short_log(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert replay(path).entries == 2

    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with pytest.raises(RecordingError, match="damaged"):
        replay(path)
    path.write_bytes(b"")
    with pytest.raises(RecordingError, match="not a log"):
        replay(path)


def test_an_event_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    path = short_log(tmp_path)
    beginning, first, *_ = read_segment(path)
    assert isinstance(first, Entry)
    other = msgspec.structs.replace(first, event="Surprise")
    assert decode(encode(other), Entry, bytes_max=1 << 20) == other
    with path.open("wb") as file:
        recorder = FileRecorder(tmp_path / "other", 1)
        recorder._file = file
        recorder._write(beginning)
        recorder._write(other)
    with pytest.raises(RecordingError, match="Surprise"):
        replay(path)


def test_a_directory_without_a_log_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"recording\.bytes_max"):
        segments_of(tmp_path)


def test_a_disk_that_refuses_ends_the_recording_and_not_the_node(tmp_path: Path) -> None:
    """Where a file stands in the way of the directory."""
    (tmp_path / "file").write_text("")
    key, validators = toy.signing_keys(4)[0], toy.validator_set(toy.signing_keys(4))
    recorder = FileRecorder(tmp_path / "file", 1 << 20)
    beginning = Beginning(
        "0", toy.CHAIN_ID, key.public_key, toy.PARAMETERS, validators, Height(1), toy.CHAIN_ID, (), 1, None, None, None
    )
    replica = recorder.begin(beginning, key)
    assert isinstance(replica, Replica)
    recorder.take(Started(), replica.step(Started()))
    assert not recorder.is_full


def test_the_command_replays_a_directory_and_exits_with_3_on_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_log(tmp_path)
    same = CliRunner().invoke(app, ["replay", str(tmp_path), "--json"])
    assert same.exit_code == 0
    assert json.loads(same.stdout)["identical"] is True
    monkeypatch.setattr("consensus.pace.view_timeout_ms", lambda *_: 499)

    other = CliRunner().invoke(app, ["replay", str(tmp_path)])

    assert other.exit_code == 3
    assert "DIFFERENT at entry 2 (WorkArrived)" in other.stdout
