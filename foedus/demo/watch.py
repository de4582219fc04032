"""What the demo sees of its consortium: the HTTP API, as anybody may read it. One law: a node that is down is a fact.

Certified rounds are read once each; everything else is asked for again at every look.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
import safetensors.numpy

from foedus.demo.use_case import Model, Score, UseCase
from node.api.answers import ParticipantsAnswer, RoundAnswer, TransactionsAnswer, UpdateAnswer, UpdatesAnswer
from node.api.reward_answers import AccountsAnswer, StatementAnswer, StatementEntryAnswer
from node.api.task_answers import TaskAnswer
from node.view import NodeStatus

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)

REQUEST_SECONDS_MAX: Final = 5.0
PAGE_ITEMS: Final = 100
MODEL_BYTES_MAX: Final = 1 << 30


class ConsortiumDownError(Exception):
    """No node answered."""


@dataclass(frozen=True, slots=True)
class RoundSeen:
    """A round that is over."""

    number: int
    status: str
    """`certified` or `failed`."""

    version: int
    height: int
    """Highest height of any node when it was read."""

    accepted: tuple[str, ...]
    left_out: tuple[str, ...]
    """Whose update the rule did without."""

    reason: str
    """Why it failed."""

    sites: Mapping[str, Score]
    overall: Score | None
    """Of the new model, on held-out data; None for a failed round."""


@dataclass(slots=True)
class Watch:
    """Reads the consortium through any of its nodes."""

    urls: Mapping[str, str]
    """API by node."""

    use_case: UseCase
    rounds: list[RoundSeen] = field(default_factory=list)
    nodes: dict[str, NodeStatus | None] = field(default_factory=dict)
    """Latest status by node; None while it does not answer."""

    task: TaskAnswer | None = None
    current: RoundAnswer | None = None

    def look(self) -> None:
        """Bring everything up to date."""
        for name, url in self.urls.items():
            try:
                self.nodes[name] = _get(f"{url}/v1/status", NodeStatus)
            except OSError:
                self.nodes[name] = None
        if self._highest() is None:
            return
        self.task = self._ask(f"/v1/tasks/{self.use_case.name}", TaskAnswer)
        self.current = self._round(self.task.round)
        last = self.task.round if self.current.status in {"certified", "failed"} else self.task.round - 1
        for number in range(len(self.rounds) + 1, last + 1):
            self.rounds.append(self._seen(self._round(number)))

    @property
    def height(self) -> int:
        """Highest height that any node has reported."""
        return max((status.height for status in self.nodes.values() if status is not None), default=0)

    @property
    def finished(self) -> bool:
        """Whether the task has had all its rounds."""
        return self.task is not None and self.task.status == "finished"

    def model(self, version: int) -> Model:
        """Fetch a certified model."""
        path = f"/v1/tasks/{self.use_case.name}/models/{version}/safetensors"
        return safetensors.numpy.load(self._fetch(path))

    def refusals(self) -> list[tuple[str, str, str]]:
        """Return participant, code and detail of every update that validation refused, oldest first."""
        names = {item.public_key: item.name for item in self._ask("/v1/participants", ParticipantsAnswer).items}
        found: list[tuple[str, str, str]] = []
        before = ""
        while True:
            page = self._ask(f"/v1/transactions?kind=update&limit={PAGE_ITEMS}{before}", TransactionsAnswer)
            found += [(names.get(item.sender, item.sender), item.code, item.detail) for item in page.items]
            if page.next is None:
                break
            before = f"&before={page.next}"
        return [entry for entry in reversed(found) if entry[1] != "ok"]

    def rejected(self) -> dict[str, int]:
        """Count by participant the updates that validation refused or the rule left out."""
        counts = Counter(name for seen in self.rounds for name in seen.left_out)
        counts.update(name for name, _, _ in self.refusals())
        return {name: counts[name] for name in self.use_case.trainers}

    def earned(self) -> dict[str, int]:
        """Return the credits that organisations have earned in rounds."""
        accounts = self._ask(f"/v1/rewards/accounts?limit={PAGE_ITEMS}", AccountsAnswer).items
        return {account.organisation: account.earned for account in accounts}

    def statement(self, organisation: str) -> tuple[StatementEntryAnswer, ...]:
        """Return what moved an organisation's credits last, newest first."""
        path = f"/v1/rewards/accounts/{organisation}/statement?limit={PAGE_ITEMS}"
        return self._ask(path, StatementAnswer).items

    def _seen(self, over: RoundAnswer) -> RoundSeen:
        updates = self._updates(over.number)
        sites: dict[str, Score] = {}
        overall = None
        if over.status == "certified":
            sites, overall = self.use_case.score(self.model(over.version))
        return RoundSeen(
            number=over.number,
            status=over.status,
            version=over.version,
            height=self.height,
            accepted=tuple(update.participant for update in updates),
            left_out=tuple(update.participant for update in updates if update.left_out),
            reason=over.reason,
            sites=sites,
            overall=overall,
        )

    def _round(self, number: int) -> RoundAnswer:
        return self._ask(f"/v1/tasks/{self.use_case.name}/rounds/{number}", RoundAnswer)

    def _updates(self, number: int) -> tuple[UpdateAnswer, ...]:
        path = f"/v1/tasks/{self.use_case.name}/rounds/{number}/updates?limit={PAGE_ITEMS}"
        return self._ask(path, UpdatesAnswer).items

    def _ask(self, path: str, kind: type[AnswerT]) -> AnswerT:
        return msgspec.json.decode(self._fetch(path), type=kind)

    def _fetch(self, path: str) -> bytes:
        highest = self._highest()
        if highest is None:
            raise ConsortiumDownError("no node answers; see their logs")
        return _read(f"{self.urls[highest]}{path}")

    def _highest(self) -> str | None:
        up = [name for name, status in self.nodes.items() if status is not None]
        return max(up, key=self._height_of, default=None)

    def _height_of(self, name: str) -> int:
        status = self.nodes[name]
        return -1 if status is None else status.height


def _get(url: str, kind: type[AnswerT]) -> AnswerT:
    return msgspec.json.decode(_read(url), type=kind)


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=REQUEST_SECONDS_MAX) as answer:  # noqa: S310 - the demo's own loopback URLs
        body: bytes = answer.read(MODEL_BYTES_MAX)
    return body
