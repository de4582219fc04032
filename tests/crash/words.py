"""Everything a node ever said. One law: one word for each height, view and kind, and on its disk before it is sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from consensus.messages import Commit, Prepare, PrePrepare, ViewChange, decode_message
from consensus.safety import (
    CommitRecord,
    EnteredRecord,
    PrepareRecord,
    ProposalRecord,
    ViewChangeRecord,
    decode_record,
)
from ledger.codec import decode
from ledger.fields import Height
from node.results import RESULT_VOTE_BYTES_MAX, ResultVote
from node.store import Store
from node.wire import Acknowledged, Channel, decode_payload_frame
from tests.crash.incarnation import frames

Word = tuple[str, int, int]
"""Kind, height and view."""


class BrokenWordError(AssertionError):
    """A node said what it must never say."""


class Words:
    """What one node has said in all its lives."""

    def __init__(self, index: int, sent: Path) -> None:
        self.commits = 0
        """COMMITs of its present life that it had not said before."""

        self._index = index
        self._sent = sent
        self._read = 0
        self._said: dict[Word, object] = {}
        self._asked: dict[int, int] = {}
        self._others: dict[tuple[str, object], object] = {}

    def begin_life(self) -> None:
        """Count COMMITs anew."""
        self.commits = 0

    def look(self) -> None:
        """Read what has been sent since the last look and check that nothing contradicts what was said before."""
        with self._sent.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        for channel, data in frames(content):
            self._read += 5 + len(data)
            match channel:
                case Channel.CONSENSUS:
                    for word, subject in self._consensus(data):
                        self._say(word, subject)
                case Channel.RESULT:
                    vote = decode(data, ResultVote, bytes_max=RESULT_VOTE_BYTES_MAX)
                    self._once("result", (vote.task, vote.round), vote.result, vote.seal.validator)
                case Channel.PAYLOAD:
                    frame = decode_payload_frame(data)
                    if isinstance(frame, Acknowledged):
                        said = frame.acknowledgement
                        self._once("acknowledgement", said.payload, said.verdict, frame.seal.validator)
                case _:
                    pass

    def end_life(self) -> None:
        """Cut off a frame that the end of a life has torn: it was not taken by any connection."""
        os.truncate(self._sent, self._read)

    def require_kept(self, data: Path) -> None:
        """Check that the disk of a dead node has every word of the height that it was deciding."""
        if not self._said:
            return  # it may have died before there was anything on its disk
        with Store.open_readonly(data) as store:
            tip = store.tip()
            height = Height(1 if tip is None else tip.height + 1)
            rows = store._rows("SELECT record FROM safety WHERE height = ? ORDER BY sequence", height)
            kept = dict(pair for (record,) in rows for pair in _in_record(record))
        for word, subject in self._said.items():
            if word[1] >= height and kept.get(word) != subject:
                raise BrokenWordError(f"validator {self._index} sent {word}, its disk has {kept.get(word)}")

    def _consensus(self, data: bytes) -> Iterator[tuple[Word, object]]:
        match decode_message(data):
            case PrePrepare(height, view, block, seal, _) if seal.validator == self._index:
                yield ("prepare", height, view), block.id
            case Prepare(height, view, block_id, seal) if seal.validator == self._index:
                yield ("prepare", height, view), block_id
            case Commit(height, view, block_id, seal) if seal.validator == self._index:
                yield ("commit", height, view), block_id
            case ViewChange(height, view, claim, _) if claim.seal.validator == self._index:
                yield ("view-change", height, view), claim.prepared
            case _:
                pass

    def _say(self, word: Word, subject: object) -> None:
        kind, height, view = word
        if word in self._said:
            if self._said[word] != subject:
                raise BrokenWordError(f"validator {self._index} said {word} twice: {self._said[word]}, then {subject}")
            return
        if view < self._asked.get(height, 0):
            raise BrokenWordError(f"validator {self._index} said {word} after it asked for view {self._asked[height]}")
        if kind == "view-change":
            self._asked[height] = view
        self.commits += kind == "commit"
        self._said[word] = subject

    def _once(self, kind: str, about: object, subject: object, signer: int) -> None:
        if signer != self._index:
            return
        before = self._others.setdefault((kind, about), subject)
        if before != subject:
            raise BrokenWordError(f"validator {self._index} signed two of {kind} {about}: {before}, then {subject}")


def _in_record(data: bytes) -> Iterator[tuple[Word, object]]:
    match decode_record(data):
        case ProposalRecord(message):
            yield ("prepare", message.height, message.view), message.block.id
        case PrepareRecord(height, view, block, _):
            yield ("prepare", height, view), block.id
        case CommitRecord(certificate, _):
            yield ("commit", certificate.height, certificate.view), certificate.block_id
        case ViewChangeRecord(message):
            yield ("view-change", message.height, message.view), message.claim.prepared
        case EnteredRecord():
            pass
