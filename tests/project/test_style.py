"""Habits of this house that no linter knows."""

import re
from pathlib import Path

import pytest

from tests.project.tree import ROOT, modules

LINES_MAX = 400
MODULES = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in modules()]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stays_short_enough_to_read(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_named_for_what_it_is(module: Path) -> None:
    assert module.stem not in {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def test_every_lint_rule_left_out_has_its_reason() -> None:
    """Each line of pyproject.toml that names a rule code says why after a `#`."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    rules = [line for line in section.splitlines() if re.search(r'"[A-Z]+[0-9]*"', line) and "select" not in line]

    assert len(rules) > 10
    assert [line for line in rules if not re.search(r"# \S", line)] == []
