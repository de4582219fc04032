"""The replica: heights one after the other. One law: nothing is sent that was not persisted before."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.events import Effect, Event
from ledger.block import CertifiedBlock
from ledger.digest import Digest
from ledger.fields import Height, View
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.validators import ValidatorSet


class Replica:
    """One validator's (or follower's) part in deciding blocks, height after height."""

    def __init__(
        self,
        chain_id: Digest,
        key: SigningKey,
        parameters: ConsensusParameters,
        validators: ValidatorSet,
        *,
        height: Height,
        parent_id: Digest,
        safety: Sequence[bytes] = (),
        boot_epoch: int = 0,
        tip: CertifiedBlock | None = None,
        observe_first: bool = False,
    ) -> None:
        """Begin at `height`.

        Args:
            chain_id: digest of the genesis document.
            key: signs votes; a follower's is no member's.
            parameters: in force at `height`.
            validators: decide `height`.
            height: one above the tip; 1 on a new chain.
            parent_id: block id of the tip; the chain id on a new chain.
            safety: the records persisted for `height`, in their order.
            boot_epoch: how often this node has been started, counted durably.
            tip: the block at height - 1, when at hand; lets this replica answer who is one behind.
            observe_first: sign nothing until one block has been appended.

        Raises:
            consensus.safety.SafetyRecordError: the safety records contradict each other.
        """
        self.height = height
        self.view = View(0)

    def step(self, event: Event) -> list[Effect]:
        """Take one event; return the effects to carry out, in this order."""
        return []
