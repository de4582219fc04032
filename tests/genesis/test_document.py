"""The genesis document: its digest names the chain, and a faulty one is told all its faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fl.records import LearningGenesis
from genesis.document import (
    GenesisDocument,
    InvalidGenesisError,
    document_text,
    faults_of,
    initial_state,
    load_document,
    read_document,
)
from genesis.reading import Json
from ledger.execution import parameters_of
from ledger.parameters import ConsensusParameters
from ledger.reigns import validators_of
from tests.genesis.consortium import make

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> GenesisDocument:
    return make(tmp_path_factory.mktemp("genesis") / "local").document


def edited(document: GenesisDocument, edit: Callable[[dict[str, Json]], None]) -> str:
    tree = json.loads(document_text(document))
    edit(tree)
    return json.dumps(tree)


def test_the_text_gives_the_same_document_back(document: GenesisDocument) -> None:
    assert read_document(document_text(document)) == document


def test_spaces_and_the_order_of_names_do_not_change_the_chain(document: GenesisDocument) -> None:
    shuffled = json.dumps(dict(reversed(json.loads(document_text(document)).items())))
    assert read_document(shuffled).chain_id == document.chain_id


def test_a_document_that_differs_in_anything_names_another_chain(document: GenesisDocument) -> None:
    learning = LearningGenesis(document.learning.participants[1:], ())
    others = [
        replace(document, time_ms=document.time_ms + 1),
        replace(document, chain_name="other"),
        replace(document, parameters=ConsensusParameters(view_timeout_ms=501)),
        replace(document, learning=learning),
    ]
    assert len({other.chain_id for other in [document, *others]}) == 5


def test_the_first_state_holds_validators_and_parameters(document: GenesisDocument) -> None:
    state = initial_state(document)
    assert validators_of(state) == document.validators
    assert parameters_of(state) == document.parameters


def test_all_faults_are_reported_at_once(document: GenesisDocument) -> None:
    def edit(tree: dict[str, Json]) -> None:
        members = tree["validators"]["members"]  # type: ignore[index,call-overload]
        members[0]["public_key"] = "zz"  # type: ignore[index,call-overload]
        members[1]["addres"] = members[1].pop("address")  # type: ignore[index,call-overload,union-attr,arg-type]
        tree["time_ms"] = "now"
        tree["parameters"]["view_timeout_ms"] = -1  # type: ignore[index,call-overload]

    with pytest.raises(InvalidGenesisError) as caught:
        read_document(edited(document, edit))
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    assert "validators.members[0].public_key: needs bytes in hexadecimal, got 'zz'" in text
    assert "validators.members[1].addres: is not known; did you mean address?" in text
    assert "validators.members[1].address: is missing" in text
    assert "time_ms: expected `int`, got 'now'" in text
    assert "parameters.view_timeout_ms" in text


def test_a_key_used_twice_is_refused(document: GenesisDocument) -> None:
    first = document.validators.members[0]
    thief = replace(document.learning.participants[0], public_key=first.public_key)
    learning = replace(document.learning, participants=(thief, *document.learning.participants[1:]))
    assert any("used 2 times" in fault for fault in faults_of(replace(document, learning=learning)))


def test_a_key_that_is_no_point_is_refused(document: GenesisDocument) -> None:
    """All-zero bytes are a point of small order, under which anything verifies in lenient implementations."""
    weak = replace(document.learning.participants[0], public_key=bytes(32))
    learning = replace(document.learning, participants=(weak, *document.learning.participants[1:]))
    faults = faults_of(replace(document, learning=learning))
    assert any("not a point" in fault for fault in faults)


def test_a_task_that_names_a_stranger_is_refused(document: GenesisDocument) -> None:
    task = replace(document.learning.tasks[0], participants=("nobody",))
    faults = faults_of(replace(document, learning=replace(document.learning, tasks=(task,))))
    assert any("nobody" in fault for fault in faults)


def test_an_officer_of_no_validator_is_refused(document: GenesisDocument) -> None:
    stranger = replace(document.learning.participants[0], organisation="elsewhere", roles=("officer",))
    learning = replace(document.learning, participants=(stranger, *document.learning.participants[1:]))
    assert any("officers vote for a validator" in fault for fault in faults_of(replace(document, learning=learning)))


def test_an_address_without_a_port_is_refused(document: GenesisDocument) -> None:
    homeless = replace(document.validators.members[0], address="hospital.example")
    validators = replace(document.validators, members=(homeless, *document.validators.members[1:]))
    assert any("needs host:port" in fault for fault in faults_of(replace(document, validators=validators)))


def test_contradicting_parameters_are_refused(document: GenesisDocument) -> None:
    parameters = ConsensusParameters(view_timeout_ms=100, resend_ms=200)
    assert any("resend_ms" in fault for fault in faults_of(replace(document, parameters=parameters)))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"a": NaN}', "[" * 100_000, '{"chain_name": "a", "chain_name": "b"}']
)
def test_text_that_is_no_document_is_a_typed_error(text: str) -> None:
    with pytest.raises(InvalidGenesisError):
        read_document(text)


def test_a_name_given_twice_in_one_object_is_a_fault(document: GenesisDocument) -> None:
    """JSON leaves open which one counts; two members could read two documents from one file."""
    text = document_text(document).replace('"chain_name"', '"chain_name": "first",\n  "chain_name"', 1)
    with pytest.raises(InvalidGenesisError, match="chain_name: given 2 times"):
        read_document(text)


def test_a_missing_file_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidGenesisError, match="cannot be read"):
        load_document(tmp_path / "genesis.json")
