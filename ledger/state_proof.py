"""State proofs: what a state root says about one key. One law: for one root and key at most one proof verifies.

A proof is the way from the root to where the key belongs. It ends at the key's own leaf (present), at nothing, or at
the only other leaf that shares the way so far (both: absent). Whoever has the root can check it without the map.

Bounds and malformed proofs: a way has at most 256 siblings (a position has no more bits), each exactly 32 bytes; the
field types refuse others when bytes are decoded, and `verify_state` refuses them again. Within that bound the length
is not free: nodes on the way are hashed under the first byte 0x01 and the leaf at its end under 0x00, so a shorter or
longer way reaches the same root only through a SHA-256 collision. The last sibling is never empty, since whatever is
beside an empty subtree has moved up.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta

from ledger.codec import Record
from ledger.digest import DIGEST_BYTES, Digest
from ledger.fields import DigestField
from ledger.state_tree import DEPTH_MAX, EMPTY_DIGEST, bit, inner_digest, leaf_digest

STATE_PROOF_BYTES_MAX: Final = 16 + (DEPTH_MAX + 2) * (DIGEST_BYTES + 2)
"""Encoded size of the longest proof; in a map of n keys it is about 34 * log2(n) bytes."""


class OtherLeaf(Record, frozen=True):
    """The leaf that is found where an absent key would be."""

    position: DigestField
    """SHA-256 of its key, which is not told."""

    value_digest: DigestField
    """SHA-256 of its value."""


class StateProof(Record, frozen=True):
    """What leads from the place of one key to the state root."""

    siblings: Annotated[tuple[DigestField, ...], Meta(max_length=DEPTH_MAX)]
    """Digests of the subtrees beside the way, *from the root down*: bit i of the position says on which side
    of `siblings[i]` the way goes on. An empty subtree is 32 zero bytes."""

    other: OtherLeaf | None
    """None when the key is present or its place is empty."""


def verify_state(root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    """Tell whether the map under `root` holds exactly `value` at `key`; None asks whether it holds nothing there.

    Never raises for a proof of the declared types, whatever its values.
    """
    position = sha256(key).digest()
    value_digest = None if value is None else sha256(value).digest()
    return verify_position(root, position, value_digest, proof)


def verify_position(root: bytes, position: bytes, value_digest: bytes | None, proof: StateProof) -> bool:
    """Tell whether the tree under `root` has a leaf with `value_digest` at `position`, or none for None.

    Both are 32 bytes; who takes them from elsewhere than a hash function must see to that, as this function does
    for the parts of the proof: a leaf's bytes cut at another place would be another leaf with the same hash.

    Refused are: more than 256 siblings, or one that is not 32 bytes; another leaf beside a present key; another leaf
    that is the key's own or does not share the way; an empty last sibling; a way that leads to another root.
    """
    if len(proof.siblings) > DEPTH_MAX or any(len(sibling) != DIGEST_BYTES for sibling in proof.siblings):
        return False
    end = _end_of_way(position, value_digest, proof)
    if end is None or (proof.siblings and proof.siblings[-1] == EMPTY_DIGEST):
        return False
    way = int.from_bytes(position, "big")
    for depth in reversed(range(len(proof.siblings))):
        sibling = proof.siblings[depth]
        end = inner_digest(sibling, end) if bit(way, depth) else inner_digest(end, sibling)
    return end == root


def _end_of_way(position: bytes, value_digest: bytes | None, proof: StateProof) -> Digest | None:
    """Return the digest of what the proof says is at the end of the way, None if that cannot be."""
    if value_digest is not None:
        return leaf_digest(position, value_digest) if proof.other is None else None
    if proof.other is None:
        return EMPTY_DIGEST
    other = proof.other
    if len(other.position) != DIGEST_BYTES or len(other.value_digest) != DIGEST_BYTES or other.position == position:
        return None
    differing = int.from_bytes(position, "big") ^ int.from_bytes(other.position, "big")
    shared_bits = DEPTH_MAX - differing.bit_length()
    return leaf_digest(other.position, other.value_digest) if shared_bits >= len(proof.siblings) else None
