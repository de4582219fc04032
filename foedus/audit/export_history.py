"""An export, audited. One law: a stranger's file is read member by member within limits, and never unpacked to disk."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from foedus.audit.export import RECEIPTS_BYTES_MAX, Manifest, member_number
from foedus.audit.history import Damage, HistoryError
from foedus.audit.report import Difference
from genesis.document import GENESIS_BYTES_MAX, GenesisDocument, read_document
from ledger.block import BLOCK_BYTES_MAX, CertifiedBlock
from ledger.chain import VerifiedBlock
from ledger.codec import CodecError, decode, encode
from ledger.digest import Digest
from ledger.fields import Height
from ledger.payload import PAYLOAD_BYTES_MAX, PayloadDescriptor, describe
from ledger.state_map import StateMap

BLOCK_RECORD_BYTES_MAX: Final = BLOCK_BYTES_MAX + 131_072
MANIFEST_BYTES_MAX: Final = 4_096
MEMBERS_MAX: Final = 20_000_000


class ExportHistory:
    """`foedus.audit.history.History` of an export."""

    def __init__(self, path: Path, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> None:
        """Take an open archive; `open` is what callers want."""
        self._path = path
        self._tar = tar
        self._members = members
        self._used: set[str] = set()
        self._manifest = _manifest(path, self._member("manifest.json", MANIFEST_BYTES_MAX))
        text = self._member("genesis.json", 4 * GENESIS_BYTES_MAX).decode("utf-8", errors="replace")
        self._document = read_document(text, source=f"{path}, genesis.json")

    @classmethod
    def open(cls, path: Path, document: GenesisDocument | None = None) -> ExportHistory:
        """Open an export.

        Args:
            path: the file.
            document: the genesis document that is trusted; None trusts the export's own (the report tells its chain).

        Raises:
            HistoryError: it is no export, or of another chain than the trusted document.
            InvalidGenesisError: its genesis document is faulty.
        """
        try:
            tar = tarfile.open(path, "r:")  # noqa: SIM115 - closed by `close`
        except (OSError, tarfile.TarError) as error:
            raise HistoryError(f"{path} is neither a data directory nor an export: {error}") from error
        try:
            history = cls(path, tar, _members(path, tar))
            history.require_chain(document)
        except BaseException:
            tar.close()
            raise
        return history

    def require_chain(self, document: GenesisDocument | None) -> None:
        """Check that the export is of the chain of `document`; None asks for nothing.

        Raises:
            HistoryError: it is of another.
        """
        if document is not None and document.chain_id != self.document.chain_id:
            raise HistoryError(
                f"{self._path} is of chain {self.document.chain_id.hex()}, the genesis document of chain "
                f"{document.chain_id.hex()}"
            )

    @property
    def document(self) -> GenesisDocument:
        """The agreement that the chain begins with."""
        return self._document

    @property
    def height(self) -> Height:
        """The last block's; 0 when there is none."""
        return Height(self._manifest.height)

    @property
    def pruned(self) -> None:
        """Nothing is ever left out of an export."""
        return

    def close(self) -> None:
        """Let go of the file."""
        self._tar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def certified_block(self, height: Height) -> CertifiedBlock:
        """Return a block.

        Raises:
            Damage: it is missing or does not decode.
        """
        try:
            data = self._member(f"blocks/{member_number(height)}", BLOCK_RECORD_BYTES_MAX)
            return decode(data, CertifiedBlock, bytes_max=BLOCK_RECORD_BYTES_MAX)
        except (HistoryError, CodecError) as error:
            raise Damage(Difference("chain", str(error), height)) from error

    def payload(self, descriptor: PayloadDescriptor) -> bytes | None:
        """Return a model, None when it is not in the export; updates never are.

        Raises:
            Damage: its bytes are not what the descriptor names.
        """
        name = f"models/{descriptor.id.hex()}"
        if name not in self._members:
            return None
        try:
            payload = self._member(name, min(descriptor.size, PAYLOAD_BYTES_MAX))
        except HistoryError as error:
            raise Damage(Difference("payload", str(error))) from error
        if describe(payload) != descriptor:
            raise Damage(Difference("payload", f"model {descriptor.id.hex()}: its bytes have another digest"))
        return payload

    def receipts(self, height: Height) -> tuple[bytes, ...]:
        """Return the encoded receipts of a block.

        Raises:
            Damage: they are missing or do not decode.
        """
        try:
            return tuple(msgspec.msgpack.decode(self._receipts_at(height), type=list[bytes]))
        except (HistoryError, ValueError, RecursionError) as error:
            raise Damage(Difference("row", f"receipts: {error}", height)) from error

    def block_differences(self, verified: VerifiedBlock) -> Iterator[Difference]:
        """Compare the receipts of a block."""
        height = verified.certified.block.header.height
        expected = encode(tuple(encode(receipt) for receipt in verified.execution.receipts))
        try:
            found = self._receipts_at(height)
        except HistoryError as error:
            yield Difference("row", str(error), height)
            return
        if found != expected:
            yield _receipt_difference(verified, found)

    def end_differences(self, state: StateMap | None) -> Iterator[Difference]:
        """Look for members that belong to nothing, and compare the manifest."""
        last = self._member_digest(self.height)
        if self._manifest.chain_id != self._document.chain_id.hex():
            yield Difference("row", f"manifest.json names chain {self._manifest.chain_id}, genesis.json is another")
        if last is not None and self._manifest.block_id != last.hex():
            yield Difference("row", f"manifest.json names last block {self._manifest.block_id}, it is {last.hex()}")
        if state is not None:
            for name in sorted(set(self._members) - self._used):
                yield Difference("row", f"{name}: belongs to nothing in the chain")

    def _receipts_at(self, height: int) -> bytes:
        return self._member(f"receipts/{member_number(height)}", RECEIPTS_BYTES_MAX)

    def _member_digest(self, height: Height) -> Digest | None:
        if height == 0:
            return self._document.chain_id
        try:
            return self.certified_block(height).block.id
        except Damage:
            return None

    def _member(self, name: str, bytes_max: int) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise HistoryError(f"{self._path}: {name} is missing")
        if member.size > bytes_max:
            raise HistoryError(f"{self._path}: {name} has {member.size} bytes, at most {bytes_max} are possible")
        try:
            file = self._tar.extractfile(member)
            content = b"" if file is None else file.read()
        except (OSError, tarfile.TarError) as error:
            raise HistoryError(f"{self._path}: {name} cannot be read: {error}") from error
        if len(content) != member.size:
            raise HistoryError(f"{self._path}: {name} is cut off")
        self._used.add(name)
        return content


def _members(path: Path, tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    members: dict[str, tarfile.TarInfo] = {}
    try:
        for member in tar:
            if not member.isreg() or member.name in members or len(members) >= MEMBERS_MAX:
                raise HistoryError(
                    f"{path}: {member.name} is no plain file, or there twice; no export has such members"
                )
            members[member.name] = member
    except (OSError, tarfile.TarError) as error:
        raise HistoryError(f"{path} cannot be read: {error}") from error
    return members


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"{path}: manifest.json is not that of an export: {error}") from error


def _receipt_difference(verified: VerifiedBlock, found: bytes) -> Difference:
    """Name the first receipt that differs, when the bytes still tell them apart."""
    height = verified.certified.block.header.height
    try:
        stored = msgspec.msgpack.decode(found, type=list[bytes])
    except (ValueError, RecursionError) as error:
        return Difference("row", f"receipts: {error}", height)
    for index, (receipt, data) in enumerate(zip(verified.execution.receipts[:-1], stored, strict=False)):
        if encode(receipt) != data:
            detail = f"the receipt is not the one that the replay gives ({receipt.code})"
            return Difference("row", detail, height, index, receipt.transaction.hex())
    return Difference("row", f"the replay gives {len(verified.execution.receipts)} receipts, these are others", height)
