"""Key files: where a secret lives between runs. One law: a secret that others could read is not used.

A key file is JSON with the public key in clear and the 32-byte seed either in clear or in a box that a passphrase opens
(XSalsa20-Poly1305 under a key that Argon2id derives from the passphrase). It is created with mode 0600; one that
group or others may read is refused.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import nacl.exceptions
import nacl.pwhash.argon2id
import nacl.secret
from msgspec import Meta

from genesis.reading import FaultsError, read, to_json
from ledger.fields import PublicKeyField
from ledger.identity import SEED_BYTES, SigningKey

KEY_FILE_BYTES_MAX: Final = 4_096
KEY_FILE_MODE: Final = 0o600
PASSPHRASE_VARIABLE: Final = "FOEDUS_PASSPHRASE"  # noqa: S105 - the name of a variable, not a secret
_OPS: Final = nacl.pwhash.argon2id.OPSLIMIT_MODERATE
_MEMORY_BYTES: Final = nacl.pwhash.argon2id.MEMLIMIT_MODERATE
_OPS_MAX: Final = 16
_MEMORY_BYTES_MAX: Final = 1 << 30


class KeyFileError(ValueError):
    """A key file cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class KeyCard:
    """What a key file tells without being opened."""

    owner: str
    public_key: bytes
    is_sealed: bool


class _Box(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A seed that a passphrase opens."""

    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]
    operations: Annotated[int, Meta(ge=1, le=_OPS_MAX)]
    memory_bytes: Annotated[int, Meta(ge=8192, le=_MEMORY_BYTES_MAX)]
    sealed: Annotated[bytes, Meta(min_length=72, max_length=72)]
    """24 bytes nonce, 16 bytes authenticator, 32 bytes seed."""


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key file holds."""

    kind: Literal["foedus-key/1"]
    owner: str
    public_key: PublicKeyField
    seed: Annotated[bytes, Meta(min_length=SEED_BYTES, max_length=SEED_BYTES)] | None = None
    box: _Box | None = None


def new_key() -> SigningKey:
    """Return a key nobody has had before, from the system's entropy."""
    return SigningKey(secrets.token_bytes(SEED_BYTES))


def write_key(path: Path, key: SigningKey, *, owner: str, passphrase: str | None = None) -> None:
    """Create a key file that only its owner may read.

    Args:
        path: must not exist yet: a key is never overwritten.
        key: the key.
        owner: whose it is, for people.
        passphrase: opens the file later; None keeps the seed in clear.

    Raises:
        KeyFileError: the file exists or cannot be written.
    """
    content = _KeyFile("foedus-key/1", owner, key.public_key)
    if passphrase is None:
        content = msgspec.structs.replace(content, seed=key.seed)
    else:
        content = msgspec.structs.replace(content, box=_seal(key.seed, passphrase))
    text = json.dumps(to_json(content), indent=2, sort_keys=True) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise KeyFileError(f"{path}: exists; a key is never overwritten, move it away first") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error


def read_key(path: Path, *, passphrase: str | None = None) -> SigningKey:
    """Return the key in a file.

    Args:
        path: the file.
        passphrase: of a sealed one; None takes it from the environment variable `FOEDUS_PASSPHRASE`.

    Raises:
        KeyFileError: missing, readable by others, malformed, or the passphrase is missing or wrong.
    """
    content = _parse(path, _read_private(path))
    if content.box is not None:
        seed = _open(path, content.box, passphrase or os.environ.get(PASSPHRASE_VARIABLE))
    elif content.seed is not None:
        seed = content.seed
    else:
        raise KeyFileError(f"{path}: holds neither a seed nor a box; restore the file from a backup")
    key = SigningKey(seed)
    if key.public_key != content.public_key:
        raise KeyFileError(
            f"{path}: says public key {content.public_key.hex()}, its seed gives {key.public_key.hex()}; "
            "restore the file from a backup"
        )
    return key


def public_key_in(path: Path) -> bytes:
    """Return the public key in a file, without opening its secret.

    Raises:
        KeyFileError: see `read_key`.
    """
    return _parse(path, _read_private(path)).public_key


def card_of_key(path: Path) -> KeyCard:
    """Return what a key file tells without being opened.

    Raises:
        KeyFileError: see `read_key`.
    """
    content = _parse(path, _read_private(path))
    return KeyCard(content.owner, content.public_key, is_sealed=content.box is not None)


def seal_again(path: Path, *, passphrase: str | None, new_passphrase: str | None) -> None:
    """Change what opens a key file, in one step: after a crash it is the old file or the new one.

    Args:
        path: the file.
        passphrase: opens it now; None for one in clear, or to take `FOEDUS_PASSPHRASE`.
        new_passphrase: opens it from now on; None leaves the seed in clear.

    Raises:
        KeyFileError: see `read_key`; or the file cannot be written.
    """
    key = read_key(path, passphrase=passphrase)
    owner = card_of_key(path).owner
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    try:
        write_key(partial, key, owner=owner, passphrase=new_passphrase)
        partial.rename(path)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def read_passphrase(path: Path) -> str:
    """Return the passphrase in a file: its first line.

    Raises:
        KeyFileError: missing, readable by others, or empty.
    """
    line = _read_private(path, what="passphrase file").split("\n", 1)[0].rstrip("\r")
    if not line:
        raise KeyFileError(f"{path}: its first line is the passphrase, and it is empty")
    return line


def _read_private(path: Path, *, what: str = "key file") -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise KeyFileError(f"{path}: others may read it (mode {mode & 0o777:04o}); run: chmod 600 {path}")
            content = file.read(KEY_FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise KeyFileError(f"{path}: no such {what}") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: a {what} has at most {KEY_FILE_BYTES_MAX} bytes")
    return content.decode("utf-8", errors="replace")


def _parse(path: Path, text: str) -> _KeyFile:
    faults: list[str] = []
    try:
        tree: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path}: not a key file (JSON): restore it from a backup") from error
    content = read(tree, _KeyFile, faults)
    if content is None:
        # Faults of a key file may quote its secret: only their places are told.
        places = [fault.partition(":")[0] for fault in faults]
        raise KeyFileError(str(FaultsError(str(path), [f"{place}: malformed" for place in places])))
    return content


def _seal(seed: bytes, passphrase: str) -> _Box:
    salt = secrets.token_bytes(nacl.pwhash.argon2id.SALTBYTES)
    box = nacl.secret.SecretBox(_derive(passphrase, salt, _OPS, _MEMORY_BYTES))
    return _Box(salt, _OPS, _MEMORY_BYTES, bytes(box.encrypt(seed)))


def _open(path: Path, box: _Box, passphrase: str | None) -> bytes:
    if not passphrase:
        raise KeyFileError(f"{path}: sealed with a passphrase; set {PASSPHRASE_VARIABLE}")
    secret = nacl.secret.SecretBox(_derive(passphrase, box.salt, box.operations, box.memory_bytes))
    try:
        return secret.decrypt(box.sealed)
    except nacl.exceptions.CryptoError as error:
        raise KeyFileError(f"{path}: the passphrase does not open it") from error


def _derive(passphrase: str, salt: bytes, operations: int, memory_bytes: int) -> bytes:
    return nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE, passphrase.encode(), salt, opslimit=operations, memlimit=memory_bytes
    )
