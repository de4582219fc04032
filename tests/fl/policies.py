"""A consortium with policies, put together by hand on top of `tests.fl.members`."""

from __future__ import annotations

import msgspec
import numpy as np

from fl.membership.cards import CARD_DOMAIN, MemberCard, prove_keys
from fl.policies.occasions import OCCASIONS, Occasion
from fl.policies.program import compile_policy
from fl.policies.records import AdoptPolicy, Policy, SetTerms, SiteDeclaration
from fl.privacy.records import Mechanism
from fl.records import Participant
from ledger.codec import encode
from ledger.fields import Height
from tests.fl.consortium import CHAIN, key_of
from tests.fl.members import Members, card


def adopt(name: str, occasion: Occasion, source: str, *, delay_ms: int = 0) -> AdoptPolicy:
    """Return the action that brings a policy into force."""
    tree = compile_policy(source, OCCASIONS[occasion]).digest
    return AdoptPolicy(Policy(name, occasion, "", source, tree), delay_ms)


def in_force(members: Members, name: str, occasion: Occasion, source: str) -> None:
    """Have a policy adopted by the first three."""
    assert members.proposal(members.vote(adopt(name, occasion, source), "a", "b", "c")).status == "enacted"


def terms(task: str, **changes: object) -> SetTerms:
    """Return the terms of a task, empty but for the changes."""
    return msgspec.structs.replace(SetTerms(task, "", "", "", "", 0, 0, 0, Mechanism(0, 0, 0)), **changes)


def declaration(**changes: object) -> SiteDeclaration:
    """Return what a site declares, empty but for the changes."""
    return msgspec.structs.replace(SiteDeclaration("", (), 0, "", Height(0), "given", ()), **changes)


def update(members: Members, name: str, *, samples: int = 100, **changes: object) -> str:
    """Let a trainer send an update; return its receipt's code and detail."""
    words = np.full(8, sum(name.encode()) % 100, np.int16)
    said = members.chain.update(name, words, samples=samples, **changes)
    receipt = members.say(name, "update", said)
    return receipt.code if receipt.accepted else f"{receipt.code}: {receipt.detail}"


def card_with_trainer(name: str) -> MemberCard:
    """Return the card of an institution with an officer, and somebody who only trains."""
    said = card(name).membership
    trainer = Participant(f"{name}-trainer", name, key_of(f"{name}-trainer", "participant").public_key, ("trainer",))
    said = msgspec.structs.replace(said, participants=(*said.participants, trainer))
    uses = [(name, "validator"), (name, "transport"), (name, "participant"), (f"{name}-trainer", "participant")]
    return MemberCard(said, prove_keys(CARD_DOMAIN, CHAIN, encode(said), [key_of(*use) for use in uses]))
