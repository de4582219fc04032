"""docs/http-api.md names every route, problem code and metric that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.api.server import RESOURCES
from node.metrics import NodeMetrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
CODES = sorted(
    {
        code
        for path in (ROOT / "node" / "api").glob("*.py")
        for code in re.findall(r'Problem\(\s*\d+,\s*"([a-z_.]+)"', path.read_text(encoding="utf-8"))
    }
)
ROUTES = sorted(
    {re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path) for resource in RESOURCES for route in resource.ROUTES}
)
METRICS = sorted(set(re.findall(r"^# TYPE (foedus_\w+)", NodeMetrics().render().decode(), re.MULTILINE)))


@pytest.mark.parametrize("route", ROUTES)
def test_the_page_tells_of_every_route(route: str) -> None:
    assert f"`{route}`" in PAGE or f"GET {route}`" in PAGE or f"PUT {route}`" in PAGE


@pytest.mark.parametrize("code", CODES)
def test_the_page_tells_of_every_problem(code: str) -> None:
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize("metric", METRICS)
def test_the_page_tells_of_every_metric(metric: str) -> None:
    assert metric.removesuffix("_created") in PAGE


def test_there_is_something_to_document() -> None:
    assert len(ROUTES) > 25
    assert len(CODES) > 25
    assert len(METRICS) > 10
