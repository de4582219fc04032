"""State keys of policies and typed access to them. One law: where no policy was ever adopted, there is nothing here."""

from __future__ import annotations

from typing import Final

from fl.policies.records import (
    Approvers,
    InForce,
    Pace,
    PoliciesInForce,
    PolicyState,
    SetTerms,
    SiteState,
)
from fl.state import decoded, numbered
from ledger.application import StateReader

POLICIES_KEY: Final = b"fl/policies"
POLICY_PREFIX: Final = b"fl/policy/"
SITE_PREFIX: Final = b"fl/site/"


def policy_key(name: str) -> bytes:
    """State key of a policy."""
    return POLICY_PREFIX + name.encode()


def site_key(organisation: str) -> bytes:
    """State key of an institution's declaration."""
    return SITE_PREFIX + organisation.encode()


def terms_key(task: str) -> bytes:
    """State key of the terms of a task."""
    return b"fl/terms/" + task.encode()


def pace_key(task: str) -> bytes:
    """State key of how often a task's rounds begin."""
    return b"fl/pace/" + task.encode()


def approvers_key(number: int) -> bytes:
    """State key of a proposal's officers."""
    return b"fl/approvers/" + numbered(number)


def in_force(state: StateReader) -> tuple[InForce, ...]:
    """Return all policies that judge, ascending by name."""
    value = state.get(POLICIES_KEY)
    return () if value is None else decoded(value, PoliciesInForce).items


def policy_of(state: StateReader, name: str) -> PolicyState | None:
    """Return a policy that is or was in force."""
    value = state.get(policy_key(name))
    return None if value is None else decoded(value, PolicyState)


def site_of(state: StateReader, organisation: str) -> SiteState | None:
    """Return what an institution declares."""
    value = state.get(site_key(organisation))
    return None if value is None else decoded(value, SiteState)


def terms_of(state: StateReader, task: str) -> SetTerms | None:
    """Return the terms of a task."""
    value = state.get(terms_key(task))
    return None if value is None else decoded(value, SetTerms)


def pace_of(state: StateReader, task: str) -> Pace:
    """Return how often a task's rounds begin."""
    value = state.get(pace_key(task))
    return Pace(0, 0) if value is None else decoded(value, Pace)


def approvers_of(state: StateReader, number: int) -> Approvers:
    """Return the officers who approved a proposal."""
    value = state.get(approvers_key(number))
    return Approvers(()) if value is None else decoded(value, Approvers)
