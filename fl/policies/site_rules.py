"""A site's own policies, at its own door. One law: they can refuse what the chain would take, and allow nothing more.

They are files on the institution's node and no part of the chain: what its people say through that node is tried as if
these policies alone were in force, and whatever else execution would find is left to execution.
"""

from __future__ import annotations

from fl.policies.records import InForce, PoliciesInForce, Policy, PolicyState
from fl.policies.state import POLICIES_KEY, policy_key
from fl.state import participant_of, write
from ledger.application import Application, BlockContext, Overlay, RefusalError, StateReader
from ledger.fields import Height
from ledger.transaction import Transaction


def site_denial(
    application: Application,
    state: StateReader,
    context: BlockContext,
    transaction: Transaction,
    policies: tuple[Policy, ...],
) -> str:
    """Return why a site does not let its own people say this; empty when it does.

    Args:
        application: gives transactions their meaning.
        state: as it is now.
        context: of a block that would hold the transaction.
        transaction: what is to be said.
        policies: the site's.
    """
    if not policies or participant_of(state, transaction.sender) is None:
        return ""
    as_if = Overlay(state)
    named = sorted(policies, key=lambda one: one.name)
    write(as_if, POLICIES_KEY, PoliciesInForce(tuple(InForce(one.occasion, one.name) for one in named)))
    for one in named:
        write(as_if, policy_key(one.name), PolicyState(one, Height(0), Height(0)))
    try:
        application.execute(as_if, context, transaction)
    except RefusalError as refusal:
        return refusal.detail if refusal.code == "policy.denied" else ""
    return ""
