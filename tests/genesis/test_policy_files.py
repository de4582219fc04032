"""The policies that come with the project: each is admitted, and allows and denies what its tests say."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl.policies.records import AdoptPolicy
from genesis.policy_files import InvalidPolicyError, load_policy, program_of, read_policy, templates, try_policy
from ledger.codec import decode, encode
from ledger.transaction import TRANSACTION_BYTES_MAX

DESIGNED = 22
PLAIN = 'name = "p"\noccasion = "update"\nsource = "update.samples >= 50"\n'


@pytest.mark.parametrize("name", templates())
def test_a_template_allows_and_denies_what_its_tests_say_and_names_the_clause(name: str) -> None:
    file = load_policy(templates()[name])
    tried = try_policy(file)

    assert [one for one in tried if not one.passed] == []
    assert file.name == name
    assert {test.verdict for test in file.tests} == {"allow", "deny"}
    denied = {test.clause for test in file.tests if test.verdict == "deny"}
    assert denied == set(range(1, len(program_of(file).clauses) + 1)), "each clause has a test that it denies"


@pytest.mark.parametrize("name", templates())
def test_a_template_can_be_proposed_as_it_is(name: str) -> None:
    action = AdoptPolicy(load_policy(templates()[name]).policy, 0)

    assert decode(encode(action), AdoptPolicy, bytes_max=TRANSACTION_BYTES_MAX) == action


@pytest.mark.parametrize("name", templates())
def test_a_template_says_what_is_enforced_and_what_is_not(name: str) -> None:
    said = load_policy(templates()[name]).description

    assert any(word in said for word in ("nforced", "ttested", "greed")), said


def test_all_policies_of_the_design_are_there() -> None:
    assert len(templates()) == DESIGNED


@pytest.mark.parametrize(
    "text, fault",
    [
        ("name = 1", "name"),
        (PLAIN.replace("samples", "weight"), "has no field weight"),
        (PLAIN.replace("update.samples >= 50", "update.samples"), "a policy must be a bool, this one is int"),
        (PLAIN + '[[tests]]\nname = "t"\nverdict = "maybe"\n', "maybe"),
        (PLAIN + '[[tests]]\nname = "t"\nverdict = "deny"\ninputs.update.sample = 1\n', "did you mean samples?"),
        (PLAIN + '[[tests]]\nname = "t"\nverdict = "deny"\ninputs.update.samples = "many"\n', "int"),
        (PLAIN + '[[tests]]\nname = "t"\nverdict = "deny"\ninputs.update = 1\n', "needs the fields of UpdateInput"),
        (PLAIN + '[[tests]]\nname = "t"\nverdict = "deny"\ninputs.round.members = 1\n', "needs a list"),
        ("name = ", "not TOML"),
    ],
)
def test_every_fault_of_a_file_is_named(text: str, fault: str) -> None:
    with pytest.raises(InvalidPolicyError, match=fault.replace("?", r"\?")):
        read_policy(text, source="p.toml")


def test_a_test_that_fails_says_what_was_wanted_and_what_came() -> None:
    (tried,) = try_policy(read_policy(PLAIN + '[[tests]]\nname = "t"\nverdict = "allow"\n', source="p.toml"))

    assert (tried.passed, tried.wanted, tried.got) == (False, "allow", "deny by clause 1")
    assert tried.detail == "update.samples >= 50; update.samples = 0"


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicyError, match=r"nothing\.toml"):
        load_policy(tmp_path / "nothing.toml")
