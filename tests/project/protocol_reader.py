"""A second reader of the protocol: hashes, signatures, trees, certificates, light proofs. One law: no rooms.

Written from docs/protocol.md alone, with SHA-256, Ed25519 and a MessagePack library. `protocol_records` reads records,
`protocol_arithmetic` computes rounds, `protocol_learning` and `protocol_execution` replay chains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final

import nacl.bindings
import nacl.exceptions

from tests.project.protocol_records import Rec, Value, encode

# Sections 1 and 3: digests and signatures


def as_bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def digest(tag: str, *parts: bytes) -> bytes:
    return sha256(b"foedus/1/" + tag.encode() + b"\0" + b"".join(u64(len(part)) + part for part in parts)).digest()


def is_signed(key: bytes, domain: str, chain_id: bytes, message: bytes, signature: bytes) -> bool:
    signed = digest("sign", domain.encode(), chain_id, message)
    try:
        nacl.bindings.crypto_sign_open(signature + signed, key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def is_usable_key(key: bytes) -> bool:
    return nacl.bindings.crypto_core_ed25519_is_valid_point(key)


# Section 4: Merkle lists


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\0" + leaf).digest()


def _inner(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def tree_head(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) <= 1:
        return leaf_hash(leaves[0]) if leaves else sha256().digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return _inner(tree_head(leaves[:k]), tree_head(leaves[k:]))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    return digest("merkle", u64(len(leaves)), tree_head(leaves))


def is_included(root: bytes, leaf: bytes, proof: Rec) -> bool:
    place, last, top = proof.number("index"), proof.number("count") - 1, leaf_hash(leaf)
    if place > last:
        return False
    for sibling in proof.items("path"):
        if last == 0:
            return False
        if place % 2 == 1 or place == last:
            top = _inner(as_bytes(sibling), top)
            while place % 2 == 0 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            top = _inner(top, as_bytes(sibling))
        place, last = place >> 1, last >> 1
    return last == 0 and digest("merkle", u64(proof.number("count")), top) == root


# Section 5: the state map

EMPTY: Final = bytes(32)


def state_leaf(position: bytes, value_digest: bytes) -> bytes:
    return sha256(b"\0" + position + value_digest).digest()


def state_root(state: Mapping[bytes, bytes]) -> bytes:
    return subtree([(sha256(key).digest(), sha256(value).digest()) for key, value in state.items()], 0)


def subtree(leaves: list[tuple[bytes, bytes]], depth: int) -> bytes:
    """Root over leaves of position and value digest that share the first `depth` bits."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return state_leaf(*leaves[0])
    sides = [[leaf for leaf in leaves if _bit(leaf[0], depth) == side] for side in (0, 1)]
    return _inner(subtree(sides[0], depth + 1), subtree(sides[1], depth + 1))


def holds(root: bytes, key: bytes, value: bytes | None, proof: Rec) -> bool:
    """Verify that the map under `root` holds `value` at `key`; None for nothing."""
    siblings = [as_bytes(sibling) for sibling in proof.items("siblings")]
    position, other = sha256(key).digest(), proof.fields["other"]
    if value is not None:
        if other is not None:
            return False
        end = state_leaf(position, sha256(value).digest())
    elif isinstance(other, Rec):
        theirs = other.data("position")
        if theirs == position or any(_bit(theirs, depth) != _bit(position, depth) for depth in range(len(siblings))):
            return False
        end = state_leaf(theirs, other.data("value_digest"))
    else:
        end = EMPTY
    if siblings and siblings[-1] == EMPTY:
        return False
    for depth in reversed(range(len(siblings))):
        pair = (siblings[depth], end) if _bit(position, depth) else (end, siblings[depth])
        end = _inner(*pair)
    return end == root


