"""Validator sets and their quorum. One law: only here is a quorum counted.

Writing 2f + 1 at a call site is unsafe for n = 5, 6, 8, 9: two such quorums may meet in faulty replicas alone.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.codec import Record, encode
from ledger.digest import Digest, digest
from ledger.fields import Height, NameField, PublicKeyField, View

VALIDATORS_MAX: Final = 128
ADDRESS_CHARACTERS_MAX: Final = 256
PORT_MAX: Final = 65_535


class Validator(Record):
    """One institution's voice in consensus."""

    name: NameField
    """The institution, unique in the set."""

    public_key: PublicKeyField
    """Ed25519 key that signs votes, acknowledgements and results."""

    transport_key: PublicKeyField
    """Ed25519 key of the node's TLS certificate."""

    address: Annotated[str, Meta(max_length=ADDRESS_CHARACTERS_MAX)]
    """`host:port` where other nodes reach it; empty when it accepts no connections."""


class InvalidValidatorSetError(ValueError):
    """The validators cannot form a set."""


class ValidatorSet(Record):
    """The validators of one height, in ascending order of name."""

    members: tuple[Validator, ...]

    @classmethod
    def of(cls, members: tuple[Validator, ...]) -> ValidatorSet:
        """Return the set of `members`.

        Raises:
            InvalidValidatorSetError: none or more than `VALIDATORS_MAX`, or a name or key is used twice.
        """
        validators = cls(tuple(sorted(members, key=lambda member: member.name)))
        validators.require_valid()
        return validators

    def require_valid(self) -> None:
        """Check what the type alone does not.

        Raises:
            InvalidValidatorSetError: see `of`; or the members are not in ascending order of name.
        """
        if not 1 <= len(self.members) <= VALIDATORS_MAX:
            message = f"a validator set has 1 to {VALIDATORS_MAX} members, got {len(self.members)}"
            raise InvalidValidatorSetError(message)
        names = [member.name for member in self.members]
        keys = [key for member in self.members for key in (member.public_key, member.transport_key)]
        if names != sorted(set(names)):
            message = f"validator names must be unique and ascending, got {names}"
            raise InvalidValidatorSetError(message)
        if len(set(keys)) != len(keys):
            message = "every validator needs keys of its own: one key is used twice"
            raise InvalidValidatorSetError(message)

    def __len__(self) -> int:
        """Return n."""
        return len(self.members)

    @property
    def faulty_max(self) -> int:
        """How many members may be Byzantine: f = (n - 1) // 3."""
        return faulty_max_of(len(self.members))

    @property
    def quorum(self) -> int:
        """How many distinct members decide: Q = ceil((n + f + 1) / 2).

        Any two quorums share at least f + 1 members, so at least one honest one; and n - f >= Q, so f silent
        members do not stop the rest.
        """
        return quorum_of(len(self.members))

    @property
    def hash(self) -> Digest:
        """Digest of the set, as it stands in headers and votes."""
        return digest("validators", encode(self))

    def primary(self, height: Height, view: View) -> int:
        """Index of the member that proposes at this height and view."""
        return (height + view) % len(self.members)

    def index_of(self, public_key: bytes) -> int | None:
        """Index of the member with this consensus key, or None."""
        for index, member in enumerate(self.members):
            if member.public_key == public_key:
                return index
        return None


def faulty_max_of(members: int) -> int:
    """How many of so many members may be Byzantine: f = (n - 1) // 3."""
    return (members - 1) // 3


def quorum_of(members: int) -> int:
    """How many of so many members decide: Q = ceil((n + f + 1) / 2)."""
    return (members + faulty_max_of(members) + 2) // 2


def address_fault(address: str) -> str | None:
    """Return why `address` is not `host:port`, or None when it is."""
    host, colon, port = address.rpartition(":")
    if colon and host and port.isascii() and port.isdigit() and 1 <= int(port) <= PORT_MAX:
        return None
    return f"needs host:port with a port of 1 to {PORT_MAX}, got {address!r}"
