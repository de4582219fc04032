"""Bearer tokens of the HTTP API. One law: the disk holds nothing that opens anything.

A token is 32 random bytes; the file `tokens.json` in the node's data directory holds the SHA-256 of each, with a name
and a scope. `foedus token` writes the file while the node runs; the node looks whether it has changed at every request
that brings a token, so a revoked token is worth nothing at once. What cannot be read opens nothing either.

| scope | may |
|---|---|
| `read` | ask whatever only reads, where `[api] read = "token"` |
| `submit` | that, and upload payloads without a participant's signature |
| `admin` | that, and what changes how the node runs: its log level |
"""

from __future__ import annotations

import fcntl
import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ledger.fields import NameField, TimeField

Scope: TypeAlias = Literal["read", "submit", "admin"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "submit", "admin")
"""Each may what the ones before it may."""

FILE_NAME: Final = "tokens.json"
TOKENS_MAX: Final = 256
FILE_BYTES_MAX: Final = 1 << 20
SECRET_BYTES: Final = 32
PREFIX: Final = "foedus-"
_HASH_DIGITS: Final = 64
_WRITABLE_BY_OTHERS: Final = 0o022


class TokenError(ValueError):
    """Tokens cannot be read or changed; the message says what to do."""


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a token."""

    name: NameField
    """For people, unique; also the owner of what is uploaded with it."""

    scope: Scope
    sha256: Annotated[str, Meta(pattern=f"^[0-9a-f]{{{_HASH_DIGITS}}}$")]
    """Of the token's 32 random bytes, in hex."""

    created_ms: TimeField
    expires_ms: TimeField | None = None
    """From when on it is worth nothing; None for never."""

    def may(self, needed: Scope) -> bool:
        """Tell whether the token's scope includes another."""
        return SCOPES.index(self.scope) >= SCOPES.index(needed)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: Annotated[tuple[Token, ...], Meta(max_length=TOKENS_MAX)] = ()


class TokenBook:
    """The tokens of one node, read from the disk whenever they have changed there."""

    def __init__(self, directory: Path, *, on_fault: Callable[[str], None] | None = None) -> None:
        """Prepare; nothing is read yet.

        Args:
            directory: the node's data directory.
            on_fault: told when the file cannot be read, once for each change of it.
        """
        self.path: Final = directory / FILE_NAME
        self._on_fault = on_fault
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def find(self, text: str, *, now_ms: int) -> Token | None:
        """Return the token that `text` is; None when it is none, revoked or expired.

        Every known token is compared, in constant time.
        """
        came = _hash_of(text)
        found = None
        for token in self._current():
            if hmac.compare_digest(token.sha256, came):
                found = token
        if found is not None and found.expires_ms is not None and found.expires_ms <= now_ms:
            return None
        return found

    def _current(self) -> tuple[Token, ...]:
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            self._seen, self._tokens = None, ()
            return ()
        except OSError as error:
            return self._closed(str(error))
        version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if version != self._seen:
            self._seen = version
            try:
                self._tokens = read_tokens(self.path.parent)
            except TokenError as error:
                return self._closed(str(error))
        return self._tokens

    def _closed(self, fault: str) -> tuple[Token, ...]:
        self._tokens = ()
        if self._on_fault is not None:
            self._on_fault(fault)
        return ()


def read_tokens(directory: Path) -> tuple[Token, ...]:
    """Return a node's tokens, ascending by name.

    Raises:
        TokenError: the file is damaged, or others may write to it.
    """
    path = directory / FILE_NAME
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TokenError(f"{path} cannot be read: {error.strerror}") from error
    if mode & _WRITABLE_BY_OTHERS:
        raise TokenError(f"{path} can be written by others, who could let themselves in: chmod 600 it")
    try:
        return msgspec.json.decode(data, type=_File).tokens
    except (ValueError, RecursionError) as error:
        raise TokenError(f"{path} is damaged ({error}): remove it and make new tokens") from error


def new_token(
    directory: Path, name: str, scope: Scope, *, now_ms: int, expires_ms: int | None = None
) -> tuple[Token, str]:
    """Make a token; return what is kept of it, and the token itself, which is kept nowhere.

    Raises:
        TokenError: the name is taken or no name, there are too many, or the file cannot be written.
    """
    secret = token_bytes(SECRET_BYTES)
    try:
        made = msgspec.convert(
            {
                "name": name,
                "scope": scope,
                "sha256": sha256(secret).hexdigest(),
                "created_ms": now_ms,
                "expires_ms": expires_ms,
            },
            Token,
        )
    except msgspec.ValidationError as error:
        raise TokenError(f"no token can be made: {error}") from error
    with _changing(directory) as tokens:
        if any(token.name == name for token in tokens):
            raise TokenError(f"a token {name} exists already: revoke it first, or choose another name")
        if len(tokens) >= TOKENS_MAX:
            raise TokenError(f"at most {TOKENS_MAX} tokens are possible: revoke one first")
        tokens.append(made)
    return made, f"{PREFIX}{scope}-{urlsafe_b64encode(secret).rstrip(b'=').decode()}"


def revoke_token(directory: Path, name: str) -> Token:
    """Forget a token; a running node refuses it from the next request on.

    Raises:
        TokenError: there is none of this name, or the file cannot be written.
    """
    with _changing(directory) as tokens:
        for token in tokens:
            if token.name == name:
                tokens.remove(token)
                return token
        known = ", ".join(token.name for token in tokens) or "none"
        raise TokenError(f"there is no token {name}: known are {known}")


@contextmanager
def _changing(directory: Path) -> Iterator[list[Token]]:
    """Give the tokens to be changed and write them in one step; one process at a time."""
    if not directory.is_dir():
        raise TokenError(f"{directory} is no directory: is it the node's data directory, and has the node run once?")
    path = directory / FILE_NAME
    try:
        lock = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = list(read_tokens(directory))
            yield tokens
            _write(path, sorted(tokens, key=lambda token: token.name))
            os.fsync(lock)
        finally:
            os.close(lock)
    except OSError as error:
        raise TokenError(f"{path} cannot be written: {error.strerror}") from error


def _write(path: Path, tokens: list[Token]) -> None:
    staged = path.with_name(f".{path.name}.new")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
        if os.geteuid() == 0:  # an administrator's command must not lock out the node's own user
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(msgspec.json.format(msgspec.json.encode(_File(tuple(tokens)))) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def _hash_of(text: str) -> str:
    """Return the hash of a token's random bytes; what is no token hashes to nothing that is kept."""
    try:
        scope, _, secret = text.removeprefix(PREFIX).partition("-")
        raw = urlsafe_b64decode(secret.encode("ascii") + b"=" * (-len(secret) % 4))
    except (ValueError, UnicodeEncodeError):
        return ""
    return sha256(raw).hexdigest() if text.startswith(PREFIX) and scope in SCOPES and len(raw) == SECRET_BYTES else ""
