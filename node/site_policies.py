"""The institution's own policies. One law: a file that cannot be read keeps the node from starting, never a rule away.

What others say is not judged: it comes over the links or through this node's API all the same, and the chain decides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fl.policies.records import POLICIES_MAX, Policy
from fl.policies.site_rules import site_denial
from fl.state import participant_of
from genesis.policy_files import InvalidPolicyError, load_policy
from ledger.application import Application, BlockContext
from ledger.codec import CodecError
from ledger.transaction import decode_transaction
from node.chain import Chain
from node.mempool import MempoolError


class SitePolicies:
    """What the institution's own people may say through this node."""

    def __init__(
        self,
        policies: tuple[Policy, ...],
        organisation: str,
        application: Application,
        chain: Chain,
        clock_ms: Callable[[], int],
    ) -> None:
        """Judge by `policies` whatever participants of `organisation` say."""
        self._policies = policies
        self._organisation = organisation
        self._application = application
        self._chain = chain
        self._clock_ms = clock_ms

    def require_allowed(self, raw: bytes) -> None:
        """Check a transaction that came through the API.

        Raises:
            MempoolError: `site_policy.denied`, with policy, clause and values.
        """
        if not self._policies:
            return
        try:
            transaction = decode_transaction(raw)
        except CodecError:
            return  # the queue says what is wrong with it
        chain = self._chain
        sender = participant_of(chain.state, transaction.sender)
        if sender is None or sender.organisation != self._organisation:
            return
        time_ms = max(self._clock_ms(), chain.tip_time_ms + 1)
        context = BlockContext(chain.chain_id, chain.next_height, time_ms, chain.tip_id, chain.validators, 0)
        denied = site_denial(self._application, chain.state, context, transaction, self._policies)
        if denied:
            raise MempoolError("site_policy.denied", f"{self._organisation}'s own {denied}")


def load_site_policies(directory: Path | None) -> tuple[Policy, ...]:
    """Read every `*.toml` of a directory.

    Raises:
        InvalidPolicyError: a file is no policy, two have one name, or there are too many.
    """
    if directory is None:
        return ()
    found: dict[str, Policy] = {}
    for path in sorted(directory.glob("*.toml")):
        policy = load_policy(path).policy
        if policy.name in found:
            raise InvalidPolicyError(str(path), [f"name: another file here is called {policy.name} as well"])
        found[policy.name] = policy
    if len(found) > POLICIES_MAX:
        raise InvalidPolicyError(str(directory), [f"at most {POLICIES_MAX} policies are read, found {len(found)}"])
    return tuple(found.values())
