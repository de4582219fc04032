"""docs/policies.md tells of every input and policy that there is, and who answers for each figure."""

from __future__ import annotations

import re

import pytest

from fl.policies.occasions import OCCASIONS
from fl.policies.types import Type, type_of
from genesis.policy_files import load_policy, templates
from tests.project.tree import ROOT

PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


def records() -> dict[str, Type]:
    waiting, found = [kind for one in OCCASIONS.values() for _, kind in type_of(one).fields], dict[str, Type]()
    while waiting:
        one = waiting.pop()
        waiting += [one.element] if one.element is not None else [kind for _, kind in one.fields]
        if one.kind == "record":
            found[one.record] = one
    return found


@pytest.mark.parametrize("name", sorted(records()))
def test_the_page_has_every_field_of_an_input_with_its_type_and_who_answers_for_it(name: str) -> None:
    table = re.search(rf"^\| field of a `{name}` \| .*\n\|[-|]+\|\n((?:\|.*\n)*)", PAGE, re.MULTILINE)
    assert table is not None
    rows = [re.fullmatch(r"\| `(\w+)` \| (\S+) \| (.*) \|", line) for line in table[1].splitlines()]

    assert [(row[1], row[2]) for row in rows if row] == [(field, str(kind)) for field, kind in records()[name].fields]
    assert all(row and re.match(r"(enforced|agreed|attested)\b", row[3]) for row in rows)


def test_the_page_has_the_names_of_every_occasion() -> None:
    for occasion, inputs in OCCASIONS.items():
        names = ", ".join(f"`{name}`" for name, _ in type_of(inputs).fields)
        assert f"| `{occasion}` | {names} |" in PAGE


@pytest.mark.parametrize("name", templates())
def test_the_page_says_what_each_policy_demands(name: str) -> None:
    file = load_policy(templates()[name])
    assert f"| `{name}` | {file.occasion} | {' '.join(file.description.split())} |" in PAGE
