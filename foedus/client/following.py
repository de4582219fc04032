"""Validator sets, from the genesis document on. One law: a set is believed when a quorum of the one before named it.

Headers name the set that decides their height and the one that decides the next. As long as the set stays the same,
one certificate is checked against the genesis document's set, whatever the height. Where a header names another set,
the node says at which heights sets changed, and which sets those are. None of it is believed: the last header under
each set, signed by its quorum, must name the next one by its hash. So a client follows over any number of changes with
two small requests each, however long it was away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from foedus.client.errors import NodeRefusedError, UnverifiedError
from foedus.client.wire import Wire
from ledger.application import STATE_VALUE_BYTES_MAX
from ledger.block import Header
from ledger.chain import CertifiedHeader
from ledger.codec import CodecError, decode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.light import verify_certified_header
from ledger.reigns import REIGNS_KEY, Reigns, set_key
from ledger.reigns import Reign as SaidReign
from ledger.state_map import StateMap
from ledger.succession import SuccessionStep, succeed
from ledger.validators import ValidatorSet

HEADER_BYTES_MAX = 1 << 16
_MESSAGE_PACK = {"Accept": "application/msgpack"}


@dataclass(frozen=True, slots=True)
class Reign:
    """A set and the first height that it decides; its last is where the next one begins."""

    first: int
    validators: ValidatorSet
    step: SuccessionStep | None = None
    """How the set before it named it; None for the genesis document's."""


@dataclass(slots=True)
class Trust:
    """What a session takes for given, and what follows from it."""

    chain_id: Digest
    validators: ValidatorSet | None
    """Set of the genesis document; None when nobody gave the document, so that the node is trusted."""

    genesis_state: StateMap | None = None
    """State before block 1 by the genesis document; None when nobody gave it."""

    reigns: list[Reign] = field(default_factory=list)
    """Sets that are known to have followed one another, ascending."""

    def __post_init__(self) -> None:
        if self.validators is not None:
            self.reigns.append(Reign(1, self.validators))

    def require(self, certified: CertifiedHeader) -> None:
        """Check that a quorum of the set of its height made a header final; without a document, nothing is checked.

        Raises:
            LightProofError: it did not.
        """
        if self.validators is not None:
            height = max(certified.header.height, 1)
            known = next(reign.validators for reign in reversed(self.reigns) if reign.first <= height)
            verify_certified_header(self.chain_id, known, certified)

    def steps_to(self, height: int) -> tuple[SuccessionStep, ...]:
        """Return how the genesis document's set leads to the one of `height`, as far as that has been followed."""
        return tuple(reign.step for reign in self.reigns if reign.step is not None and reign.first <= height)

    async def follow(self, wire: Wire, header: Header) -> None:
        """Learn which set decided the height of a header, which need not be believed.

        Raises:
            LightProofError: what leads there does not hold.
            UnverifiedError: nobody says which set it is.
        """
        if self.validators is None:
            return
        last = self.reigns[-1]
        if header.height < last.first or header.validators_hash == last.validators.hash:
            return
        for said in await self._said(wire):
            if last.first < said.first <= header.height:
                last = await self._succeed(wire, last, said)

    async def _succeed(self, wire: Wire, reign: Reign, said: SaidReign) -> Reign:
        """Learn who comes after `reign`, from the last header that it decided."""
        found = await self._header(wire, said.first - 1)
        verify_certified_header(self.chain_id, reign.validators, found)
        step = SuccessionStep(found.header, found.certificate, await self._set(wire, said.validators_hash))
        following = Reign(said.first, succeed(self.chain_id, reign.validators, step), step)
        self.reigns.append(following)
        return following

    async def _said(self, wire: Wire) -> tuple[SaidReign, ...]:
        """Return at which heights sets changed, as the node says."""
        try:
            value = (await wire.request("GET", f"/v1/state/{REIGNS_KEY.hex()}")).body
            return decode(value, Reigns, bytes_max=STATE_VALUE_BYTES_MAX).reigns
        except (NodeRefusedError, CodecError) as error:
            raise UnverifiedError(f"{wire.url} does not say when the validator set changed: {error}") from error

    async def _header(self, wire: Wire, height: int) -> CertifiedHeader:
        reply = await wire.request("GET", f"/v1/headers/{height}", headers=_MESSAGE_PACK, bytes_max=HEADER_BYTES_MAX)
        try:
            found = decode(reply.body, CertifiedHeader, bytes_max=HEADER_BYTES_MAX)
        except CodecError as error:
            raise UnverifiedError(f"{wire.url} gives no header at height {height}: {error}") from error
        if found.header.height != Height(height):
            raise UnverifiedError(f"{wire.url}: the header of height {height} was needed, got {found.header.height}")
        return found

    async def _set(self, wire: Wire, validators_hash: Digest) -> ValidatorSet:
        try:
            value = (await wire.request("GET", f"/v1/state/{set_key(validators_hash).hex()}")).body
            found = decode(value, ValidatorSet, bytes_max=STATE_VALUE_BYTES_MAX)
            found.require_valid()
        except (NodeRefusedError, ValueError) as error:
            raise UnverifiedError(f"{wire.url} does not say who is in set {validators_hash.hex()}: {error}") from error
        return found
