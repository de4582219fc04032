"""A node's log of consensus events. One law: a log says everything that its replica was told, and no secret.

A segment begins with what the replica was made from; every entry is an event, what was signed in its step, and a digest
of each effect. Signatures are in it because no key is: a replay looks them up instead of signing. When a segment is
full, the next height begins with a new replica, as after a restart, and with it a new segment; the newest two are kept.
Entries are handed to the operating system, not fsynced: a power cut may cost the last ones, SIGKILL none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import structlog

from consensus import Effect, Event, Replica
from ledger.block import CertifiedBlock
from ledger.codec import CodecError, Record, decode, encode
from ledger.digest import Digest
from ledger.fields import DigestField, HeightField, PublicKeyField, TimeField, Uint
from ledger.identity import PublicKey, Signature, Signer, signing_input
from ledger.parameters import ConsensusParameters
from ledger.validators import ValidatorSet

SEGMENTS_KEPT: Final = 2
FRAME_BYTES_MAX: Final = 64 << 20
EFFECT_DIGEST_BYTES: Final = 16
SUFFIX: Final = ".log"
_FRAME_HEAD_BYTES: Final = 8

log = structlog.get_logger(__name__)


class RecordingError(ValueError):
    """A log cannot be read."""


class Beginning(Record, tag="beginning"):
    """What a replica is made from."""

    version: str
    """Of the program that recorded."""

    chain_id: DigestField
    public_key: PublicKeyField
    parameters: ConsensusParameters
    validators: ValidatorSet
    height: HeightField
    parent_id: DigestField
    safety: tuple[bytes, ...]
    boot_epoch: Uint
    tip: CertifiedBlock | None
    observe_until_ms: TimeField | None
    coming: ValidatorSet | None

    def replica(self, signer: Signer) -> Replica:
        """Return the replica.

        Raises:
            SafetyRecordError: the safety records contradict each other.
        """
        return Replica(
            Digest(self.chain_id),
            signer,
            self.parameters,
            self.validators,
            height=self.height,
            parent_id=Digest(self.parent_id),
            safety=self.safety,
            boot_epoch=self.boot_epoch,
            tip=self.tip,
            observe_until_ms=self.observe_until_ms,
            coming=self.coming,
        )


class Entry(Record, tag="entry"):
    """One step."""

    event: str
    """Its kind, a name of `consensus`."""

    body: bytes
    """The event's fields."""

    signatures: tuple[tuple[bytes, bytes], ...]
    """What was signed, in its order: 32 bytes that were signed, 64 of the signature."""

    effects: tuple[tuple[str, bytes], ...]
    """Kind and the beginning of the digest of each effect."""


class Recorder(Protocol):
    """Who is told of every step."""

    @property
    def is_full(self) -> bool:
        """Tell whether the next height should begin with `begin`."""
        ...

    def begin(self, beginning: Beginning, key: Signer) -> Replica:
        """Return a new replica, whose steps are taken from now on."""
        ...

    def take(self, event: Event, effects: Sequence[Effect]) -> None:
        """Take a step, before its effects are carried out."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


class NoRecorder:
    """Records nothing."""

    is_full: bool = False

    def begin(self, beginning: Beginning, key: Signer) -> Replica:
        """Return a new replica."""
        return beginning.replica(key)

    def take(self, event: Event, effects: Sequence[Effect]) -> None:
        """Forget it."""

    def close(self) -> None:
        """Do nothing."""


class FileRecorder:
    """Records into a directory, bounded."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        """Record at most `bytes_max`, and what one height needs beyond it."""
        self._directory: Final = directory
        self._segment_bytes_max: Final = bytes_max // SEGMENTS_KEPT
        self._file: BinaryIO | None = None
        self._size = 0
        self._signatures: list[tuple[bytes, bytes]] = []

    @property
    def is_full(self) -> bool:
        """Tell whether the segment has had its bytes."""
        return self._size >= self._segment_bytes_max

    def begin(self, beginning: Beginning, key: Signer) -> Replica:
        """Return a new replica and begin its segment; a disk that refuses ends the recording, not the node."""
        self._signatures.clear()
        try:
            self.close()
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            older = sorted(self._directory.glob("*" + SUFFIX))
            for path in older[: max(0, len(older) - SEGMENTS_KEPT + 1)]:
                path.unlink()
            name = f"{beginning.boot_epoch:08}-{beginning.height:012}{SUFFIX}"
            self._file = (self._directory / name).open("wb")
            self._write(beginning)
        except OSError as error:
            self._give_up(error)
        return beginning.replica(_NotingSigner(key, self._signatures))

    def take(self, event: Event, effects: Sequence[Effect]) -> None:
        """Write one entry."""
        signatures = tuple(self._signatures)
        self._signatures.clear()
        if self._file is None:
            return
        said = tuple((type(effect).__name__, effect_digest(effect)) for effect in effects)
        try:
            self._write(Entry(type(event).__name__, encode(event), signatures, said))
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Take no more; the segment ends here."""
        if self._file is not None:
            self._file.close()
        self._file, self._size = None, 0

    def _write(self, record: Record) -> None:
        assert self._file is not None, "a segment is open"
        body = encode(record)
        self._file.write(len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body)
        self._file.flush()
        self._size += _FRAME_HEAD_BYTES + len(body)

    def _give_up(self, error: OSError) -> None:
        log.warning("recording.ended", error=str(error), directory=str(self._directory))
        self._file, self._size = None, 0


class _NotingSigner:
    """Signs, and notes what it signed."""

    def __init__(self, key: Signer, notes: list[tuple[bytes, bytes]]) -> None:
        self._key = key
        self._notes = notes

    @property
    def public_key(self) -> PublicKey:
        """Whose signatures these are."""
        return self._key.public_key

    def sign(self, domain: str, chain_id: Digest, message: bytes) -> Signature:
        """Sign as the key does."""
        signature = self._key.sign(domain, chain_id, message)
        self._notes.append((signing_input(domain, chain_id, message), signature))
        return signature


def effect_digest(effect: Effect) -> bytes:
    """Return what a log keeps of an effect."""
    return sha256(encode(effect)).digest()[:EFFECT_DIGEST_BYTES]


def read_segment(path: Path) -> Iterator[Beginning | Entry]:
    """Yield a segment's beginning and its entries; a torn end is cut.

    Raises:
        RecordingError: it is no segment, or damaged before its end.
    """
    with path.open("rb") as file:
        first = True
        while head := file.read(_FRAME_HEAD_BYTES):
            length = int.from_bytes(head[:4], "big")
            if len(head) < _FRAME_HEAD_BYTES or length > FRAME_BYTES_MAX:
                break
            body = file.read(length)
            if len(body) < length:
                break
            if zlib.crc32(body) != int.from_bytes(head[4:], "big"):
                raise RecordingError(f"{path}: damaged {file.tell() - length} bytes from its beginning")
            yield _read(path, body, Beginning if first else Entry)
            first = False
    if first:
        raise RecordingError(f"{path}: not a log of consensus events, or cut before its first entry")


def _read(path: Path, body: bytes, kind: type[Beginning | Entry]) -> Beginning | Entry:
    try:
        return decode(body, kind, bytes_max=FRAME_BYTES_MAX)
    except CodecError as error:
        raise RecordingError(f"{path}: {error}") from error
