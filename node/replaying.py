"""Replaying a log of consensus events. One law: the same events give the same effects, bit for bit, or it says where.

No key is needed: what was signed stands in the log, and a replica that would sign something else differs already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import msgspec

from consensus import Effect, Event, MessageReceived, Replica, decode_message
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.fields import Height
from ledger.identity import PublicKey, Signature, signing_input
from node.recording import SUFFIX, Beginning, Entry, RecordingError, effect_digest, read_segment

_EVENTS: Final[dict[str, type[Event]]] = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step that gives something else than was recorded."""

    entry: int
    """Number in the segment, from 1."""

    event: str
    """The event, in words."""

    effect: int
    """Number of the effect, from 1."""

    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of one segment."""

    path: Path
    validator: str
    """Name of whose log it is; empty for a follower."""

    version: str
    """Of the program that recorded."""

    first: Height
    last: Height
    entries: int
    difference: Difference | None


class UnrecordedSignatureError(Exception):
    """The replica signs what was not signed in this step."""


class _RecordedSigner:
    """Looks up what was signed in a step."""

    def __init__(self, public_key: PublicKey) -> None:
        self.public_key: Final = public_key
        self.recorded: dict[bytes, bytes] = {}

    def sign(self, domain: str, chain_id: Digest, message: bytes) -> Signature:
        """Return the recorded signature.

        Raises:
            UnrecordedSignatureError: there is none.
        """
        found = self.recorded.get(signing_input(domain, chain_id, message))
        if found is None:
            raise UnrecordedSignatureError(f"a {domain} that was not signed then")
        return Signature(found)


def segments_of(path: Path) -> list[Path]:
    """Return a log's segments in order: the file itself, or those of a directory.

    Raises:
        RecordingError: there are none.
    """
    found = sorted(path.glob("*" + SUFFIX)) if path.is_dir() else [path]
    if not found:
        raise RecordingError(f"{path}: holds no *{SUFFIX}; set recording.bytes_max in node.toml and run the node")
    return found


def replay(path: Path) -> Replay:
    """Run one segment through the core and compare every effect.

    Raises:
        RecordingError: the file cannot be read.
        SafetyRecordError: the replica could not have been made from what the log begins with.
    """
    records = read_segment(path)
    beginning = next(records)
    assert isinstance(beginning, Beginning), "a segment begins with one"
    signer = _RecordedSigner(PublicKey(beginning.public_key))
    replica: Replica | None = None
    entries, difference = 0, None
    for entry in records:
        assert isinstance(entry, Entry), "entries follow"
        entries += 1
        signer.recorded = dict(entry.signatures)
        replica = replica or beginning.replica(signer)
        difference = _compare(entries, entry, _event(path, entry), replica.step)
        if difference is not None:
            break
    index = beginning.validators.index_of(signer.public_key)
    name = "" if index is None else beginning.validators.members[index].name
    last = beginning.height if replica is None else replica.height
    return Replay(path, name, beginning.version, beginning.height, last, entries, difference)


def _compare(number: int, entry: Entry, event: Event, step: Callable[[Event], list[Effect]]) -> Difference | None:
    try:
        effects = step(event)
    except UnrecordedSignatureError as error:
        return Difference(number, describe(event), 1, _said(entry.effects, 0), str(error))
    replayed = [(type(effect).__name__, effect_digest(effect)) for effect in effects]
    for place in range(max(len(replayed), len(entry.effects))):
        recorded, now = _said(entry.effects, place), _said(replayed, place)
        if recorded != now:
            return Difference(number, describe(event), place + 1, recorded, now)
    return None


def describe(event: Event) -> str:
    """Say an event in a few words."""
    if not isinstance(event, MessageReceived):
        return type(event).__name__
    try:
        message = decode_message(event.data)
    except CodecError:
        return f"{len(event.data)} bytes that are no message"
    places = (f"{name} {value}" for name in ("height", "view") if (value := getattr(message, name, None)) is not None)
    return " ".join(("message", type(message).__name__, *places))


def _said(effects: list[tuple[str, bytes]] | tuple[tuple[str, bytes], ...], place: int) -> str:
    if place >= len(effects):
        return "nothing"
    kind, digested = effects[place]
    return f"{kind} {bytes(digested).hex()}"


def _event(path: Path, entry: Entry) -> Event:
    kind = _EVENTS.get(entry.event)
    if kind is None:
        raise RecordingError(f"{path}: no event is called {entry.event!r}; recorded by a newer version?")
    try:
        event: Event = msgspec.msgpack.decode(entry.body, type=kind)
    except msgspec.MsgspecError as error:
        raise RecordingError(f"{path}: {entry.event}: {error}") from error
    return event
