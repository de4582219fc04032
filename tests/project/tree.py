"""Where the project's files are, for the tests that look at the project itself."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def modules() -> list[Path]:
    """Every module that is shipped, in a fixed order."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def documents() -> list[Path]:
    """Every page a reader is meant to read."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
