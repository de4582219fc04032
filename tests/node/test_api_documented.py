"""docs/http-api.md names every route, problem code and metric that there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from jsonschema import Draft202012Validator

from node.api.documentation import Pages
from node.api.openapi import document, path_of
from node.api.page import page
from node.api.server import OPERATIONS, make_application
from node.metrics import NodeMetrics
from node.reason import REASONS
from tests.node.single_node import SingleNode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
CODES = sorted(
    {
        code
        for path in (ROOT / "node" / "api").glob("*.py")
        for code in re.findall(r'Problem\(\s*\d+,\s*"([a-z_.]+)"', path.read_text(encoding="utf-8"))
    }
)
ROUTES = sorted({path_of(operation) for operation in OPERATIONS})
METRICS = sorted(set(re.findall(r"^# TYPE (foedus_\w+)", NodeMetrics().render().decode(), re.MULTILINE)))


@pytest.mark.parametrize("route", ROUTES)
def test_the_page_tells_of_every_route(route: str) -> None:
    assert re.search(rf"`(?:[A-Z, ]+ )?{re.escape(route)}`", PAGE)


@pytest.mark.parametrize("code", CODES)
def test_the_page_tells_of_every_problem(code: str) -> None:
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize("metric", METRICS)
def test_the_page_tells_of_every_metric(metric: str) -> None:
    assert metric.removesuffix("_created") in PAGE


@pytest.mark.parametrize("code", REASONS)
def test_the_page_tells_of_every_reason(code: str) -> None:
    assert f"`{code}`" in PAGE


def served(read: Literal["open", "token"] = "open") -> dict[str, object]:
    """Return the OpenAPI document, through JSON as a client sees it."""
    found = json.loads(json.dumps(document(OPERATIONS, read)))
    assert isinstance(found, dict)
    return found


def objects(value: object) -> Iterator[dict[str, object]]:
    """Yield every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def test_the_document_has_every_route_and_method_that_is_served(tmp_path: Path) -> None:
    app = make_application(SingleNode.__new__(SingleNode), NodeMetrics())
    documented = {
        (method.upper(), path)
        for path, methods in served()["paths"].items()  # type: ignore[attr-defined]
        for method in methods
    }
    answered = {(one.method, one.resource.canonical) for one in app.router.routes() if one.resource is not None}

    assert documented == {(method, path) for method, path in answered if method != "HEAD"}


def test_the_document_refers_to_nothing_that_it_does_not_have() -> None:
    said = served()
    schemas = said["components"]["schemas"]  # type: ignore[index]
    references = {str(one["$ref"]) for one in objects(said) if "$ref" in one}

    assert references == {f"#/components/schemas/{name}" for name in schemas}
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_names_of_operations_are_unique_and_every_operation_says_what_it_does() -> None:
    operations = [one for one in objects(served()) if "operationId" in one]

    assert len({one["operationId"] for one in operations}) == len(operations) == len(OPERATIONS)
    assert all(str(one["summary"]).endswith(".") for one in operations)


def test_the_document_says_who_may_ask() -> None:
    either: list[object] = [{"token": []}, {"signature": []}]
    for read, needed in (("open", []), ("token", either)):
        paths = served(read)["paths"]  # type: ignore[arg-type]
        assert paths["/v1/status"]["get"]["security"] == needed  # type: ignore[index]
        assert paths["/v1/admin/log-level"]["put"]["security"] == [{"token": []}]  # type: ignore[index]
        assert paths["/healthz"]["get"]["security"] == []  # type: ignore[index]


def test_every_problem_that_a_route_names_is_on_the_page() -> None:
    for operation in OPERATIONS:
        for code in operation.problems:
            assert f"`{code}`" in PAGE, (operation.path, code)


def test_the_documentation_page_needs_nothing_from_elsewhere() -> None:
    made = Pages(OPERATIONS, "open")
    everything = made.html + made.style + made.script

    assert not re.findall(rb"https?://|//[a-z]+\.[a-z]+|@import|url\(", everything)
    assert not re.findall(rb"<script>|<style>| style=| on[a-z]+=", made.html)
    for operation in OPERATIONS:
        assert operation.handler.__doc__ is not None
        assert path_of(operation).rpartition("/")[2].strip("{}") in made.html.decode()


def test_what_stands_on_the_documentation_page_is_escaped() -> None:
    said = document(OPERATIONS, "open")
    paths = said["paths"]
    assert isinstance(paths, dict)
    status = paths["/v1/status"]
    assert isinstance(status, dict)
    assert isinstance(status["get"], dict)
    status["get"]["summary"] = "<img src=x onerror=alert(1)>"

    assert "<img" not in page(said)


def test_there_is_something_to_document() -> None:
    assert len(ROUTES) > 25
    assert len(CODES) > 25
    assert len(METRICS) > 10
