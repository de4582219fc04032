"""The API's OpenAPI document as a judge: every answer of the tests is held against it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from jsonschema import Draft202012Validator

from node.api.documentation import PAGES
from tests.node.single_node import Served

Json = Mapping[str, object]


@dataclass(frozen=True)
class Contract:
    """What the document promises."""

    document: Json

    @staticmethod
    def of(served: Served) -> Contract:
        return Contract(json.loads(served.server._app[PAGES].openapi))

    def require(self, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
        """Check that an answer is one of those that the document names, in status, media type and schema."""
        operation = self.operation("GET" if method == "HEAD" else method, path.partition("?")[0])
        if operation is None:
            assert status in {404, 405}, f"{method} {path} is not in the document and answered {status}"
            return
        responses = _object(operation["responses"])
        said = responses.get(str(status)) or responses.get(f"{status // 100}XX")
        assert said is not None, f"{method} {path}: the document knows no {status}"
        media = _object(_object(said)["content"])
        kind = content_type.partition(";")[0]
        assert kind in media, f"{method} {path}: the document knows no {kind} for {status}"
        schema = _object(media[kind]).get("schema")
        if schema is not None and method != "HEAD":
            checked = {**_object(schema), "components": self.document["components"]}
            Draft202012Validator(checked).validate(json.loads(body))

    def operation(self, method: str, path: str) -> Json | None:
        """Return the operation that serves a path; one without parameters goes first."""
        paths = _object(self.document["paths"])
        for route in sorted(paths, key=lambda route: route.count("{")):
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route))
            methods = _object(paths[route])
            if re.fullmatch(pattern, path) and method.lower() in methods:
                return _object(methods[method.lower()])
        return None


def _object(value: object) -> Json:
    assert isinstance(value, dict), value
    return value
