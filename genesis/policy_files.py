"""Policies as officers write them: TOML files with tests. One law: a file whose tests fail is not proposed.

::

    name = "minimum-samples"
    occasion = "update"
    description = "An update needs so many examples behind it."
    source = "update.samples >= 50"

    [[tests]]
    name = "too few"
    verdict = "deny"
    clause = 1
    inputs.update.samples = 49

What a test does not say of its inputs is empty, 0 or false. The templates beside this module are such files.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from fl.policies.errors import PolicyError
from fl.policies.occasions import OCCASIONS, Occasion
from fl.policies.program import Program, compile_policy, judge
from fl.policies.records import Policy
from fl.policies.tokens import SOURCE_CHARACTERS_MAX
from fl.policies.types import Input, Type, type_of
from genesis.files import read_text
from genesis.reading import FaultsError, nearest, read
from ledger.fields import NameField

FILE_BYTES_MAX: Final = 1 << 20
TESTS_MAX: Final = 256
TEMPLATES: Final = Path(__file__).parent / "policies"


class InvalidPolicyError(FaultsError):
    """A policy file that nobody could propose; `faults` names each reason."""


class PolicyTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy should say of some inputs."""

    name: str
    verdict: Literal["allow", "deny"]
    clause: Annotated[int, Meta(ge=0, le=1_024)] = 0
    """Which clause should deny; 0 for any."""

    inputs: dict[str, Any] = {}


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of a policy; what a field means stands with `fl.policies.records.Policy`."""

    name: NameField
    occasion: Occasion
    description: Annotated[str, Meta(max_length=512)] = ""
    source: Annotated[str, Meta(max_length=SOURCE_CHARACTERS_MAX)]
    tests: Annotated[tuple[PolicyTest, ...], Meta(max_length=TESTS_MAX)] = ()

    @property
    def policy(self) -> Policy:
        """What is proposed."""
        return Policy(self.name, self.occasion, self.description.strip(), self.source.strip(), program_of(self).digest)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a test."""

    name: str
    wanted: str
    """`allow`, `deny`, or `deny by clause 2`."""

    got: str
    detail: str
    """Of a denial."""

    cost: int

    @property
    def passed(self) -> bool:
        """Whether the policy did as was wanted."""
        return self.got == self.wanted or (self.wanted == "deny" and self.got.startswith("deny"))


def load_policy(path: Path) -> PolicyFile:
    """Read a policy from a TOML file.

    Raises:
        InvalidPolicyError: the file cannot be read, is malformed, or its source is no policy; all faults at once.
    """
    try:
        text = read_text(path, bytes_max=FILE_BYTES_MAX)
    except FaultsError as error:
        raise InvalidPolicyError(error.source, error.faults) from error
    return read_policy(text, source=str(path))


def read_policy(text: str, *, source: str) -> PolicyFile:
    """Return the policy in a text; errors as `load_policy`."""
    faults: list[str] = []
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidPolicyError(source, [f"not TOML: {error}"]) from error
    found = read(tree, PolicyFile, faults)
    if found is None or faults:
        raise InvalidPolicyError(source, faults)
    program_of(found)
    for test in found.tests:
        _inputs(found, test, faults)
    if faults:
        raise InvalidPolicyError(source, faults)
    return found


def program_of(file: PolicyFile) -> Program:
    """Return a file's policy, ready to judge.

    Raises:
        InvalidPolicyError: its source is no policy.
    """
    try:
        return compile_policy(file.source.strip(), OCCASIONS[file.occasion])
    except PolicyError as error:
        raise InvalidPolicyError(file.name, [f"source: {error}"]) from error


def try_policy(file: PolicyFile) -> tuple[Tried, ...]:
    """Run a file's tests."""
    program, found = program_of(file), []
    for test in file.tests:
        inputs = _inputs(file, test, [])
        assert inputs is not None, "reading the file has checked them"
        verdict = judge(program, inputs)
        wanted = f"deny by clause {test.clause}" if test.clause else test.verdict
        got = "allow" if verdict.allows else f"deny by clause {verdict.clause}"
        found.append(Tried(test.name, wanted, got, verdict.detail, verdict.cost))
    return tuple(found)


@cache
def templates() -> Mapping[str, Path]:
    """Return the files of the policies that come with the project, by name."""
    return {path.stem: path for path in sorted(TEMPLATES.glob("*.toml"))}


def _inputs(file: PolicyFile, test: PolicyTest, faults: list[str]) -> Input | None:
    kind, before = OCCASIONS[file.occasion], len(faults)
    where = f"tests: {test.name}"
    tree = _filled(type_of(kind), test.inputs, where, faults)
    if len(faults) > before:
        return None
    try:
        return msgspec.convert(tree, kind, strict=True)
    except msgspec.ValidationError as error:
        faults.append(f"{where}: {error}")
        return None


def _filled(kind: Type, value: object, where: str, faults: list[str]) -> object:
    """Return a tree with all that `value` leaves out."""
    if kind.kind == "record":
        given = value if isinstance(value, dict) else {}
        if value is not None and not isinstance(value, dict):
            faults.append(f"{where}: needs the fields of {kind}, got {value!r}")
        known = dict(kind.fields)
        faults.extend(
            f"{where}.{name}: is not known; {nearest(name, list(known))}" for name in given if name not in known
        )
        return {name: _filled(of, given.get(name), f"{where}.{name}", faults) for name, of in kind.fields}
    if kind.element is not None:
        given_items = value if isinstance(value, list) else []
        if value is not None and not isinstance(value, list):
            faults.append(f"{where}: needs a list, got {value!r}")
        return [_filled(kind.element, one, where, faults) for one in given_items]
    return {"bool": False, "int": 0, "string": ""}[kind.kind] if value is None else value
