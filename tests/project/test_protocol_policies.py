"""The page's second implementation goes through every policy with the first: same receipts, states and verdicts."""

from __future__ import annotations

import inspect
import random
import re

import pytest

from fl.policies.errors import PolicyError
from fl.policies.occasions import OCCASIONS, UpdateOccasion
from fl.policies.program import compile_policy, judge
from fl.policies.types import Input, Type, type_of
from fl.privacy.epsilon import epsilon_nanos
from fl.privacy.renyi import gaussian_costs
from ledger.codec import encode
from ledger.execution import Execution
from tests.fl import test_budgets as budget_scenarios
from tests.fl import test_policies as scenarios
from tests.fl.consortium import Consortium
from tests.fl.policy_texts import TEXTS, Writer, occasion_of
from tests.project import protocol_budgets as budgets
from tests.project import protocol_policies as page
from tests.project.protocol_denials import judged, text_of
from tests.project.protocol_execution import execute
from tests.project.protocol_records import PAGE, decode
from tests.project.protocol_records import encode as their_encode
from tests.project.test_protocol_page import refusals
from tests.project.test_protocol_refusals import POLICIES

CODES: set[str] = set()
SCENARIOS = [
    test
    for name, test in (*vars(scenarios).items(), *vars(budget_scenarios).items())
    if name.startswith("test_") and not inspect.signature(test).parameters
]
REFUSED = scenarios.test_what_could_not_be_decided_the_same_way_everywhere_is_refused_when_it_is_proposed


def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every block executed by the reader too, from the same state."""
    theirs_first = Consortium.block

    def block(chain: Consortium, *raws: bytes, after_ms: int = 1, proposer: int = 0) -> Execution:
        before = dict(chain.state.items())
        execution = theirs_first(chain, *raws, after_ms=after_ms, proposer=proposer)
        header = decode("Header", encode(execution.header), 1 << 16)
        theirs = execute(header, list(raws), before)
        assert [their_encode(one) for one in theirs.receipts] == [encode(one) for one in execution.receipts]
        assert theirs.state == dict(execution.state.items())
        CODES.update(receipt.code for receipt in execution.receipts)
        return execution

    monkeypatch.setattr(Consortium, "block", block)


def test_the_page_and_the_code_execute_every_scenario_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch)
    for scenario in SCENARIOS:
        scenario()
    REFUSED("true", "policy.other_tree")
    REFUSED("1.5", "policy.unsound")

    known = {code for code, _ in refusals("RefusalError", "fl") if code.startswith(POLICIES)}
    assert {code for code in CODES if code.startswith(POLICIES)} == known


def told(one: object) -> object:
    """Return an input as the reader has it."""
    if isinstance(one, Input):
        return {name: told(getattr(one, name)) for name in one.__struct_fields__}
    return [told(item) for item in one] if isinstance(one, tuple) else one


def compared(source: str, occasion: str, inputs: Input) -> bool:
    """Check that both say the same of a text; tell whether it is a policy."""
    try:
        program = compile_policy(source, OCCASIONS[occasion])  # type: ignore[index]
    except PolicyError:
        with pytest.raises(page.BadError):
            page.admitted(source, occasion)
        return False
    tree = page.admitted(source, occasion)
    names = page.inputs()[type(inputs).__name__]
    assert (page.tree_digest(tree), text_of(tree)) == (program.digest, program.text)
    assert page.typed(tree, names)[1] == program.cost_max
    verdict = judge(program, inputs)
    fields = told(inputs)
    assert isinstance(fields, dict)
    assert judged(tree, fields) == ("" if verdict.allows else f"clause {verdict.clause}: {verdict.detail}")
    return True


@pytest.mark.parametrize("seed", range(4))
def test_the_page_and_the_code_read_judge_and_explain_alike(seed: int) -> None:
    writer = Writer(random.Random(seed), type_of(UpdateOccasion))
    sound = [compared(writer.text(), "update", occasion_of(writer.lots)) for _ in range(500)]

    assert sum(sound) > 300


def test_the_page_and_the_code_charge_the_same_for_a_mechanism() -> None:
    lots = random.Random(5)
    for _ in range(12):
        noise, steps = int(10 ** lots.uniform(4, 8)), int(10 ** lots.uniform(0, 6))
        sampling = lots.choice((0, 1, 1_000_000, lots.randrange(1_000_000)))
        costs = gaussian_costs(noise, sampling, steps)
        assert budgets.figures(noise, sampling, steps) == costs
        for digits in (2, 5, 12):
            assert budgets.epsilon([*costs], digits) == epsilon_nanos(costs, digits)


@pytest.mark.parametrize("source", TEXTS)
def test_the_page_and_the_code_admit_the_same_texts(source: str) -> None:
    compared(source, "update", occasion_of(random.Random(source)))


def page_kind(kind: Type) -> page.Kind:
    match kind.kind:
        case "list":
            assert kind.element is not None
            return ("list", kind.size_max, page_kind(kind.element))
        case "string":
            return ("string", kind.size_max)
        case "record":
            return ("record", kind.record)
        case plain:
            return (plain,)


def test_every_input_has_the_fields_types_and_bounds_of_its_table() -> None:
    waiting, found = [type_of(occasion) for occasion in OCCASIONS.values()], dict[str, dict[str, page.Kind]]()
    while waiting:
        one = waiting.pop()
        if one.kind == "list" and one.element is not None:
            waiting.append(one.element)
        if one.kind == "record":
            found[one.record] = {name: page_kind(kind) for name, kind in one.fields}
            waiting += [kind for _, kind in one.fields]

    assert found == page.inputs()


def test_the_page_says_of_every_input_who_answers_for_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^#### Input `\w+Input`\n\n.*\n.*\n((?:\|.*\n)*)", text, re.MULTILINE)
    meanings = [line.split(" | ")[2] for table in rows for line in table.splitlines()]

    assert meanings
    assert all(re.match(r"(enforced|agreed|attested)\b", one) for one in meanings), meanings
