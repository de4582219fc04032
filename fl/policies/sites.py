"""What institutions declare of themselves. One law: an institution speaks for itself alone, and at once."""

from __future__ import annotations

from fl.policies.records import SiteDeclaration, SiteState
from fl.policies.state import site_key
from fl.records import Participant
from fl.state import write
from ledger.application import BlockContext, Overlay, RefusalError
from ledger.receipt import Event


def declare(
    state: Overlay, context: BlockContext, officer: Participant, declaration: SiteDeclaration
) -> tuple[Event, ...]:
    """Keep what an officer says of its institution.

    Raises:
        RefusalError: `site.not_officer` or `site.unsound`.
    """
    if "officer" not in officer.roles:
        raise RefusalError("site.not_officer", f"an officer was needed, got {officer.name} of {officer.organisation}")
    for listed in (declaration.purposes, declaration.reviews):
        if list(listed) != sorted(set(listed)):
            raise RefusalError("site.unsound", "purposes and reviews must be unique and ascending")
    told = SiteState(officer.organisation, declaration, officer.name, context.height)
    write(state, site_key(officer.organisation), told)
    return (Event("site.declared", officer.organisation, f"by {officer.name}"),)
