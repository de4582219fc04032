"""The API's OpenAPI document. One law: it is made of the types that are sent and the routes that are served.

Source: OpenAPI Specification 3.1.0; schemas are JSON Schema 2020-12, as msgspec writes them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from genesis.reading import Json, to_json
from node.api.operations import JSON, PATH_PARAMETERS, Content, Operation, Parameter, Schema
from node.api.problem import PROBLEM_TYPE, ProblemBody
from node.signed_request import SIGNATURE_HEADER
from node.standing import program_version

OPENAPI_VERSION: Final = "3.1.0"
API_VERSION: Final = "1"
_REFERENCE: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = (
    "What a node of the consortium tells and takes. Bytes are lower-case hex, times are milliseconds since 1970-01-01 "
    "UTC, metrics are plain numbers. Version 1 never renames or removes a field; clients ignore fields that they do "
    "not know."
)
_SECURITY: Final[Schema] = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of this node: `foedus token new`."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": SIGNATURE_HEADER,
        "description": (
            "A participant's signature of (method, path with query, time, SHA-256 of the body), with the headers "
            "Foedus-Key, Foedus-Time and Foedus-Body; docs/http-api.md says it exactly."
        ),
    },
}


def document(operations: Sequence[Operation], read: Literal["open", "token"]) -> Schema:
    """Return the OpenAPI document of these operations.

    Args:
        operations: all that are served.
        read: whether reading needs a token or a signature.
    """
    paths: dict[str, Json] = {}
    for operation in operations:
        path = paths.setdefault(path_of(operation), {})
        assert isinstance(path, dict), "made one line above"
        path[operation.method.lower()] = _operation(operation, read)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Foedus",
            "summary": "HTTP API of a consortium's node",
            "description": _DESCRIPTION,
            "version": API_VERSION,
            "x-program-version": program_version(),
        },
        "paths": paths,
        "components": {"schemas": _schemas(operations), "securitySchemes": _SECURITY},
    }


def path_of(operation: Operation) -> str:
    """Return the route as OpenAPI writes it: names without patterns."""
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", operation.path)


def summary_of(operation: Operation) -> tuple[str, str]:
    """Return the first sentence of what a route does, and the rest."""
    text = inspect.getdoc(operation.handler) or ""
    first, _, rest = text.partition("\n\n")
    return " ".join(first.split()), " ".join(rest.split())


def _operation(operation: Operation, read: Literal["open", "token"]) -> Schema:
    summary, description = summary_of(operation)
    resource = operation.handler.__module__.rpartition(".")[2]
    said: Schema = {
        "operationId": f"{resource}.{operation.handler.__name__.strip('_')}",
        "tags": [resource],
        "summary": summary,
        "security": _security(operation, read),
        "responses": _responses(operation),
    }
    if description:
        said["description"] = description
    names = re.findall(r"\{(\w+)\}", path_of(operation))
    said["parameters"] = [
        *(_parameter(PATH_PARAMETERS[name], "path") for name in names),
        *(_parameter(one, "query") for one in operation.query),
        *(_parameter(one, "header") for one in operation.headers),
    ]
    if operation.bodies:
        said["requestBody"] = {"required": True, "content": {one.media_type: _media(one) for one in operation.bodies}}
    return said


def _parameter(parameter: Parameter, place: str) -> Schema:
    return {
        "name": parameter.name,
        "in": place,
        "required": place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _security(operation: Operation, read: Literal["open", "token"]) -> list[Json]:
    match operation.access:
        case "admin":
            return [{"token": []}]
        case "submit" | "member":
            return [{"token": []}, {"signature": []}]
        case "read" if read == "token":
            return [{"token": []}, {"signature": []}]
        case _:
            return []


def _responses(operation: Operation) -> Schema:
    answers: Schema = {}
    for one in operation.answers:
        known = answers.setdefault(str(one.status), {"description": one.description or "Done.", "content": {}})
        assert isinstance(known, dict), "made one line above"
        content = known["content"]
        assert isinstance(content, dict), "made with it"
        content[one.media_type] = _media(one)
    codes = ", ".join(f"`{code}`" for code in operation.problems)
    problem: Schema = {
        "description": f"A problem. {f'Codes of this route: {codes}.' if codes else ''}".rstrip(),
        "content": {PROBLEM_TYPE: {"schema": {"$ref": _REFERENCE.format(name=ProblemBody.__name__)}}},
    }
    return {**answers, "4XX": problem, "5XX": problem}


def _media(content: Content) -> Schema:
    if content.type is None:
        return {}
    reference: Schema = {"$ref": _REFERENCE.format(name=content.type.__name__)}
    return {"schema": reference} if content.media_type == JSON else {"x-data": reference}


def _schemas(operations: Sequence[Operation]) -> Schema:
    types = [one.type for operation in operations for one in (*operation.answers, *operation.bodies) if one.type]
    _, components = msgspec.json.schema_components([*dict.fromkeys(types), ProblemBody], ref_template=_REFERENCE)
    schemas = to_json(dict(sorted(components.items())))
    assert isinstance(schemas, dict), "an object stays one"
    return schemas
