"""Headers one after the other: each names its parent and is signed by the set of its own height, whoever else signs."""

from __future__ import annotations

import msgspec
import pytest

from ledger.block import Header
from ledger.chain import CertifiedHeader, ChainDifferenceError, verify_headers
from ledger.digest import digest
from tests.node.header_chain import HeaderChain, certificate, council

OLD, NEW = council("ash", "beech", "cedar", "elm"), council("fir", "hazel", "larch", "oak")
CHAIN = HeaderChain.of(6, {1: OLD, 4: NEW})


def followed(*headers: CertifiedHeader) -> int:
    """Return how far headers lead when their signers' own sets have been checked already, as worker threads do."""
    sets = {one.hash: one for one in (OLD, NEW)}
    return max(after.height for after in verify_headers(CHAIN.anchor, headers, sets.get, is_signed=lambda _: True))


def changed(height: int, **fields: object) -> CertifiedHeader:
    """Return a header with other fields, signed by a quorum of the set that it then names."""
    header: Header = msgspec.structs.replace(CHAIN.headers[height - 1].header, **fields)
    signers = NEW if header.validators_hash == NEW.hash else OLD
    return CertifiedHeader(header, certificate(header, signers))


def test_the_chain_leads_to_its_end() -> None:
    assert followed(*CHAIN.headers) == 6


def test_a_header_on_another_parent_is_refused_though_a_quorum_signed_it() -> None:
    with pytest.raises(ChainDifferenceError, match="parent_id"):
        followed(*CHAIN.headers[:1], changed(2, parent_id=digest("test", b"another")))


def test_a_header_of_the_old_set_is_refused_after_the_change() -> None:
    with pytest.raises(ChainDifferenceError, match="validators_hash"):
        followed(*CHAIN.headers[:3], changed(4, validators_hash=OLD.hash))


def test_a_header_of_the_new_set_is_refused_before_the_change() -> None:
    with pytest.raises(ChainDifferenceError, match="validators_hash"):
        followed(*CHAIN.headers[:2], changed(3, validators_hash=NEW.hash))
