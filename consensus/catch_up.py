"""Following the others, and helping those behind. One law: a certificate or f + 1 members make a height count.

There is no mode of catching up: blocks are fetched while votes go on being counted, and a fetched block is taken like
any other decided one.
"""

from __future__ import annotations

from typing import Final

from consensus.ahead import FETCH_HEIGHTS_MAX, Heights
from consensus.committee import Committee
from consensus.events import DropReason, Evidence, FetchBlocks
from consensus.instance import Instance
from consensus.messages import Body, BodyRequest, Decided, Message, Status, encode_message
from consensus.outbox import Outbox
from consensus.proposal import UnacceptableError, require_body
from consensus.voter import Voter
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, CertificateError, QuorumCertificate
from ledger.digest import Digest
from ledger.fields import Height
from ledger.identity import PublicKey
from ledger.validators import ValidatorSet


class CatchUp:
    """Statuses, decided blocks and bodies, in and out."""

    def __init__(self, outbox: Outbox, boot_epoch: int, validators: ValidatorSet) -> None:
        """Begin; `begin` tells the rest.

        Args:
            outbox: takes the effects.
            boot_epoch: how often this node has been started.
            validators: decide the first height.
        """
        self._outbox: Final = outbox
        self._boot_epoch: Final = boot_epoch
        self._answered: Final[set[tuple[int, type[Message]]]] = set()
        self._fetching_from: Height | None = None
        self._committee: Committee
        self._instance: Instance
        self._voter: Voter
        self._tip: CertifiedBlock | None
        self._tip_committee: Committee | None
        self._heights: Final = Heights(validators)
        self._statuses: Final[dict[PublicKey, Status]] = {}

    def begin(
        self,
        committee: Committee,
        instance: Instance,
        voter: Voter,
        tip: CertifiedBlock | None,
        decided_by: Committee | None = None,
    ) -> None:
        """Turn to the next height; what is known of those who are no members any more is forgotten.

        Args:
            committee: decides it.
            instance: its agreement.
            voter: this replica's voice in it.
            tip: the block before it, when at hand.
            decided_by: who decided that block, when known.
        """
        self._tip_committee = decided_by
        self._committee, self._instance, self._voter, self._tip = committee, instance, voter, tip
        self._answered.clear()
        self._heights.turn_to(committee.validators)
        for key in [key for key in self._statuses if committee.validators.index_of(key) is None]:
            del self._statuses[key]

    @property
    def height(self) -> Height:
        """The height that is being decided."""
        return self._instance.height

    @property
    def goal(self) -> Height:
        """The height that others have truly reached, or this replica has."""
        return max(self._heights.goal(), self.height)

    @property
    def is_behind(self) -> bool:
        """Tell whether others have truly reached a higher height."""
        return self.goal > self.height

    @property
    def has_answered(self) -> bool:
        """Tell whether somebody has been helped since the last tick, and will not be before the next."""
        return bool(self._answered)

    def see(self, key: PublicKey, height: Height) -> None:
        """Note that the holder of a key has signed something at `height`."""
        self._heights.see(key, height)

    def has_seen(self, key: PublicKey, height: Height) -> bool:
        """Tell whether the holder of a key is known to be at `height` or above."""
        return self._heights.seen(key) >= height

    def tick(self) -> None:
        """Time has passed: whoever still needs help gets it again, and so does this replica."""
        self._answered.clear()
        if self._instance.is_under_way or self.is_behind:
            self.say_status()
            self.fetch()

    def _compare_tip(self, message: Status | Decided, certificate: QuorumCertificate) -> None:
        """Report two final blocks of the height before this one: at least f + 1 members have lied."""
        tip = self._tip
        if tip is None or self._tip_committee is None or certificate.height != tip.certificate.height:
            return
        if certificate.block_id == tip.certificate.block_id:
            return
        try:
            self._tip_committee.require_certificate(COMMIT, certificate)
        except CertificateError:
            return
        both = {seal.validator for seal in certificate.seals} & {seal.validator for seal in tip.certificate.seals}
        self._outbox.add(Evidence(min(both), encode_message(Decided(tip)), encode_message(message)))

    # Statuses

    def say_status(self) -> None:
        """Tell everybody where this replica stands; a follower cannot."""
        if self._committee.me is not None:
            self._outbox.broadcast(self._status())

    def on_status(self, status: Status) -> None:
        """Help a member that is behind; learn from one that is ahead."""
        sender = self._committee.validators.index_of(status.sender)
        if sender is None:
            return self._outbox.drop(status, None, DropReason.NOT_A_MEMBER)
        if sender == self._committee.me:
            return self._on_own_status(status)
        known = self._statuses.get(status.sender)
        is_news = known is None or (status.boot_epoch, status.height) > (known.boot_epoch, known.height)
        is_older = known is not None and status.boot_epoch < known.boot_epoch
        is_known = not is_news and not is_older and status.height == self.height
        if is_known or (sender, Status) in self._answered:
            return self._outbox.drop(status, sender, DropReason.DUPLICATE)
        if not self._committee.is_status(status):
            return self._outbox.drop(status, sender, DropReason.BAD_SIGNATURE)
        if known is not None and is_older:
            self._answered.add((sender, Status))
            return self._outbox.send(sender, known)
        if is_news:
            self._statuses[status.sender] = status
        if status.height < self.height:
            return self.answer(sender, status.height)
        self._heights.see(status.sender, status.height)
        if status.certificate is not None:
            self._compare_tip(status, status.certificate)
        if status.certificate is not None and status.certificate.height >= self.height:
            self._on_certificate(status, sender, status.certificate)
        if status.height > self.height + 1:
            self.fetch()
        return None

    def _on_own_status(self, status: Status) -> None:
        """Be warned by an own status of a later start: the data directory of this process is older than its key."""
        if status.boot_epoch > self._boot_epoch and self._committee.is_status(status):
            self._voter.lose(max(status.height, self.height), f"a status of start number {status.boot_epoch}")
        else:
            self._outbox.drop(status, self._committee.me, DropReason.STALE)

    def _on_certificate(self, status: Status, sender: int, certificate: QuorumCertificate) -> None:
        try:
            self._committee.require_certificate(COMMIT, certificate)
        except CertificateError as error:
            return self._outbox.drop(status, sender, DropReason.BAD_CERTIFICATE, str(error))
        self._heights.prove(Height(certificate.height + 1))
        if certificate.height == self.height:
            return self._instance.decide(certificate, None)
        return self._voter.retire()

    def _status(self) -> Status:
        tip = self._tip.certificate if self._tip is not None else None
        return self._committee.sign_status(self.height, self._instance.view, self._boot_epoch, tip)

    # Decided blocks

    def on_decided(self, message: Decided, checked_for: Digest | None = None) -> None:
        """Take a decided block of this height; fetch what is missing before a later one.

        Args:
            message: from anybody.
            checked_for: the set for which certificate and body have been checked already.
        """
        block, certificate = message.certified.block, message.certified.certificate
        self._compare_tip(message, certificate)
        if certificate.height < self.height or self._instance.is_appended:
            return self._outbox.drop(message, None, DropReason.STALE)
        if (block.height, block.id) != (certificate.height, certificate.block_id):
            return self._outbox.drop(message, None, DropReason.WRONG_BLOCK)
        if certificate.height > self.height and self._fetching_from is not None:
            return self._outbox.drop(message, None, DropReason.TOO_FAR_AHEAD)
        try:
            if checked_for != self._committee.validators_hash:
                self._committee.require_certificate(COMMIT, certificate)
                require_body(block)
        except CertificateError as error:
            return self._outbox.drop(message, None, DropReason.BAD_CERTIFICATE, str(error))
        except UnacceptableError as error:
            return self._outbox.drop(message, None, error.reason, error.detail)
        if certificate.height == self.height:
            return self._instance.decide(certificate, block)
        self._voter.retire()
        self._heights.prove(Height(certificate.height + 1))
        for seal in certificate.seals:
            if seal.validator != self._committee.me:
                self._heights.see(self._committee.key_of(seal.validator), certificate.height)
        return self.fetch()

    def answer(self, member: int, height: Height) -> None:
        """Help a member that works on a lower height, once between two ticks."""
        if (member, Status) in self._answered:
            return
        self._answered.add((member, Status))
        if self._tip is not None and height == self.height - 1:
            self._outbox.send(member, Decided(self._tip))
        elif self._committee.me is not None:
            self._outbox.send(member, self._status())

    def fetch(self) -> None:
        """Fetch blocks from whoever is ahead, or the decided block from those who signed it."""
        if self._fetching_from is not None or self._instance.is_appended:
            return
        sources = self._heights.sources(self.height) if self.is_behind else ()
        decision = self._instance.decision
        if not sources and decision is not None:
            sources = tuple(seal.validator for seal in decision.seals if seal.validator != self._committee.me)
        if sources:
            self._fetching_from = self.height
            target = min(self._heights.goal() - 1, self.height + FETCH_HEIGHTS_MAX - 1)
            self._outbox.add(FetchBlocks(self.height, Height(max(self.height, target)), sources))

    def look_ahead(self) -> None:
        """Fetch on the word of single members, where nothing proves it: a later set may have signed their proof.

        Who missed a change of the set can verify no certificate of the new one, and knows too few of its members for
        f + 1 words. The blocks that come are verified one by one, as all are; a lie costs one fetch between statuses.
        """
        if self._fetching_from is not None or self._instance.is_appended or self.is_behind:
            return
        sources = self._heights.sources(self.height)
        if sources:
            self._fetching_from = self.height
            last = min(self._heights.claimed() - 1, self.height + FETCH_HEIGHTS_MAX - 1)
            self._outbox.add(FetchBlocks(self.height, Height(last), sources))

    def on_fetch_ended(self) -> None:
        """Go on at once after a fetch that brought something; otherwise wait for the next tick."""
        began, self._fetching_from = self._fetching_from, None
        if began is not None and self.height > began and self.is_behind:
            self.fetch()

    # Bodies

    def on_body(self, message: Body) -> None:
        """Take a body that was asked for."""
        if message.block.id != self._instance.wanted_id:
            return self._outbox.drop(message, None, DropReason.UNWANTED)
        try:
            require_body(message.block)
        except UnacceptableError as error:
            return self._outbox.drop(message, None, error.reason, error.detail)
        return self._instance.on_body(message.block)

    def on_body_request(self, request: BodyRequest) -> None:
        """Send a body that is at hand, once between two ticks."""
        sender = request.seal.validator
        if sender >= len(self._committee) or sender == self._committee.me:
            return self._outbox.drop(request, sender, DropReason.NOT_A_MEMBER)
        if (sender, BodyRequest) in self._answered:
            return self._outbox.drop(request, sender, DropReason.DUPLICATE)
        block = self._instance.find_block(request.block_id) if request.height == self.height else None
        if block is None and request.height != self.height - 1:
            return self._outbox.drop(request, sender, DropReason.UNWANTED)
        if not self._committee.is_body_request(request):
            return self._outbox.drop(request, sender, DropReason.BAD_SIGNATURE)
        if block is None:
            return self.answer(sender, request.height)
        self._answered.add((sender, BodyRequest))
        return self._outbox.send(sender, Body(block))
