"""Questions to a node's HTTP API. One law: one question, one answer or one clear reason why not.

The command line asks with the standard library alone, so that a question takes no longer than its answer. Programs
use `foedus.connect`, which also retries and verifies. `FOEDUS_TOKEN` is the token of a node whose reading is not open,
`FOEDUS_TLS_CA` the authority of an https node that is not one of the system's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from foedus.cli.output import CommandError, Json, print_json

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.error import HTTPError
    from urllib.request import HTTPSHandler

AnswerT = TypeVar("AnswerT")

URL_DEFAULT: Final = "http://127.0.0.1:8001"
SECONDS_MAX: Final = 30.0
ANSWER_BYTES_MAX: Final = 64 << 20
FILE_PIECE_BYTES: Final = 1 << 20

Url = Annotated[str, typer.Option("--url", envvar="FOEDUS_URL", help="The node's HTTP API.")]
Limit = Annotated[int, typer.Option("--limit", help="How many at most.", min=1, max=200)]
Task = Annotated[str | None, typer.Option("--task", help="Which task; may be left out when there is only one.")]


class Node:
    """A node, as the command line asks it."""

    def __init__(self, url: str, tls_ca: Path | None = None, *, seconds_max: float = SECONDS_MAX) -> None:
        """Take the API's address.

        Args:
            url: of the API.
            tls_ca: PEM file with the authority of an https node; environment `FOEDUS_TLS_CA` when None.
            seconds_max: how long to wait for an answer.

        Raises:
            CommandError: it is no URL, or the authority cannot be read.
        """
        from urllib.parse import urlsplit
        from urllib.request import ProxyHandler, build_opener

        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CommandError(f"a URL such as {URL_DEFAULT} is needed, got {url}")
        self.url = url.rstrip("/")
        self._seconds_max = seconds_max
        https = [_https(tls_ca)] if parts.scheme == "https" else []
        self._opener = build_opener(ProxyHandler({}), *https)

    def get(self, kind: type[AnswerT], /, *path: str | int, **query: str | int | None) -> AnswerT:
        """Return the answer at `/v1/<path>`.

        Raises:
            CommandError: the node does not answer, or says why not.
        """
        import msgspec

        try:
            return msgspec.json.decode(self.body(*path, **query), type=kind)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{self.url} answers something else than this version understands: {error}") from error

    def body(self, *path: str | int, **query: str | int | None) -> bytes:
        """Return the answer's bytes; errors as `get`."""
        with self._open(path, query) as response:
            content: bytes = response.read(ANSWER_BYTES_MAX + 1)
        if len(content) > ANSWER_BYTES_MAX:
            raise CommandError(f"{self.url} answers more than {ANSWER_BYTES_MAX} bytes; ask for less with --limit")
        return content

    def download(self, target: Path, *path: str | int) -> int:
        """Write an answer of any size to a new file and return its size; errors as `get`."""
        from http.client import IncompleteRead

        if target.exists():
            raise CommandError(f"{target} exists; name another file, or remove it first")
        partial = target.with_name(f".{target.name}.part")
        size = 0
        try:
            with self._open(path, {}) as response, partial.open("wb") as file:
                while piece := response.read(FILE_PIECE_BYTES):
                    size += file.write(piece)
            partial.rename(target)
        except IncompleteRead as error:
            raise CommandError(f"{self.url} ended its answer after {size} bytes; try again") from error
        finally:
            partial.unlink(missing_ok=True)
        return size

    def print_json(self, *path: str | int, **query: str | int | None) -> None:
        """Print an answer as it came."""
        value: Json = json.loads(self.body(*path, **query))
        print_json(value)

    def _open(self, path: Sequence[str | int], query: Mapping[str, str | int | None]) -> HTTPResponse:
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.parse import quote, urlencode
        from urllib.request import Request

        asked = urlencode({name: value for name, value in query.items() if value is not None})
        where = "/".join(quote(str(part), safe="") for part in path)
        request = Request(  # noqa: S310 - the scheme was checked
            f"{self.url}/v1/{where}" + (f"?{asked}" if asked else ""), headers=_headers()
        )
        try:
            response: HTTPResponse = self._opener.open(request, timeout=self._seconds_max)
        except HTTPError as error:
            raise CommandError(_problem(error)) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise CommandError(
                f"no node answers at {self.url} ({reason}); is it running? Name another one by --url or FOEDUS_URL"
            ) from error
        return response

    def task(self, name: str | None) -> str:
        """Return the task that is meant.

        Raises:
            CommandError: none was named and there is not exactly one.
        """
        if name is not None:
            return name
        from node.api.task_answers import TasksAnswer

        known = [item.id for item in self.get(TasksAnswer, "tasks").items]
        if len(known) == 1:
            return known[0]
        raise CommandError(f"name one with --task: {', '.join(known)}" if known else "this chain has no task yet")


def _headers() -> dict[str, str]:
    token = os.environ.get("FOEDUS_TOKEN")
    return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}


def _https(tls_ca: Path | None) -> HTTPSHandler:
    import ssl
    from urllib.request import HTTPSHandler

    authority = tls_ca or os.environ.get("FOEDUS_TLS_CA") or None
    try:
        return HTTPSHandler(context=ssl.create_default_context(cafile=authority))
    except OSError as error:
        raise CommandError(f"{authority} holds no certificate that could be trusted: {error}") from error


def _problem(error: HTTPError) -> str:
    """Return what an RFC 9457 problem says."""
    try:
        body = json.loads(error.read(65_536))
    except (ValueError, RecursionError, OSError):
        body = None
    if isinstance(body, dict) and "detail" in body:
        return f"{body['detail']} ({body.get('code', error.code)})"
    return f"the node answers {error.code} {error.reason}"


def moment(time_ms: int) -> str:
    """Return a time as people read it, in UTC; empty for 0."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if time_ms else ""


def short(digest: str) -> str:
    """Return the beginning of a digest, which is enough to tell it from others."""
    return digest[:12]


def figures(metrics: Mapping[str, float]) -> str:
    """Return metrics on one line."""
    return " ".join(f"{name}={value:g}" for name, value in sorted(metrics.items()))
