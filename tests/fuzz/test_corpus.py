"""The corpus, replayed: real encodings, cheap changes of them, what is dear to believe, and what was found."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from ledger.codec import CodecError, decode
from ledger.transaction import TRANSACTION_BYTES_MAX, Transaction
from node.transport.frames import MESSAGE_BYTES_MAX
from tests.fuzz.__main__ import FOUND
from tests.fuzz.mutation import HEADERS, mutate
from tests.fuzz.targets import TARGETS

CHANGES = 60
"""Of each target's seeds together."""

SOAK_SECONDS = 1.0
SOAKED = (
    "frame",
    "message",
    "transaction",
    "certified-block",
    "light-proof-verified",
    "replica",
    "execution",
    "mempool",
    "genesis-document",
    "task-plan",
    "export",
    "http-request",
    "http-answer",
)
"""Those behind which the most lies; starting one takes longer than the second that it runs."""


@pytest.mark.parametrize("name", TARGETS)
def test_only_typed_errors_come_out_of_a_decoder_whatever_goes_in(name: str) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())
    chance = random.Random(name)
    for seed in seeds[:CHANGES]:
        target.run(seed)
    for number in range(CHANGES):
        target.run(mutate(chance.choice(seeds), number, seeds))
    for header in HEADERS:
        target.run(header)
        target.run(b"\x92" + header)
    target.run(b"")


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_is_not_found_again(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


def test_every_target_has_real_encodings_to_begin_with() -> None:
    assert all(target.seeds() for target in TARGETS.values())


def test_every_find_belongs_to_a_target() -> None:
    assert {path.name for path in FOUND.iterdir()} <= set(TARGETS)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x95\xa6update\xc6\xff\xff\xff\xff",
        b"\xdc\x4e\x20" + b"\x91\xc0" * 20_000,
        b"\xdc\x00\x06" + (b"\xdc\x4e\x20" + b"\x91\xc0" * 20_000) * 6,
        b"\xdc\x00\x06" + (b"\xdc\x4e\x20" + b"\xcb" + bytes(8)) * 6,
        b"\x91" * 200_000,
        b"\xc4\x00" * 100_000,
    ],
    ids=["array", "bytes", "tuples", "tuples of tuples", "floats", "nesting", "nothing, often"],
)
def test_what_is_short_to_say_does_not_fill_the_memory(bomb: bytes) -> None:
    """Types are looked at before anything is built: a stranger's tree never exists."""
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decode(bomb, Transaction, bytes_max=MESSAGE_BYTES_MAX)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(bomb) <= TRANSACTION_BYTES_MAX + 1
    assert peak < 1 << 20, f"{len(bomb)} bytes made {peak}"


@pytest.mark.soak
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs the extra `fuzz` (atheris)")
def test_a_campaign_finds_nothing() -> None:
    """A second each, instrumented; `make fuzz` takes all targets and goes on for as long as one likes."""
    chosen = [argument for name in SOAKED for argument in ("--target", name)]
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(SOAK_SECONDS), *chosen]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    said = json.loads(ended.stdout.splitlines()[-1])
    assert ended.returncode == 0, (said, ended.stderr[-2_000:])
    assert said["executions"] > 1_000
