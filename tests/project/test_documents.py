"""What the pages say exists, exists."""

import ast
import re
import textwrap
from pathlib import Path

import pytest

from tests.project.tree import PACKAGES, PROJECT, ROOT, documents

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in documents()]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def code(page: Path, language: str) -> list[str]:
    """Give the fenced blocks of a page that are marked with `language`."""
    text = page.read_text(encoding="utf-8")
    return [textwrap.dedent(block) for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_a_page_names_exists(page: Path) -> None:
    """Only what is written as code is a command: `make demo`, or a line of a shell block."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", text))
    for block in (*code(page, "sh"), *code(page, "bash"), *code(page, "console")):
        named |= set(re.findall(r"(?:^|[$&;] ?)make ([a-z-]+)", block, re.MULTILINE))

    assert named <= TARGETS


@pytest.mark.parametrize("page", PAGES)
def test_every_link_into_the_tree_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:", link) and not link.startswith("#")]

    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_is_python(page: Path) -> None:
    for block in code(page, "python"):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_tree_a_page_names_exists(page: Path) -> None:
    """And every test: `tests/x.py::test_y`."""
    rooms = "|".join((*PACKAGES, "tests", "docs", "benchmarks"))
    named = re.findall(rf"`((?:{rooms})/[\w/-]+[.]\w+)(?:::(\w+))?`", page.read_text(encoding="utf-8"))

    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_the_menu_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)) == TARGETS
    assert {"demo", "test", "check", "soak", "clean", "help"} <= TARGETS


def test_the_changelog_opens_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (\S+)", changelog, re.MULTILINE)

    assert first is not None
    assert first[1] == PROJECT["project"]["version"]
