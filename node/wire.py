"""What nodes send each other: channels, and the frames of the payload channel. One law: a frame proves its author.

Frames may arrive through a third node, so a receiver never concludes anything from the connection that a frame came by.
Consensus messages, transactions and result signatures are signed by their own rooms; here are the payload frames,
which are signed statements as well.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ledger.certificate import Seal, sign_statement, verify_statement
from ledger.codec import Record, decode, encode
from ledger.digest import Digest
from ledger.fields import DigestField, Height, HeightField, PublicKeyField, SignatureField
from ledger.identity import SigningKey, verify
from ledger.payload import Acknowledgement, PayloadDescriptor
from ledger.validators import ValidatorSet

FRAME_BYTES_MAX: Final = 1 << 20
"""Longest frame of any channel."""

PAYLOAD_FRAME_BYTES_MAX: Final = 512
IN_SYNC_BYTES_MAX: Final = 256


class Channel(IntEnum):
    """What a frame is about; its number stands in the frame's first byte."""

    CONSENSUS = 1
    """Signed consensus messages, `STATUS` and `DECIDED` included. Never dropped for others."""

    TRANSACTION = 2
    """Signed transactions."""

    RESULT = 3
    """Signed results of aggregation."""

    PAYLOAD = 4
    """`PayloadFrame`s: who has what."""

    LEARNER = 5
    """`InSync`: a newcomer tells how far it has come."""


class Announcement(Record, tag="announcement", frozen=True):
    """A validator's word that it publishes a payload, and its request to keep it."""

    payload: PayloadDescriptor
    seal: Seal
    """Over the payload's descriptor, so that nobody uses up another one's quota."""


class Acknowledged(Record, tag="acknowledged", frozen=True):
    """A validator's acknowledgement, as it travels: also tells everyone one more holder."""

    acknowledgement: Acknowledgement
    seal: Seal


class InSync(Record, frozen=True):
    """A newcomer's word that it has executed the chain up to a block."""

    height: HeightField
    block_id: DigestField
    public_key: PublicKeyField
    """The key that it will vote with."""

    signature: SignatureField
    """Over height and block id, in domain `learner`."""


PayloadFrame = Announcement | Acknowledged


def encode_payload_frame(frame: PayloadFrame) -> bytes:
    """Return the bytes that travel on `Channel.PAYLOAD`."""
    return encode(frame)


def decode_payload_frame(data: bytes) -> PayloadFrame:
    """Return the frame that `data` encodes; its seal is not yet verified.

    Raises:
        CodecError: it encodes none.
    """
    return decode(data, PayloadFrame, bytes_max=PAYLOAD_FRAME_BYTES_MAX)  # type: ignore[arg-type]


def sign_announcement(
    key: SigningKey, chain_id: Digest, validators: ValidatorSet, payload: PayloadDescriptor
) -> Announcement:
    """Announce a payload as the member of `validators` that owns `key`.

    Raises:
        CertificateError: the key is no member's.
    """
    return Announcement(payload, sign_statement(key, "announcement", chain_id, validators, encode(payload)))


def verify_announcement(chain_id: Digest, validators: ValidatorSet, announcement: Announcement) -> bool:
    """Tell whether the member that the seal names made this announcement."""
    content = encode(announcement.payload)
    return verify_statement("announcement", chain_id, validators, content, announcement.seal)


def verify_acknowledged(chain_id: Digest, validators: ValidatorSet, frame: Acknowledged) -> bool:
    """Tell whether the member that the seal names made this acknowledgement."""
    content = encode(frame.acknowledgement)
    return verify_statement("acknowledgement", chain_id, validators, content, frame.seal)


def sign_in_sync(key: SigningKey, chain_id: Digest, height: Height, block_id: Digest) -> InSync:
    """Say that the holder of `key` has executed the chain up to this block."""
    signature = key.sign("learner", chain_id, encode((height, block_id)))
    return InSync(height, block_id, key.public_key, signature)


def verify_in_sync(chain_id: Digest, said: InSync) -> bool:
    """Tell whether the key that is named said so."""
    return verify(said.public_key, "learner", chain_id, encode((said.height, said.block_id)), said.signature)
