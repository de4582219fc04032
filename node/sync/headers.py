"""The chain of headers: from what a node has to any certified height. One law: every certificate, by its own set.

Headers and certificates are small, so a node that does not execute the blocks between still follows every change of the
validator set, from genesis on. Signatures are checked in worker threads, span by span; then the spans are joined, in
order. A set that a header names comes with the headers and is believed when its hash is the one that was signed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import msgspec
from aiohttp import web
from msgspec import Meta

from ledger.block import Header, block_id
from ledger.certificate import COMMIT, CertificateError, verify_certificate
from ledger.chain import Anchor, CertifiedHeader, ChainDifferenceError, verify_headers
from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.validators import InvalidValidatorSetError, ValidatorSet
from node.background import Apart
from node.sync.sources import FalseAnswerError, NothingThereError, Sources
from node.sync.spans import SPANS_AHEAD, Span, in_order, requested_span

_own: Final = msgspec.msgpack.Decoder(CertifiedHeader)
"""For headers of this node's own disk, whose form has been checked."""

HEADERS_PATH: Final = "/peer/headers"
SPAN_HEADERS_MAX: Final = 256
"""Headers asked for at once, of one peer."""

HEADERS_MAX: Final = 512
"""Headers of one answer."""

HEADER_BYTES_MAX: Final = 65_536
"""A header with the largest validator set's certificate."""

SETS_MAX: Final = 64
SET_BYTES_MAX: Final = 65_536
RANGE_BYTES_MAX: Final = 1 << 20
ANSWER_BYTES_MAX: Final = RANGE_BYTES_MAX + SETS_MAX * SET_BYTES_MAX


class HeaderRange(Record):
    """Consecutive certified headers, and the sets that they name."""

    headers: Annotated[tuple[bytes, ...], Meta(max_length=HEADERS_MAX)]
    """Encodings of `CertifiedHeader`s."""

    sets: Annotated[tuple[bytes, ...], Meta(max_length=SETS_MAX)]
    """Encodings of the `ValidatorSet`s of the next height, where it is another one than that of its own height."""


@dataclass(frozen=True, slots=True)
class CheckedHeader:
    """A header as a peer sent it."""

    certified: CertifiedHeader
    signed: bool
    """Whether a quorum of the set that it names has been found to have signed it; False when the set is not known."""

    named: ValidatorSet | None
    """The set of the next height, when it is another one."""

    peer: int = -1


