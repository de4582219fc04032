"""Fixtures of the command line's tests."""

from __future__ import annotations

import pytest

from tests.foedus.commands import Shell


@pytest.fixture
def foedus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run the command line: `foedus("status", "--json")`."""
    for name in ("FOEDUS_URL", "FOEDUS_DEBUG", "FOEDUS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return Shell(monkeypatch, capsys)
