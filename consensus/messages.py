"""What replicas say to each other. One law: every message proves by itself who said it.

There is no envelope and no connection to trust, so any node may pass a message on. A vote *is* the seal that will stand
in a certificate, so that certificates need no second signature.

| message | proven by | answers to |
|---|---|---|
| `PrePrepare` | the primary's PREPARE seal; a view-change certificate when view > 0 | work |
| `Prepare`, `Commit` | the voter's seal | an accepted proposal; Q PREPAREs |
| `ViewChange` | the sender's seal over the claim; a prepared certificate beside it | time-out, invalid proposal |
| `ViewChangeCertificate` | Q seals over claims, one prepared certificate | Q VIEW-CHANGEs |
| `Decided` | the commit certificate | a message for a lower height |
| `Status` | the sender's signature; the tip's commit certificate beside it | start, no progress, now and then |
| `BodyRequest` | the sender's signature | a certificate for a block whose body is missing |
| `Body` | the block id that was asked for | `BodyRequest` |
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from ledger.block import Block, CertifiedBlock
from ledger.certificate import QuorumCertificate, Seal
from ledger.codec import Record, decode, encode
from ledger.fields import DigestField, HeightField, PublicKeyField, SignatureField, Uint, ViewField
from ledger.view_change import PreparedClaim, ViewChangeCertificate, ViewChangeClaim

__all__ = [
    "MESSAGE_BYTES_MAX",
    "Body",
    "BodyRequest",
    "Commit",
    "Decided",
    "Message",
    "PrePrepare",
    "Prepare",
    "PreparedClaim",
    "Status",
    "ViewChange",
    "ViewChangeCertificate",
    "ViewChangeClaim",
    "Vote",
    "decode_message",
    "encode_message",
]

MESSAGE_BYTES_MAX: Final = 1 << 20
"""Longest message, 1 MiB: a block of the largest size with its certificates fits."""


class PrePrepare(Record, frozen=True, tag="pre-prepare"):
    """The primary's proposal; its seal is also its PREPARE."""

    height: HeightField
    view: ViewField
    block: Block
    seal: Seal
    """The primary's PREPARE for this height, view and block."""

    justification: ViewChangeCertificate | None
    """What opened the view; None in view 0."""


class Prepare(Record, frozen=True, tag="prepare"):
    """The sender found this block valid and alone at this height and view."""

    height: HeightField
    view: ViewField
    block_id: DigestField
    seal: Seal


class Commit(Record, frozen=True, tag="commit"):
    """The sender holds a quorum of PREPAREs, durably."""

    height: HeightField
    view: ViewField
    block_id: DigestField
    seal: Seal


class ViewChange(Record, frozen=True, tag="view-change"):
    """The sender votes in no view below this one any more."""

    height: HeightField
    view: ViewField
    """The new view."""

    claim: ViewChangeClaim
    certificate: QuorumCertificate | None
    """PREPARE certificate that proves `claim.prepared`; None when there is none."""


class Decided(Record, frozen=True, tag="decided"):
    """A block that is final."""

    certified: CertifiedBlock


class Status(Record, frozen=True, tag="status"):
    """Where a validator stands."""

    height: HeightField
    """The height it works on: one above its tip."""

    view: ViewField
    boot_epoch: Uint
    """How often its node has been started; a lower one than before tells of a restored data directory."""

    sender: PublicKeyField
    """A key, not an index: validator sets of other heights may have other indices."""

    signature: SignatureField
    """Over the fields above, in domain `status`."""

    certificate: QuorumCertificate | None
    """Commit certificate of the tip; None before the first block or when it is not at hand."""


class BodyRequest(Record, frozen=True, tag="body-request"):
    """The sender needs the block with this id."""

    height: HeightField
    block_id: DigestField
    seal: Seal
    """Over height and block id, in domain `body-request`."""


class Body(Record, frozen=True, tag="body"):
    """A block somebody asked for by its id; not a proposal and not a vote."""

    block: Block


Vote: TypeAlias = Prepare | Commit
Message: TypeAlias = (
    PrePrepare | Prepare | Commit | ViewChange | ViewChangeCertificate | Decided | Status | BodyRequest | Body
)


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of a message."""
    return encode(message)


def decode_message(data: bytes) -> Message:
    """Return the message in `data`; nothing in it is verified yet.

    Raises:
        ledger.codec.CodecError: longer than `MESSAGE_BYTES_MAX`, of no known kind, or not canonical.
    """
    return cast("Message", decode(data, cast("type[Record]", Message), bytes_max=MESSAGE_BYTES_MAX))
