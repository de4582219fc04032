"""States between nodes: served and fetched in parts. One law: a part is right by its digest, whoever sent it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta

from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.fields import Height, HeightField
from ledger.state_map import StateMap
from ledger.state_parts import (
    PART_ANSWER_BYTES_MAX,
    CheckedPart,
    FalsePartError,
    StatePart,
    Subtree,
    check_part,
    part_of,
    whole,
)
from ledger.state_tree import DEPTH_MAX
from node.background import Apart
from node.sync.kept import STATES_MAX, KeptStates, endurance
from node.sync.sources import STATUS_GONE, FalseAnswerError, NobodyHasItError, Sources

OFFER_PATH: Final = "/peer/states"
STATE_PATH: Final = "/peer/state"
OFFER_BYTES_MAX: Final = 1_024
PARTS_AT_ONCE: Final = 4


class StateOffer(Record):
    """What a node can give to one that begins."""

    heights: Annotated[tuple[HeightField, ...], Meta(max_length=STATES_MAX)]
    """Heights whose state it has, ascending."""

    blocks_from: HeightField
    """The lowest height from which on it has every block."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What several peers offer; nothing of it is believed, a wrong choice costs an attempt."""

    by_peer: tuple[StateOffer, ...]

    def heights(self, above: int) -> list[Height]:
        """Return the heights worth trying, best first.

        Those that most peers offer, of those the ones that will be kept longest, of those the latest; only such that
        somebody has all blocks after it.
        """
        votes = Counter(height for offer in self.by_peer for height in set(offer.heights) if height > above)
        lowest = min((offer.blocks_from for offer in self.by_peer), default=1)
        found = [Height(height) for height in votes if height + 1 >= lowest]
        return sorted(found, key=lambda height: (votes[height], endurance(height), height), reverse=True)


class StateExchange:
    """Serves the states that are kept, and fetches one from others."""

    def __init__(self, sources: Sources, kept: KeptStates, blocks_from: Callable[[], Height], *, apart: Apart) -> None:
        """Put the parts together.

        Args:
            sources: the peers.
            kept: what is served.
            blocks_from: the lowest height from which on every block is here.
            apart: where checking is done.
        """
        self._sources: Final = sources
        self._kept: Final = kept
        self._blocks_from: Final = blocks_from
        self._apart: Final = apart

    def routes(self) -> list[web.RouteDef]:
        """What this node serves to its peers."""
        return [web.get(OFFER_PATH, self._offer), web.get(STATE_PATH, self._serve)]

    async def offers(self, peers: Sequence[int]) -> Offers:
        """Ask everybody what they offer; who does not answer offers nothing."""

        async def read(answer: bytes) -> StateOffer:
            return decode(answer, StateOffer, bytes_max=OFFER_BYTES_MAX)

        async def one(peer: int) -> StateOffer | None:
            try:
                return (await self._sources.ask(OFFER_PATH, [peer], read, bytes_max=OFFER_BYTES_MAX)).answer
            except NobodyHasItError:
                return None

        found = await asyncio.gather(*(one(peer) for peer in peers))
        return Offers(tuple(offer for offer in found if offer is not None))

    async def fetch(
        self,
        height: Height,
        state_root: Digest,
        peers: Sequence[int],
        *,
        on_entries: Callable[[int], None] = lambda _: None,
    ) -> StateMap:
        """Return the state with this root, part by part from several peers at once.

        Args:
            height: of the block after which it is.
            state_root: as a certified header says.
            peers: whom to ask.
            on_entries: told how many entries have come.

        Raises:
            NobodyHasItError: nobody has it any more.
        """
        items: dict[bytes, bytes] = {}
        waiting: list[Subtree] = list(whole(state_root))
        running: set[asyncio.Task[CheckedPart]] = set()
        try:
            while waiting or running:
                while waiting and len(running) < PARTS_AT_ONCE:
                    running.add(asyncio.create_task(self._obtain(height, waiting.pop(), peers)))
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    part = task.result()
                    items.update(part.entries)
                    waiting.extend(reversed(part.rest))
                on_entries(len(items))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        state = await self._apart(lambda: StateMap.build(items.items()))
        assert state.root == state_root, "parts that lead to one root make the state under it"
        return state

    async def _obtain(self, height: Height, subtree: Subtree, peers: Sequence[int]) -> CheckedPart:
        def check(answer: bytes) -> CheckedPart:
            part = decode(answer, StatePart, bytes_max=PART_ANSWER_BYTES_MAX)
            try:
                return check_part(part, subtree)
            except FalsePartError as error:
                raise FalseAnswerError(str(error)) from error

        async def read(answer: bytes) -> CheckedPart:
            return await self._apart(lambda: check(answer))

        path = f"{STATE_PATH}?height={height}&path={subtree.path}"
        return (await self._sources.ask(path, peers, read, bytes_max=PART_ANSWER_BYTES_MAX)).answer

    async def _offer(self, _: web.Request) -> web.Response:
        offer = StateOffer(self._kept.heights, self._blocks_from())
        return web.Response(body=encode(offer), content_type="application/msgpack")

    async def _serve(self, request: web.Request) -> web.Response:
        path = request.query.get("path", "")
        try:
            height = int(request.query["height"])
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text="needs ?height=HEIGHT&path=BITS") from error
        if len(path) > DEPTH_MAX or path.strip("01"):
            raise web.HTTPBadRequest(text=f"a path is at most {DEPTH_MAX} of the digits 0 and 1")
        state = self._kept.get(height)
        if state is None:
            return web.Response(status=STATUS_GONE, text=f"the state after {height} is not kept here")
        part = part_of(state, path)
        if part is None:
            raise web.HTTPNotFound(text=f"the state after {height} has no subtree at {path!r}")
        return web.Response(body=encode(part), content_type="application/msgpack")
