"""Changes of the validator set during a run. One law: officers say it again and again, until the chain has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from fl.membership.actions import ROTATION_DOMAIN, rotation_message
from fl.membership.cards import prove_keys
from fl.membership.records import EvidenceReport, KeyRotation, Proposal, RemoveMember
from ledger.codec import Record
from ledger.digest import digest
from ledger.evidence import EvidenceError, Proof, height_of, offences
from ledger.identity import SigningKey
from ledger.reigns import validators_of
from ledger.validators import ValidatorSet
from tests.simulation.prosecutor import Prosecutor
from tests.simulation.scenario import Change
from tests.simulation.whole.trainer import say, waiting

if TYPE_CHECKING:
    from tests.simulation.whole.consortium import Consortium
    from tests.simulation.whole.site import Site
    from tests.simulation.whole.world import WholeSimulation

AGAIN_S: Final = 1.5


class Changes:
    """What a run's consortium has set out to change."""

    def __init__(self, world: WholeSimulation, consortium: Consortium) -> None:
        self._world: Final = world
        self._members: Final = consortium.validators
        self._begun = 0
        self._open: Final[list[Change]] = []
        self._convicted: str | None = None
        self._proof: Proof | None = None
        kinds = {change.kind for change in world.scenario.changes}
        self._prosecutor: Final = (
            Prosecutor(consortium.document.chain_id, consortium.validators) if "convict" in kinds else None
        )

    @property
    def are_done(self) -> bool:
        """Tell whether the chain has all that was begun; nobody is convicted where nothing can be proven."""
        return all(self._is_done(change) for change in self._open)

    def hear(self, data: bytes) -> None:
        """Take a consensus message that travelled."""
        if self._prosecutor is not None and self._is_first_set():
            self._prosecutor.hear(data)

    def begin(self, change: Change) -> None:
        """Set out to change something."""
        self._open.append(change)
        if change.kind == "rotate":
            site = self._site(change)
            site.next_key = SigningKey(digest("rotated-key", site.name.encode()))
        self._pursue(change)

    def _pursue(self, change: Change) -> None:
        if self._is_done(change) and change.kind != "convict":
            return
        if change.kind == "rotate":
            self._say(self._site(change), "validator.rotate", self._rotation(change))
        elif change.kind == "remove":
            proposal = Proposal(RemoveMember(self._name(change)))
            for site in self._world.honest:
                if site.name != self._name(change):
                    self._say(site, "governance.propose", proposal)
        else:
            self._convict()
        self._world.loop.call_later(AGAIN_S, self._pursue, change)

    def _convict(self) -> None:
        """Report the first proof again and again; one conviction is what the consortium can bear."""
        if self._proof is None and self._prosecutor is not None and self._is_first_set():
            proofs = ((self._culprit(proof), proof) for proof in self._prosecutor.charges())
            found = next(((culprit, proof) for culprit, proof in proofs if culprit is not None), None)
            self._convicted, self._proof = (None, None) if found is None else found
        seated = {member.name for member in validators_of(self._world.chain.state).members}
        if self._proof is not None and self._convicted in seated:
            for site in self._world.honest:
                self._say(site, "evidence", EvidenceReport(self._proof))

    def _culprit(self, proof: Proof) -> str | None:
        if height_of(proof) > self._world.chain.height:
            return None
        try:
            found = offences(self._world.document.chain_id, self._members, proof)
        except EvidenceError:
            return None
        return self._members.members[found[0].validator].name

    def _rotation(self, change: Change) -> KeyRotation:
        site, chain_id = self._site(change), self._world.document.chain_id
        before = self._members.members[change.member]
        assert site.next_key is not None, "it has been drawn"
        after = msgspec.structs.replace(before, public_key=site.next_key.public_key)
        message = rotation_message(before, after)
        proofs = prove_keys(ROTATION_DOMAIN, chain_id, message, [site.next_key])
        return KeyRotation(after, site.key.sign(ROTATION_DOMAIN, chain_id, message), proofs)

    def _say(self, site: Site, kind: str, payload: Record) -> None:
        process = site.process
        if process is not None and site.trainer is not None and not list(waiting(process, site.trainer)):
            process.within(say, process, site.trainer, kind, payload)

    def _is_done(self, change: Change) -> bool:
        now = validators_of(self._world.chain.state)
        names = {member.name for member in now.members}
        match change.kind:
            case "rotate":
                site = self._site(change)
                return site.next_key is None or self._name(change) not in names
            case "remove":
                return self._name(change) not in names
            case "convict":
                return self._convicted is None or self._convicted not in names

    def _is_first_set(self) -> bool:
        found: ValidatorSet = validators_of(self._world.chain.state)
        return found == self._members

    def _site(self, change: Change) -> Site:
        return next(site for site in self._world.sites if site.name == self._name(change))

    def _name(self, change: Change) -> str:
        return self._members.members[change.member].name
