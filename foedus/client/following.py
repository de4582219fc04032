"""Validator sets, from the genesis document on. One law: a set is believed when a quorum of the one before named it.

Headers name the set that decides their height and the one that decides the next. As long as the set stays the same,
one certificate is checked against the genesis document's set, whatever the height. Where a header names another set,
the height of the change is found by halving, since all headers before it carry the trusted set's own certificates;
the header at the change, signed by the old set, names the new one.

The new set's members are read from the state, whose proof is not needed: the hash that was signed says whether they are
the right ones. A node keeps the present set alone, so two changes that a client has missed cannot be followed; then a
newer genesis document, or a node's operator, has to say the set between them (`foedus audit` replays everything).
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
from ledger.light import LightProofError, successor, verify_certified_header
from ledger.reigns import VALIDATORS_KEY
from ledger.state_map import StateMap
from ledger.validators import ValidatorSet

HEADER_BYTES_MAX = 1 << 16
_MESSAGE_PACK = {"Accept": "application/msgpack"}


@dataclass(frozen=True, slots=True)
class Reign:
    """A set and the first height that it decides; its last is where the next one begins."""

    first: int
    validators: ValidatorSet


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

    async def follow(self, wire: Wire, header: Header) -> None:
        """Learn which set decided the height of a header, which need not be believed.

        Raises:
            LightProofError: what leads there does not hold.
            UnverifiedError: nobody says which set it is.
        """
        if self.validators is None:
            return
        last = self.reigns[-1]
        if header.height >= last.first and header.validators_hash != last.validators.hash:
            await self._find_end(wire, last, header)

    async def _find_end(self, wire: Wire, reign: Reign, header: Header) -> None:
        """Find where `reign` ends on the way to `header` and learn who comes after."""
        before: Header | None = None
        low, high = reign.first - 1, int(header.height)
        while high - low > 1:
            middle = (low + high) // 2
            found = await self._header(wire, middle)
            if found.header.validators_hash == reign.validators.hash:
                verify_certified_header(self.chain_id, reign.validators, found)
                before, low = found.header, middle
            else:
                high = middle
        if before is None:
            raise LightProofError(
                f"height {header.height} is said to be decided by validator set {header.validators_hash.hex()}, and no "
                f"block of the trusted set {reign.validators.hash.hex()} leads there"
            )
        candidate = await self._candidate(wire)
        if candidate.hash != before.next_validators_hash:
            raise UnverifiedError(
                f"{wire.url}: height {high} was decided by validator set {before.next_validators_hash.hex()}, which is "
                "no longer the present one: its members are needed to go on; replay the chain by `foedus audit`, or "
                "connect with a newer genesis document"
            )
        self.reigns.append(Reign(high, successor(before, candidate)))

    async def _header(self, wire: Wire, height: int) -> CertifiedHeader:
        reply = await wire.request("GET", f"/v1/headers/{height}", headers=_MESSAGE_PACK, bytes_max=HEADER_BYTES_MAX)
        try:
            found = decode(reply.body, CertifiedHeader, bytes_max=HEADER_BYTES_MAX)
        except CodecError as error:
            raise UnverifiedError(f"{wire.url} gives no header at height {height}: {error}") from error
        if found.header.height != Height(height):
            raise UnverifiedError(f"{wire.url}: the header of height {height} was needed, got {found.header.height}")
        return found

    async def _candidate(self, wire: Wire) -> ValidatorSet:
        try:
            value = (await wire.request("GET", f"/v1/state/{VALIDATORS_KEY.hex()}")).body
            candidate = decode(value, ValidatorSet, bytes_max=STATE_VALUE_BYTES_MAX)
            candidate.require_valid()
        except (NodeRefusedError, ValueError) as error:
            raise UnverifiedError(f"{wire.url} does not say who decides: {error}") from error
        return candidate
