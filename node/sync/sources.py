"""Peers that are asked for something anybody has. One law: who lied waits longest, and nobody waits for the slow.

A question goes to one peer; when it does not answer soon it goes to a second one as well, and the first good answer
counts. An answer counts only when it has been checked: whoever gives a false one is left alone for a while, twice as
long each time. So one peer that lies, withholds, breaks off or trickles costs a bounded number of bytes and seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import structlog

from ledger.codec import CodecError
from node.transport import PeerRefusedError, PeerUnreachableError

Answer = TypeVar("Answer")

HEDGE_S: Final = 1.0
"""After so long a second peer is asked as well."""

ANSWER_S_MAX: Final = 30.0
"""An answer that takes longer is given up; 8 MiB in that time are 2.2 Mbit/s."""

SLOW_S: Final = 5.0
"""A peer that lost the race to a second one is not asked first for so long."""

AWAY_S_MIN: Final = 2.0
AWAY_S_MAX: Final = 600.0
"""How long a peer that gave a false answer is asked last; doubles each time."""

STATUS_GONE: Final = 410
"""What a peer says that had it and has pruned it."""

log = structlog.get_logger("node.sync")


class Links(Protocol):
    """Bulk requests to the validators, who are named by their index in the set in force."""

    async def fetch(self, peer: int, path: str, *, bytes_max: int) -> bytes:
        """GET a path; raises `PeerUnreachableError` or `PeerRefusedError`."""
        ...


class FalseAnswerError(ValueError):
    """An answer that no honest peer gives."""


class NothingThereError(ValueError):
    """An honest answer that does not help: the peer has not got it."""


class NobodyHasItError(Exception):
    """No peer gave a good answer; `gone` says how many of them have pruned it."""

    def __init__(self, path: str, reasons: Sequence[str], gone: int) -> None:
        super().__init__(f"{path}: {'; '.join(reasons) or 'there is nobody to ask'}")
        self.path = path
        self.reasons = tuple(reasons)
        self.gone = gone


@dataclass(slots=True)
class _Standing:
    """What is known of one peer."""

    in_flight: int = 0
    away_s: float = 0.0
    """How long it was sent away for the last time."""

    until_s: float = 0.0
    faults: int = 0


class Sources:
    """Asks peers, and remembers how they answered."""

    def __init__(self, links: Links, *, clock_s: Callable[[], float] | None = None) -> None:
        """Begin without prejudice.

        Args:
            links: how peers are reached.
            clock_s: a clock that does not jump; the event loop's when None.
        """
        self._links: Final = links
        self._clock_s = clock_s
        self._standings: Final[dict[int, _Standing]] = {}

    @property
    def faults(self) -> int:
        """How many false answers there have been."""
        return sum(standing.faults for standing in self._standings.values())

    def blame(self, peer: int, reason: str) -> None:
        """Ask this peer last for a while."""
        standing = self._standing(peer)
        standing.faults += 1
        standing.away_s = min(max(AWAY_S_MIN, 2 * standing.away_s), AWAY_S_MAX)
        standing.until_s = self._now() + standing.away_s
        log.warning("sync.false_answer", validator=peer, reason=reason, away_s=standing.away_s)

    def forget(self) -> None:
        """Forget everybody: indices mean other validators now."""
        for standing in self._standings.values():
            standing.away_s, standing.until_s, standing.faults = 0.0, 0.0, 0

    async def ask(
        self,
        path: str,
        peers: Iterable[int],
        read: Callable[[bytes], Awaitable[Answer]],
        *,
        bytes_max: int,
    ) -> Answered[Answer]:
        """Return the first good answer.

        Args:
            path: what is asked for.
            peers: whom to ask.
            read: decodes and checks an answer; raises `CodecError` or `FalseAnswerError` for a false one,
                `NothingThereError` for one that does not help.
            bytes_max: longest answer.

        Raises:
            NobodyHasItError: nobody gave one.
        """
        waiting = sorted(peers, key=self._reluctance)
        running: dict[asyncio.Task[Answer], int] = {}
        reasons: list[str] = []
        gone = 0
        try:
            while waiting or running:
                if waiting:
                    peer = waiting.pop(0)
                    self._standing(peer).in_flight += 1  # now, so that what is asked for next goes to others
                    running[asyncio.create_task(self._ask_one(path, peer, read, bytes_max))] = peer
                done, _ = await asyncio.wait(
                    running, timeout=HEDGE_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    peer = running.pop(task)
                    self._standing(peer).in_flight -= 1
                    if (error := task.exception()) is None:
                        self._overtaken(running.values())
                        return Answered(task.result(), peer)
                    gone += self._note(peer, error)
                    reasons.append(f"validator {peer}: {str(error) or type(error).__name__}")
        finally:
            for task, peer in running.items():
                self._standing(peer).in_flight -= 1
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        raise NobodyHasItError(path, reasons, gone)

    async def _ask_one(
        self, path: str, peer: int, read: Callable[[bytes], Awaitable[Answer]], bytes_max: int
    ) -> Answer:
        async with asyncio.timeout(ANSWER_S_MAX):
            answer = await self._links.fetch(peer, path, bytes_max=bytes_max)
        return await read(answer)

    def _note(self, peer: int, error: BaseException) -> bool:
        """Judge a peer by its failure; tell whether it has pruned what was asked for."""
        if isinstance(error, CodecError | FalseAnswerError):
            self.blame(peer, str(error))
        elif isinstance(error, PeerRefusedError) and error.status == 200:
            self.blame(peer, "more bytes than were asked for")
        elif not isinstance(error, PeerRefusedError | PeerUnreachableError | NothingThereError | TimeoutError):
            raise error
        return isinstance(error, PeerRefusedError) and error.status == STATUS_GONE

    def _overtaken(self, peers: Iterable[int]) -> None:
        for peer in peers:
            standing = self._standing(peer)
            standing.until_s = max(standing.until_s, self._now() + SLOW_S)

    def _reluctance(self, peer: int) -> tuple[float, int, int]:
        standing = self._standing(peer)
        return max(0.0, standing.until_s - self._now()), standing.in_flight, standing.faults

    def _standing(self, peer: int) -> _Standing:
        return self._standings.setdefault(peer, _Standing())

    def _now(self) -> float:
        return (self._clock_s or asyncio.get_running_loop().time)()


@dataclass(frozen=True, slots=True)
class Answered(Generic[Answer]):
    """A good answer, and who gave it."""

    answer: Answer
    peer: int
