"""What of policies can be voted on. One law: a policy that comes into force has passed the gate.

| action | waits for | what happens |
|---|---|---|
| `AdoptPolicy` | its delay | the policy judges from the next transaction on |
| `RepealPolicy` | its delay | it judges no more |
| `SetTerms` | policies for proposals | the terms are the task's |

Policies never judge proposals on policies or members: one wrong policy could else not be repealed.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from fl.policies.errors import PolicyError
from fl.policies.occasions import OCCASIONS
from fl.policies.program import compile_policy
from fl.policies.records import (
    POLICIES_MAX,
    AdoptPolicy,
    InForce,
    PoliciesInForce,
    Policy,
    PolicyAction,
    PolicyState,
    RepealPolicy,
    SetTerms,
)
from fl.policies.state import (
    POLICIES_KEY,
    in_force,
    policy_key,
    policy_of,
    terms_key,
    terms_of,
)
from fl.state import present, write
from ledger.application import BlockContext, Overlay, RefusalError, StateReader
from ledger.fields import Height


def delay_ms(action: PolicyAction) -> int:
    """Return how long an action waits after its vote."""
    return action.delay_ms if isinstance(action, (AdoptPolicy, RepealPolicy)) else 0


def about(action: PolicyAction) -> str:
    """Return what an action is about."""
    match action:
        case AdoptPolicy(policy):
            return policy.name
        case RepealPolicy(name):
            return name
        case SetTerms(task):
            return task
        case _:
            assert_never(action)


def changes_nothing(state: StateReader, action: PolicyAction) -> bool:
    """Tell whether everything is already as the action would have it."""
    match action:
        case AdoptPolicy(policy):
            held = policy_of(state, policy.name)
            return held is not None and held.policy == policy and not held.repealed_height
        case RepealPolicy(name):
            return all(one.name != name for one in in_force(state))
        case SetTerms():
            return terms_of(state, action.task) == action
        case _:
            assert_never(action)


def require_possible(state: StateReader, action: PolicyAction) -> None:
    """Check that an action that changes something could be enacted as the state is.

    Raises:
        RefusalError: `policy.unsound`, `policy.other_tree` or `policy.too_many`.
    """
    match action:
        case AdoptPolicy(policy):
            _require_sound(policy)
            others = [one for one in in_force(state) if one.name != policy.name]
            if len(others) >= POLICIES_MAX:
                raise RefusalError("policy.too_many", f"at most {POLICIES_MAX} policies are in force at once")
        case RepealPolicy() | SetTerms():
            return
        case _:
            assert_never(action)


def enact(state: Overlay, context: BlockContext, action: PolicyAction) -> None:
    """Bring an action about that is possible."""
    match action:
        case AdoptPolicy(policy):
            write(state, policy_key(policy.name), PolicyState(policy, context.height, Height(0)))
            _write_in_force(state, policy.name, InForce(policy.occasion, policy.name))
        case RepealPolicy(name):
            held = present(policy_of(state, name), "a policy in force")
            write(state, policy_key(name), msgspec.structs.replace(held, repealed_height=context.height))
            _write_in_force(state, name, None)
        case SetTerms():
            write(state, terms_key(action.task), action)
        case _:
            assert_never(action)


def _require_sound(policy: Policy) -> None:
    try:
        program = compile_policy(policy.source, OCCASIONS[policy.occasion])
    except PolicyError as error:
        # Not the gate's words: receipts are hashed, and what the gate says of a fault may be said better one day.
        detail = f"the text of {policy.name} is no policy for the occasion {policy.occasion}"
        raise RefusalError("policy.unsound", detail) from error
    if program.digest != policy.tree:
        other = f"the tree of {policy.name} is {program.digest.hex()}, the policy names {policy.tree.hex()}"
        raise RefusalError("policy.other_tree", other)


def _write_in_force(state: Overlay, name: str, one: InForce | None) -> None:
    items = [other for other in in_force(state) if other.name != name]
    if one is not None:
        items.append(one)
    write(state, POLICIES_KEY, PoliciesInForce(tuple(sorted(items, key=lambda item: item.name))))
