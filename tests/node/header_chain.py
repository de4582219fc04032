"""A chain of headers without blocks, whose validators change on the way: really signed, never executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.block import Header, block_id
from ledger.certificate import COMMIT, QuorumCertificate, make_certificate, sign_vote
from ledger.chain import Anchor, CertifiedHeader
from ledger.codec import encode
from ledger.digest import ZERO_DIGEST, Digest, digest
from ledger.fields import Height, View
from ledger.validators import ValidatorSet
from tests.recorded import key_of, member

CHAIN_ID = digest("test", b"headers")


def council(*names: str) -> ValidatorSet:
    """Return a set whose keys are known."""
    return ValidatorSet.of(tuple(member(name) for name in names))


@dataclass
class HeaderChain:
    """Grows header by header; serves like a store."""

    reigns: dict[int, ValidatorSet]
    """By the first height that they decide."""

    headers: list[CertifiedHeader] = field(default_factory=list)

    @classmethod
    def of(cls, length: int, reigns: dict[int, ValidatorSet]) -> HeaderChain:
        """Make a chain."""
        chain = cls(reigns)
        for _ in range(length):
            chain.grow()
        return chain

    @property
    def anchor(self) -> Anchor:
        """Before the first header."""
        return Anchor(CHAIN_ID, Height(0), CHAIN_ID, 0, self.set_at(1))

    def set_at(self, height: int) -> ValidatorSet:
        """Return who decides a height."""
        return self.reigns[max(first for first in self.reigns if first <= height)]

    def grow(self, *, by: Sequence[str] | None = None) -> CertifiedHeader:
        """Append a header, signed by a quorum of its set or by these names at their places."""
        height = Height(len(self.headers) + 1)
        parent = self.headers[-1].certificate.block_id if self.headers else CHAIN_ID
        header = Header(
            chain_id=CHAIN_ID,
            height=height,
            time_ms=10 * height,
            parent_id=parent,
            transactions_root=ZERO_DIGEST,
            state_root=digest("test", height.to_bytes(8, "big")),
            receipts_root=ZERO_DIGEST,
            validators_hash=self.set_at(height).hash,
            next_validators_hash=self.set_at(height + 1).hash,
            parameters_hash=ZERO_DIGEST,
            application_version=1,
            proposer=0,
        )
        found = CertifiedHeader(header, certificate(header, self.set_at(height), by))
        self.headers.append(found)
        return found

    def set_bytes(self, validators_hash: Digest) -> bytes | None:
        """Return the encoding of one of the sets."""
        return next((encode(one) for one in self.reigns.values() if one.hash == validators_hash), None)

    def encoded_headers(self, from_height: Height, *, limit: int, bytes_max: int) -> list[bytes]:
        """Serve."""
        assert bytes_max > 0
        return [encode(one) for one in self.headers[from_height - 1 : from_height - 1 + limit]]


def certificate(header: Header, validators: ValidatorSet, by: Sequence[str] | None = None) -> QuorumCertificate:
    """Sign a header by a quorum of its set, or by some of its members."""
    names = [one.name for one in validators.members][: validators.quorum] if by is None else by
    identity, height = block_id(header), Height(header.height)
    seals = [
        sign_vote(key_of(name, "validator"), CHAIN_ID, COMMIT, height, View(0), validators, identity) for name in names
    ]
    return make_certificate(height, View(0), identity, seals)
