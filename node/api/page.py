"""The documentation page, from the OpenAPI document. One law: whatever is shown is escaped."""

from __future__ import annotations

import re
from html import escape

from genesis.reading import Json
from node.api.operations import Schema


def page(document: Schema) -> str:
    """Return the page as HTML."""
    info = _object(document["info"])
    schemas = _object(_object(document["components"])["schemas"])
    groups: dict[str, list[str]] = {}
    for path, methods in _object(document["paths"]).items():
        for method, said in _object(methods).items():
            operation = _object(said)
            tag = str(_list(operation["tags"])[0])
            groups.setdefault(tag, []).append(_operation(path, method, operation))
    contents = "".join(f'<a href="#{_slug(tag)}">{escape(tag.replace("_", " "))}</a>' for tag in groups)
    sections = "".join(
        f'<section id="{_slug(tag)}"><h2>{escape(tag.replace("_", " "))}</h2>{"".join(operations)}</section>'
        for tag, operations in groups.items()
    )
    types = "".join(_type(name, _object(schema)) for name, schema in schemas.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(str(info["title"]))} · HTTP API</title>
<link rel="stylesheet" href="/docs/docs.css">
<script src="/docs/docs.js" defer></script>
</head>
<body>
<header>
<div class="name"><strong>Foedus</strong><span>HTTP API, version {escape(str(info["version"]))}</span></div>
<input id="filter" type="search" placeholder="Filter routes" aria-label="Filter routes" hidden>
<a class="raw" href="/openapi.json">openapi.json</a>
</header>
<div class="columns">
<nav aria-label="Resources">{contents}<a href="#types">types</a></nav>
<main>
<p class="lead">{_text(str(info["description"]))}</p>
<p class="key" hidden><label>Token for what you try here
<input id="token" type="password" autocomplete="off" placeholder="foedus-read-…"></label>
It stays in this page.</p>
{sections}
<section id="types"><h2>types</h2>{types}</section>
</main>
</div>
</body>
</html>
"""


def _operation(path: str, method: str, said: Schema) -> str:
    parameters = [_object(one) for one in _list(said["parameters"])]
    rows = "".join(_parameter(one) for one in parameters)
    table = f"<h4>Parameters</h4><table>{rows}</table>" if rows else ""
    body = ""
    if "requestBody" in said:
        content = _object(_object(said["requestBody"])["content"])
        body = f"<h4>Body</h4><ul>{''.join(_media(kind, _object(one)) for kind, one in content.items())}</ul>"
    answers = "".join(
        f"<li><b>{escape(status)}</b> {_text(str(_object(answer)['description']))}<ul>"
        + "".join(_media(kind, _object(one)) for kind, one in _object(_object(answer)["content"]).items())
        + "</ul></li>"
        for status, answer in _object(said["responses"]).items()
        if status != "5XX"
    )
    lock = _lock(_list(said["security"]))
    description = f"<p>{_text(str(said['description']))}</p>" if "description" in said else ""
    attempt = f'<form class="try" data-path="{escape(path)}" hidden></form>' if method == "get" else ""
    return f"""<details class="operation" id="{escape(str(said["operationId"]))}">
<summary><span class="method {escape(method)}">{escape(method.upper())}</span>
<code>{_path(path)}</code><span class="does">{_text(str(said["summary"]))}</span>{lock}</summary>
<div class="inside">{description}{table}{body}<h4>Answers</h4><ul class="answers">{answers}</ul>{attempt}</div>
</details>
"""


def _lock(security: list[Json]) -> str:
    if not security:
        return ""
    words = {"token": "token", "signature": "signed request"}
    needed = " or ".join(words[name] for one in security for name in _object(one))
    return f'<span class="lock">{escape(needed)}</span>'


def _parameter(parameter: Schema) -> str:
    schema = _object(parameter["schema"])
    name, place = escape(str(parameter["name"])), escape(str(parameter["in"]))
    return (
        f'<tr data-name="{name}" data-in="{place}"><td><code>{name}</code></td><td class="where">{place}</td>'
        f"<td>{_text(str(parameter['description']))} <span class=type>{escape(_kind(schema))}</span></td></tr>"
    )


def _media(kind: str, media: Schema) -> str:
    reference = media.get("schema") or media.get("x-data")
    link = f" {_reference(_object(reference))}" if reference else ""
    return f"<li><span class=media>{escape(kind)}</span>{link}</li>"


def _type(name: str, schema: Schema) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_field(_object(said))}</td></tr>"
        for field, said in _object(schema.get("properties", {})).items()
    )
    about = _text(str(schema.get("description", "")))
    summary = f"<summary><code>{escape(name)}</code> {about}</summary>"
    return f'<details class="schema" id="{_slug(name)}">{summary}<table>{rows}</table></details>'


def _field(schema: Schema) -> str:
    if "$ref" in schema:
        return _reference(schema)
    if "anyOf" in schema:
        return " or ".join(_field(_object(one)) for one in _list(schema["anyOf"]))
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_field(_object(schema['items']))}"
    return f"<span class=type>{escape(_kind(schema))}</span>"


def _kind(schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(str(one) for one in _list(schema["enum"]))
    words = [str(schema.get("type", "any"))]
    if "minimum" in schema and "maximum" in schema:
        words.append(f"{schema['minimum']} to {schema['maximum']}")
    if "pattern" in schema:
        words.append(str(schema["pattern"]))
    if schema.get("default") is not None:
        words.append(f"default {schema['default']}")
    return ", ".join(words)


def _reference(schema: Schema) -> str:
    name = str(schema["$ref"]).rpartition("/")[2]
    return f'<a href="#{_slug(name)}">{escape(name)}</a>'


def _path(path: str) -> str:
    return re.sub(r"(\{\w+\})", r"<i>\1</i>", escape(path))


def _text(text: str) -> str:
    """Return text as HTML: escaped, `code` marked."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "-", name)


def _object(value: Json) -> Schema:
    assert isinstance(value, dict), "the document is our own"
    return value


def _list(value: Json) -> list[Json]:
    assert isinstance(value, list), "the document is our own"
    return value
