"""From cards to the genesis document. One law: the same cards and options give the same bytes.

So anybody may assemble it, and everybody can check that it was done right by doing it again. Nothing here reads a
clock: the time of block 0 is that of the latest card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fl.records import LearningGenesis, TaskSpec
from genesis.cards import MemberCard, cards_by_name, require_sound_card
from genesis.document import GenesisDocument, InvalidGenesisError, faults_of
from ledger.parameters import ConsensusParameters
from ledger.validators import ValidatorSet

_SOURCE: Final = "genesis document of these cards"


def assemble(
    cards: Sequence[MemberCard],
    *,
    chain_name: str,
    tasks: Sequence[TaskSpec] = (),
    parameters: ConsensusParameters | None = None,
) -> GenesisDocument:
    """Return the document that the members of these cards agree on.

    Args:
        cards: one an institution, in any order.
        chain_name: for people.
        tasks: active from the first block on, in this order.
        parameters: of consensus; the defaults when None.

    Raises:
        InvalidCardError: a proof does not hold, or an institution has two cards.
        InvalidGenesisError: no chain can begin with them.
    """
    for card in cards:
        require_sound_card(card)
    members = [card.membership for card in cards_by_name(cards).values()]
    if not members:
        raise InvalidGenesisError(_SOURCE, ["a card is needed from each institution, got none"])
    _require_no_initial_models(tasks)
    validators = [member.validator for member in members if member.validator is not None]
    participants = sorted((one for member in members for one in member.participants), key=lambda one: one.name)
    document = GenesisDocument(
        chain_name=chain_name,
        time_ms=max(member.time_ms for member in members),
        validators=ValidatorSet(tuple(sorted(validators, key=lambda one: one.name))),
        parameters=ConsensusParameters() if parameters is None else parameters,
        learning=LearningGenesis(tuple(participants), tuple(tasks)),
    )
    faults = faults_of(document)
    if faults:
        raise InvalidGenesisError(_SOURCE, faults)
    return document


def card_faults(document: GenesisDocument, cards: Sequence[MemberCard]) -> list[str]:
    """Return where a document says something else than these cards, one line a fault.

    Members whose card is not among them are not judged (`members_without_card` names them).

    Raises:
        InvalidCardError: a card is not sound.
    """
    for card in cards:
        require_sound_card(card)
    faults = []
    known = {member.name: member for member in document.validators.members}
    for name, card in cards_by_name(cards).items():
        said = card.membership
        if known.get(name) != said.validator:
            faults.append(f"{name}: the document has another node, keys or address than its card")
        named = tuple(one for one in document.learning.participants if one.organisation == name)
        if named != said.participants:
            faults.append(f"{name}: the document has other participants than its card")
        if said.time_ms > document.time_ms:
            faults.append(f"{name}: its card is younger than the document; assemble it anew")
    return faults


def members_without_card(document: GenesisDocument, cards: Sequence[MemberCard]) -> tuple[str, ...]:
    """Return the institutions of a document of which no card is given, ascending."""
    named = {member.name for member in document.validators.members}
    named |= {one.organisation for one in document.learning.participants}
    return tuple(sorted(named - {card.name for card in cards}))


def _require_no_initial_models(tasks: Sequence[TaskSpec]) -> None:
    faults = [
        f"task {task.id}: starts from a model that no node keeps yet; propose it when the chain runs"
        for task in tasks
        if task.initial_model is not None
    ]
    if faults:
        raise InvalidGenesisError(_SOURCE, faults)
