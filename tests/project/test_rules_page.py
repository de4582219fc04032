"""docs/rules.md names the rules there are, with what they need."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from fl.aggregators import minimum_updates
from fl.aggregators.registry import RULES
from fl.aggregators.spec import UPDATES_MAX, PreId, RuleId
from genesis.presets import RULES as NAMES
from tests.fl.aggregation_cases import spec_of
from tests.project.tree import ROOT

TEXT = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
NEEDS = dict(re.findall(r"^\| `([a-z-]+/1)` \| ([^|]*) \|", TEXT.split("## All of them")[1], re.MULTILINE))


def test_every_rule_and_nothing_else_stands_in_the_tables() -> None:
    assert set(NEEDS) == {*get_args(RuleId), *get_args(PreId)}


@pytest.mark.parametrize("rule", get_args(RuleId))
@pytest.mark.parametrize("f", [1, 3])
def test_a_rule_needs_what_its_row_says(rule: RuleId, f: int) -> None:
    """The cap of `spec_of` needs no more than 2f + 1 rows, and so does keeping n - f."""
    needs = NEEDS[rule]

    factor, more = (int(part) for part in re.findall(r"(\d)f \+ (\d)", needs)[0])
    assert minimum_updates(spec_of(rule, f)) == factor * f + more
    at_most = re.search(r"at most (\d+)", needs)
    assert RULES[rule].maximum == (int(at_most[1]) if at_most else UPDATES_MAX)


def test_every_name_that_a_person_may_type_is_told() -> None:
    told = set(re.findall(r"`([a-z-]+)(?::PARTICIPANT)?`", TEXT.split("## By one word")[1]))

    assert told == {*NAMES, "fltrust"}
