"""Problems: what the API says when it does not do what it was asked. One law: every problem has a stable code.

Source: RFC 9457, "Problem Details for HTTP APIs"; `code` is an extension member.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from ledger.application import RefusalError
from node.mempool import MempoolError
from node.payloads.errors import (
    ChunkMismatchError,
    PayloadError,
    QuotaError,
    RootMismatchError,
    StorageError,
    UnknownPayloadError,
)
from node.store import StoreError

PROBLEM_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:foedus:problem:"

log = structlog.get_logger(__name__)


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An answer other than success."""

    def __init__(self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        """Describe it.

        Args:
            status: HTTP status.
            code: stable name of the reason, such as `block.unknown`.
            detail: what was needed, what came, what to do.
            headers: more headers of the answer.
        """
        super().__init__(f"{code}: {detail}")
        self.status: Final = status
        self.code: Final = code
        self.detail: Final = detail
        self.headers: Final = headers or {}

    def response(self) -> web.Response:
        """Return the answer."""
        body = ProblemBody(
            type=TYPE_PREFIX + self.code,
            title=_TITLES.get(self.status, "Error"),
            status=self.status,
            detail=self.detail,
            code=self.code,
        )
        return web.Response(
            status=self.status, body=msgspec.json.encode(body), content_type=PROBLEM_TYPE, headers=self.headers
        )


_TITLES: Final = {
    400: "Bad request",
    401: "Not authorised",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Refused",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
    507: "No space",
}

_HTTP_CODES: Final = {404: "route.unknown", 405: "route.method", 413: "body.too_large"}


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into a problem; nothing else leaves the server."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except RefusalError as error:
        return Problem(422, error.code, error.detail).response()
    except MempoolError as error:
        status = 503 if error.code == "mempool.full" else 409 if "nonce" in error.code else 422
        return Problem(status, error.code, str(error)).response()
    except PayloadError as error:
        return _payload_problem(error).response()
    except StoreError as error:
        log.error("api.store", path=request.path, error=str(error))  # noqa: TRY400 - the message says all
        return Problem(503, "store.unavailable", "the node cannot read its store: see its log").response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = _HTTP_CODES.get(error.status, "request.invalid")
        kept = {name: value for name, value in error.headers.items() if name == "Allow"}
        return Problem(error.status, code, error.text or error.reason, headers=kept).response()
    except ConnectionError:
        raise
    except Exception:  # a fault of ours in one request: the log has it, the client a code, and the node lives
        log.exception("api.fault", method=request.method, path=request.path)
        return Problem(500, "node.fault", "the node failed to answer: see its log").response()


def _payload_problem(error: PayloadError) -> Problem:
    match error:
        case UnknownPayloadError():
            return Problem(404, "payload.unknown", str(error))
        case RootMismatchError() | ChunkMismatchError():
            return Problem(422, "payload.mismatch", str(error))
        case QuotaError():
            return Problem(507, "payload.quota", str(error))
        case StorageError():
            log.error("api.payload_storage", error=str(error))
            return Problem(507, "payload.storage", "the node's disk does not take the payload: see its log")
        case _:
            log.error("api.payload", error=str(error))
            return Problem(503, "payload.unavailable", str(error))
