"""What the banks of the use case `fraud` decide together, before and while they learn. One law: all of it by vote.

Two policies, a privacy budget a member, credits and a pot before the first round; another rule in mid-run. One bank
has a smaller budget than the training takes, and in one round only two institutions take part: policies refuse both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from fl.aggregators import minimum_updates
from fl.incentives.records import IssueCredits
from fl.policies.records import AdoptPolicy, SetTerms
from fl.privacy.account import costs_of
from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.records import Mechanism, SetBudget
from foedus.cli.output import Json
from foedus.demo.council import Council
from foedus.demo.watch import Watch
from genesis.policy_files import load_policy, read_policy, templates
from genesis.presets import BANKS, FREE_RIDER, rule_named
from genesis.presets.fraud import LIARS_MAX

TASK: Final = "fraud"
DATA_SET: Final = "payments"
CHANGED_RULE: Final = "geometric-median"
VOTE_AFTER_ROUND: Final = 5
ABSENT_ROUND: Final = 3
"""In which only the first bank and the free rider take part."""

ABSENT: Final = BANKS[1:]
SMALL_BUDGET: Final = BANKS[-1]
CREDITS_A_ROUND: Final = 1_000
DELTA_DIGITS: Final = 5
ROUNDS_OVER: Final = 3
"""How many of the last rounds are over the small budget."""

EPSILON_POLICY: Final = """
name = "maximum-epsilon"
occasion = "update"
description = "A site keeps a tenth of its lifetime budget for what comes after this task."
source = "budget.has_account && budget.lifetime_nanos <= budget.lifetime_limit_nanos / 10 * 9"

[[tests]]
name = "nine tenths"
verdict = "allow"
inputs.budget = { has_account = true, lifetime_nanos = 900, lifetime_limit_nanos = 1000 }

[[tests]]
name = "more"
verdict = "deny"
clause = 2
inputs.budget = { has_account = true, lifetime_nanos = 901, lifetime_limit_nanos = 1000 }

[[tests]]
name = "no budget"
verdict = "deny"
clause = 1
"""
_POLICY_NAMED = re.compile(r"policy ([a-z0-9._-]+), clause")


@dataclass(slots=True)
class FraudStory:
    """The decisions, and what became of them."""

    mechanism: Mechanism
    """How a site trains in a round."""

    statements: list[str] = field(default_factory=list)

    def begin(self, council: Council, rounds: int) -> None:
        """Decide what holds before the first round, and fund the task."""
        treasurer, amount = BANKS[-1], CREDITS_A_ROUND * rounds
        council.decide(
            [
                AdoptPolicy(read_policy(EPSILON_POLICY, source="maximum-epsilon").policy, 0),
                AdoptPolicy(load_policy(templates()["minimum-organisations"]).policy, 0),
                SetTerms(TASK, "fraud detection", DATA_SET, "logistic regression", "", 1, 0, 0, self.mechanism),
                IssueCredits(treasurer, amount, "what finding fraud is worth"),
            ]
        )
        council.decide(self.budgets(rounds))
        council.fund(treasurer, TASK, amount)

    def after_round(self, council: Council, number: int) -> str:
        """Vote for another rule once; return what to tell about it."""
        if number < VOTE_AFTER_ROUND:
            return ""
        before, rule = council.specification(TASK), rule_named(CHANGED_RULE, LIARS_MAX)
        if rule == before.rule:
            return ""
        updates_min = max(before.updates_min, minimum_updates(rule))
        council.change(before, msgspec.structs.replace(before, rule=rule, updates_min=updates_min))
        return f"vote: {council.quorum} organisations change the rule to {rule.rule}, 16 blocks from now"

    def end(self, watch: Watch) -> Mapping[str, Json]:
        """Return what the demo's JSON says beside everything else; keep the statements to show."""
        earned = watch.earned()
        paid = sum(earned.values())
        for name in (BANKS[0], FREE_RIDER):
            entries = watch.statement(name)
            share = f"{earned.get(name, 0)} of {paid} credits in {len(entries)} entries"
            last = f"; the last: {entries[0].kind} {entries[0].amount}, {entries[0].subject}" if entries else ""
            self.statements.append(f"statement of {name}: {share}{last}")
        said = [detail for _, _, detail in watch.refusals()] + [seen.reason for seen in watch.rounds]
        return {
            "free_rider_share": round(earned.get(FREE_RIDER, 0) / paid, 4) if paid else None,
            "rejected_by_policy": counted_by_policy(said),
        }

    def budgets(self, rounds: int) -> list[SetBudget]:
        """Give everybody enough for twice the rounds, and one bank only enough for all but the last few."""
        return [
            SetBudget(name, DATA_SET, 0, limit, limit, DELTA_DIGITS)
            for name in (*BANKS, FREE_RIDER)
            for limit in [self._lifetime(max(1, rounds - ROUNDS_OVER) if name == SMALL_BUDGET else 2 * rounds)]
        ]

    def _lifetime(self, rounds: int) -> int:
        """Return the limit of which so many rounds take nine tenths."""
        spent = epsilon_nanos(tuple(rounds * cost for cost in costs_of(self.mechanism)), DELTA_DIGITS)
        return (spent // 9 + 1) * 10


def counted_by_policy(said: Iterable[str]) -> dict[str, int]:
    """Count by policy the refusals of updates and the failures of rounds that were its doing."""
    found = Counter(match[1] for match in map(_POLICY_NAMED.match, said) if match is not None)
    return dict(sorted(found.items()))
