"""Which proposals are accepted. One law: every reason to refuse is looked for first, the cheap ones before the dear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consensus.committee import Committee
from consensus.events import DropReason
from consensus.messages import PrePrepare
from consensus.view_change import ViewChangeBook, require_view_change_certificate
from ledger.block import Block, Header
from ledger.certificate import PREPARE, CertificateError, Seal
from ledger.digest import Digest
from ledger.execution import transactions_root
from ledger.fields import Height, View


class UnacceptableError(ValueError):
    """A well-formed message that must change nothing."""

    def __init__(self, reason: DropReason, detail: str) -> None:
        """Name the reason and what was needed and what came."""
        super().__init__(detail)
        self.reason: Final = reason
        self.detail: Final = detail


@dataclass(slots=True)
class Accepted:
    """The proposal of the current view."""

    view: View
    block: Block
    block_id: Digest
    seal: Seal
    """The primary's PREPARE."""

    prepared_before: bool
    """A quorum prepared it in an earlier view, so its time is not checked again."""

    is_valid: bool | None = None
    """None until it has been validated."""

    def may_be_turned_down(self, committee: Committee) -> bool:
        """Tell whether a valid block may be refused for what it passes over (R10): a new one, in the first f views.

        Of f + 1 primaries one is honest, so a height loses f views at the most to anybody's suspicion.
        """
        return not self.prepared_before and self.view + 1 < committee.one_honest


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the chain a block must stand to be decided now."""

    chain_id: Digest
    height: Height
    parent_id: Digest
    validators_hash: Digest

    def require_header(self, header: Header) -> None:
        """Check the fields that can be compared without execution.

        Raises:
            UnacceptableError: the block belongs elsewhere.
        """
        claimed = (header.chain_id, header.height, header.parent_id, header.validators_hash)
        if claimed != (self.chain_id, self.height, self.parent_id, self.validators_hash):
            raise UnacceptableError(
                DropReason.WRONG_BLOCK,
                f"needs height {self.height} on parent {self.parent_id.hex()}, "
                f"got height {header.height} on parent {header.parent_id.hex()}",
            )


def require_body(block: Block) -> None:
    """Check that the transactions are those the header, and with it the block id, stands for.

    Raises:
        UnacceptableError: they are others; who relayed the block may have changed them.
    """
    if transactions_root(block.transactions) != block.header.transactions_root:
        raise UnacceptableError(DropReason.WRONG_BLOCK, "the transactions are not those of the header")


def require_proposal(committee: Committee, position: Position, message: PrePrepare, known: ViewChangeBook) -> None:
    """Check a PRE-PREPARE for a view in which nothing has been accepted (rule R3).

    Args:
        committee: of the height.
        position: where the block must stand.
        message: the proposal.
        known: VIEW-CHANGEs that have been verified already.

    Raises:
        UnacceptableError: it is not from the primary, not justified, or not the block its justification demands.
    """
    primary = committee.primary(message.height, message.view)
    if message.seal.validator != primary:
        raise UnacceptableError(DropReason.NOT_THE_PRIMARY, f"view {message.view} belongs to validator {primary}")
    position.require_header(message.block.header)
    _require_demanded(message, primary)
    if not committee.is_vote(PREPARE, message.height, message.view, message.block.id, message.seal):
        raise UnacceptableError(DropReason.BAD_SIGNATURE, "")
    if message.justification is not None:
        try:
            require_view_change_certificate(committee, message.justification, known)
        except CertificateError as error:
            raise UnacceptableError(DropReason.BAD_CERTIFICATE, str(error)) from error
    require_body(message.block)


def _require_demanded(message: PrePrepare, primary: int) -> None:
    """Check that the view is justified and the block is the one rule R2 demands."""
    justification, header = message.justification, message.block.header
    opened = (justification.height, justification.view) if justification else (message.height, View(0))
    if opened != (message.height, message.view) or (justification is None) != (message.view == 0):
        raise UnacceptableError(
            DropReason.BAD_CERTIFICATE, f"view {message.view} needs its view-change certificate, got one for {opened}"
        )
    demanded = justification.prepared if justification else None
    if demanded is not None and demanded.block_id != message.block.id:
        raise UnacceptableError(DropReason.WRONG_BLOCK, f"block {demanded.block_id.hex()} is prepared and demanded")
    if demanded is None and header.proposer != primary:
        raise UnacceptableError(
            DropReason.WRONG_BLOCK, f"a new block must name its proposer {primary}, got {header.proposer}"
        )