def _bit(position: bytes, depth: int) -> int:
    return position[depth // 8] >> (7 - depth % 8) & 1


# Sections 6, 7 and 10: quorums and certificates


def quorum(n: int) -> int:
    return (n + (n - 1) // 3 + 2) // 2


def set_hash(validators: Rec) -> bytes:
    return digest("validators", encode(validators))


def seal_faults(validators: Rec, seals: list[Rec], what: str, is_valid: Callable[[bytes, Rec], bool]) -> Iterator[str]:
    """Yield why the seals are no quorum, in the words of section 9, or nothing."""
    members = validators.recs("members")
    signers = [seal.number("validator") for seal in seals]
    if any(later <= earlier for earlier, later in pairwise(signers)):
        yield f"{what}: signers must be distinct and ascending, got {signers}"
    elif len(signers) < quorum(len(members)):
        yield f"{what}: needs {quorum(len(members))} of {len(members)} signatures, got {len(signers)}"
    elif signers[-1] >= len(members):
        yield f"{what}: validator {signers[-1]} does not exist among {len(members)}"
    else:
        for seal in seals:
            if not is_valid(members[seal.number("validator")].data("public_key"), seal):
                yield f"{what}: bad signature of validator {seal.number('validator')}"


def statement_fault(chain_id: bytes, validators: Rec, seals: list[Rec], domain: str, message: bytes) -> str | None:
    """Return why the seals are no quorum's word, or None."""

    def is_valid(key: bytes, seal: Rec) -> bool:
        return is_signed(key, domain, chain_id, message, seal.data("signature"))

    return next(seal_faults(validators, seals, domain, is_valid), None)


def vote_message(kind: str, certificate: Rec, validators: Rec, validator: int) -> bytes:
    height, view, block_id = certificate.number("height"), certificate.number("view"), certificate.data("block_id")
    return encode((1, kind, height, view, set_hash(validators), validator, block_id))


def is_certified(chain_id: bytes, kind: str, validators: Rec, certificate: Rec) -> bool:
    """Tell whether a quorum voted so."""

    def is_valid(key: bytes, seal: Rec) -> bool:
        message = vote_message(kind, certificate, validators, seal.number("validator"))
        return is_signed(key, "vote", chain_id, message, seal.data("signature"))

    return next(seal_faults(validators, certificate.recs("seals"), kind, is_valid), None) is None


def block_id(header: Rec) -> bytes:
    return digest("block", encode(header))


def is_final(chain_id: bytes, validators: Rec, header: Rec, certificate: Rec) -> bool:
    """Tell whether a commit certificate of this header's set makes it final."""
    named = (certificate.number("height"), certificate.data("block_id"))
    return (
        header.data("chain_id") == chain_id
        and header.data("validators_hash") == set_hash(validators)
        and named == (header.number("height"), block_id(header))
        and is_certified(chain_id, "commit", validators, certificate)
    )


# Section 17: light proofs


def is_followed(chain_id: bytes, validators: Rec, followed: Rec) -> bool:
    """Verify a proof and the way to it."""
    height = 0
    for step in followed.recs("steps"):
        header, following = step.rec("header"), step.rec("validators")
        names = header.data("next_validators_hash") == set_hash(following)
        if header.number("height") <= height or not names:
            return False
        if not is_final(chain_id, validators, header, step.rec("certificate")):
            return False
        validators, height = following, header.number("height")
    return is_proven(chain_id, validators, followed.rec("proof"))


def is_proven(chain_id: bytes, validators: Rec, proof: Rec) -> bool:
    """Verify a light proof."""
    header, fact = proof.rec("header"), proof.rec("fact")
    if not is_final(chain_id, validators, header, proof.rec("certificate")):
        return False
    if fact.kind == "TransactionFact":
        return is_included(header.data("transactions_root"), fact.data("raw"), fact.rec("path"))
    if fact.kind == "ReceiptFact":
        return is_included(header.data("receipts_root"), encode(fact.rec("receipt")), fact.rec("path"))
    value = fact.fields["value"]
    assert value is None or isinstance(value, bytes)
    return holds(header.data("state_root"), fact.data("key"), value, fact.rec("path"))