class ServedHeaders(Protocol):
    """Where this node's headers are."""

    def encoded_headers(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Return encoded `CertifiedHeader`s from a height on, ascending, the first one always."""
        ...


class HeaderExchange:
    """Serves headers and fetches those of others."""

    def __init__(
        self,
        sources: Sources,
        store: ServedHeaders,
        set_bytes: Callable[[Digest], bytes | None],
        *,
        apart: Apart,
    ) -> None:
        """Put the parts together.

        Args:
            sources: the peers.
            store: what is served.
            set_bytes: gives the encoding of a set that reigns or has reigned.
            apart: where checking is done.
        """
        self._sources: Final = sources
        self._store: Final = store
        self._set_bytes: Final = set_bytes
        self._apart: Final = apart

    def routes(self) -> list[web.RouteDef]:
        """What this node serves to its peers."""
        return [web.get(HEADERS_PATH, self._serve)]

    async def follow(
        self, anchor: Anchor, last: Height, peers: Sequence[int]
    ) -> AsyncGenerator[tuple[Anchor, list[CheckedHeader]]]:
        """Follow the chain to a height; gives the verified headers in parts, each with the anchor after it.

        Args:
            anchor: what the first header follows; its set is trusted.
            last: where to end.
            peers: whom to ask.

        Raises:
            NobodyHasItError: nobody has the next header.
            FalseAnswerError: the next headers do not follow; who gave them is blamed, begin again from the last anchor.
        """
        known = {anchor.validators.hash: anchor.validators}

        async def obtain(span: Span) -> list[CheckedHeader]:
            return await self._obtain(span, anchor.chain_id, dict(known), peers)

        whole = Span(anchor.height + 1, last)
        async with in_order(whole, obtain, heights_max=SPAN_HEADERS_MAX, ahead=SPANS_AHEAD) as parts:
            async for part in parts:
                anchor = self._join(anchor, part, known)
                yield anchor, list(part)

    def _join(self, anchor: Anchor, part: Sequence[CheckedHeader], known: dict[Digest, ValidatorSet]) -> Anchor:
        signed = {id(one.certified) for one in part if one.signed}
        sets = {one.named.hash: one.named for one in part if one.named is not None}
        try:
            for after in verify_headers(
                anchor, (one.certified for one in part), sets.get, is_signed=lambda one: id(one) in signed
            ):
                anchor = after
        except ChainDifferenceError as error:
            self._sources.blame(part[0].peer, str(error))
            raise FalseAnswerError(str(error)) from error
        known.clear()
        known[anchor.validators.hash] = anchor.validators
        return anchor

    async def _obtain(
        self, span: Span, chain_id: Digest, known: Mapping[Digest, ValidatorSet], peers: Sequence[int]
    ) -> list[CheckedHeader]:
        async def read(answer: bytes) -> list[CheckedHeader]:
            return await self._apart(lambda: check_headers(answer, span, chain_id, known))

        path = f"{HEADERS_PATH}?from={span.first}&to={span.last}"
        found = await self._sources.ask(path, peers, read, bytes_max=ANSWER_BYTES_MAX)
        return [CheckedHeader(one.certified, one.signed, one.named, found.peer) for one in found.answer]

    async def _serve(self, request: web.Request) -> web.Response:
        span = requested_span(request)
        limit = min(HEADERS_MAX, span.last - span.first + 1)
        raws = self._store.encoded_headers(Height(span.first), limit=limit, bytes_max=RANGE_BYTES_MAX)
        named: dict[Digest, bytes] = {}
        for place, raw in enumerate(raws):
            header = _own.decode(raw).header
            if header.next_validators_hash == header.validators_hash or header.next_validators_hash in named:
                continue
            encoded = self._set_bytes(header.next_validators_hash)
            if encoded is None or len(named) == SETS_MAX:
                raws = raws[:place]
                break
            named[header.next_validators_hash] = encoded
        body = encode(HeaderRange(tuple(raws), tuple(named.values())))
        return web.Response(body=body, content_type="application/msgpack")


def check_headers(
    answer: bytes, span: Span, chain_id: Digest, known: Mapping[Digest, ValidatorSet]
) -> list[CheckedHeader]:
    """Check the headers that answer for a span, each by itself.

    Raises:
        NothingThereError: there are none.
        CodecError, FalseAnswerError: no honest peer sends this.
    """
    said = decode(answer, HeaderRange, bytes_max=ANSWER_BYTES_MAX)
    if not said.headers:
        raise NothingThereError(f"no header at {span.first}")
    if len(said.headers) > span.last - span.first + 1:
        raise FalseAnswerError(f"{span.last - span.first + 1} headers were asked for, got {len(said.headers)}")
    sets = {found.hash: found for found in map(_decoded_set, said.sets)}
    usable = sets | dict(known)
    return [_check_header(raw, span.first + place, chain_id, usable, sets) for place, raw in enumerate(said.headers)]


def _check_header(
    raw: bytes,
    height: int,
    chain_id: Digest,
    usable: Mapping[Digest, ValidatorSet],
    sets: Mapping[Digest, ValidatorSet],
) -> CheckedHeader:
    certified = decode(raw, CertifiedHeader, bytes_max=HEADER_BYTES_MAX)
    header, certificate = certified.header, certified.certificate
    if (header.chain_id, header.height) != (chain_id, height):
        raise FalseAnswerError(f"header {height} of chain {chain_id.hex()} was asked for, got header {header.height}")
    if (certificate.height, certificate.block_id) != (height, block_id(header)):
        raise FalseAnswerError(f"header {height}: the certificate is another block's")
    validators = usable.get(header.validators_hash)
    if validators is not None:
        try:
            verify_certificate(chain_id, COMMIT, validators, certificate)
        except CertificateError as error:
            raise FalseAnswerError(str(error)) from error
    return CheckedHeader(certified, validators is not None, _named(header, sets))


def _named(header: Header, sets: Mapping[Digest, ValidatorSet]) -> ValidatorSet | None:
    if header.next_validators_hash == header.validators_hash:
        return None
    named = sets.get(header.next_validators_hash)
    if named is None:
        raise FalseAnswerError(f"header {header.height} names a set that did not come with it")
    return named


def _decoded_set(raw: bytes) -> ValidatorSet:
    found = decode(raw, ValidatorSet, bytes_max=SET_BYTES_MAX)
    try:
        found.require_valid()
    except InvalidValidatorSetError as error:
        raise FalseAnswerError(str(error)) from error
    return found
