"""Receipts: what became of each transaction. One law: every refusal names its reason.

A block holds one receipt a transaction, in their order, and a last one for what the block itself brought about
(a round that closed because its deadline came).
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.codec import Record
from ledger.digest import Digest
from ledger.fields import NameField

OK: Final = "ok"
DETAIL_CHARACTERS_MAX: Final = 512
EVENT_BYTES_MAX: Final = 4096


class Event(Record):
    """Something that happened in the application, for those who follow the chain."""

    kind: NameField
    """Such as `round.opened`."""

    subject: Annotated[str, Meta(max_length=256)]
    """What it happened to, such as `heart/7`."""

    detail: Annotated[str, Meta(max_length=EVENT_BYTES_MAX)]
    """More about it, for people; empty when the subject says all."""


class Receipt(Record):
    """The result of one transaction."""

    transaction: Digest
    """Its id; the block's parent id in the block's own receipt."""

    code: NameField
    """`ok`, or the reason of the refusal, such as `update.late`."""

    detail: Annotated[str, Meta(max_length=DETAIL_CHARACTERS_MAX)]
    """What was needed and what came; empty when all is well."""

    events: tuple[Event, ...]

    @property
    def accepted(self) -> bool:
        """Whether the transaction took effect."""
        return self.code == OK
