"""What the API offers, as data. One law: a route is said once, for the server, its document and its checks alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec
from aiohttp import web

from genesis.reading import Json
from ledger.fields import UINT_MAX
from ledger.payload import PAYLOAD_BYTES_MAX, SALT_BYTES

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Schema: TypeAlias = dict[str, Json]
Access = Literal["open", "read", "submit", "admin"]
"""Who may ask: anybody; readers; a participant by a signed request, or a token that may submit; an admin's token."""

JSON: Final = "application/json"
MESSAGE_PACK: Final = "application/msgpack"
BYTES: Final = "application/octet-stream"
PAGE_ITEMS_DEFAULT: Final = 50
PAGE_ITEMS_MAX: Final = 200
WAIT_SECONDS_MAX: Final = 30.0
WAIT_SECONDS_DEFAULT: Final = 25.0
KEY_BYTES_MAX: Final = 256
NAME: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
"""Names of tasks, participants and kinds of transactions; see `ledger.fields.NAME_PATTERN`."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something a request says beside its body."""

    name: str
    description: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Content:
    """A body, of a request or an answer."""

    status: int
    media_type: str
    type: type[msgspec.Struct] | None = None
    """What the JSON is; None for bytes and text."""

    description: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route."""

    method: str
    path: str
    handler: Handler
    answers: tuple[Content, ...]
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    bodies: tuple[Content, ...] = ()
    problems: tuple[str, ...] = ()
    """Codes that only some routes give."""

    access: Access = "read"
    allow_head: bool = True


def get(  # noqa: PLR0913 - the fields of a record
    path: str,
    handler: Handler,
    answer: type[msgspec.Struct] | None,
    *,
    query: tuple[Parameter, ...] = (),
    headers: tuple[Parameter, ...] = (),
    media_types: tuple[str, ...] = (),
    also: tuple[Content, ...] = (),
    problems: tuple[str, ...] = (),
    access: Access = "read",
    allow_head: bool = True,
) -> Operation:
    """Return a route that reads.

    Args:
        path: with `{names}`.
        handler: its docstring becomes the route's description.
        answer: what the JSON is; None when there is none.
        query: parameters after the question mark.
        headers: request headers that mean something here.
        media_types: other forms of the same answer.
        also: answers with other statuses.
        problems: codes that only some routes give.
        access: who may ask.
        allow_head: whether HEAD is answered too.
    """
    json = () if answer is None else (Content(200, JSON, answer),)
    others = tuple(Content(200, media_type) for media_type in media_types)
    return Operation(
        "GET",
        path,
        handler,
        (*json, *others, *also),
        query=query,
        headers=headers,
        problems=problems,
        access=access,
        allow_head=allow_head,
    )


def _integer(low: int, high: int, **more: Json) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, **more}


def _pattern(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


_HEX_32: Final = _pattern("[0-9a-f]{64}")
_NUMBER_OR_LATEST: Final = _pattern("(latest|[0-9]{1,12})")

LIMIT: Final = Parameter("limit", "How many items at most.", _integer(1, PAGE_ITEMS_MAX, default=PAGE_ITEMS_DEFAULT))
BEFORE: Final = Parameter("before", "`next` of the page before this one.", _integer(0, UINT_MAX))
AFTER_NAME: Final = Parameter("after", "`next` of the page before this one.", _pattern(NAME))
AFTER_KEY: Final = Parameter("after", "`next` of the page before this one.", _HEX_32)
OFFENCE: Final = NAME + "/[0-9a-f]{64}"
AFTER_OFFENCE: Final = Parameter("after", "`next` of the page before this one.", _pattern(OFFENCE))
ACCOUNT: Final = f"{NAME}/{NAME}"
AFTER_ACCOUNT: Final = Parameter("after", "`next` of the page before this one.", _pattern(ACCOUNT))
HEIGHT: Final = Parameter("height", "Which height's set; the next one's without it.", _integer(1, UINT_MAX))
TIMEOUT: Final = Parameter(
    "timeout",
    "Seconds to wait at most.",
    _integer(0, int(WAIT_SECONDS_MAX), default=int(WAIT_SECONDS_DEFAULT)),
)
WAIT_AFTER: Final = Parameter("wait_after", "Wait until a round after this one exists.", _integer(0, UINT_MAX))
KIND: Final = Parameter("kind", "Only transactions of this kind.", _pattern(NAME))
SENDER: Final = Parameter("sender", "Only transactions of this key.", _HEX_32)
WAIT: Final = Parameter(
    "wait", "`committed`: answer once the transaction stands in a block.", {"type": "string", "enum": ["committed"]}
)
EVENTS_AFTER: Final = Parameter(
    "after", "Number of the last event that was seen, or `latest`.", _pattern("(latest|[0-9]{1,18})")
)
RANGE: Final = Parameter("Range", "One range of bytes, as in RFC 9110.", {"type": "string"})
LAST_EVENT_ID: Final = Parameter("Last-Event-ID", "As `after`; browsers send it.", _pattern("(latest|[0-9]{1,18})"))
CONTENT_RANGE: Final = Parameter(
    "Content-Range",
    "`bytes FIRST-LAST/SIZE`: which whole chunks of 1 MiB come; all of them without it.",
    _pattern("bytes [0-9]{1,12}-[0-9]{1,12}/[0-9]{1,12}"),
)

PATH_PARAMETERS: Final = {
    parameter.name: parameter
    for parameter in (
        Parameter("block", "Height, id or `latest`.", _pattern("(latest|[0-9]{1,18}|[0-9a-f]{64})")),
        Parameter("id", "Transaction id.", _HEX_32),
        Parameter("number", "Number of a proposal.", _pattern("[0-9]{1,12}")),
        Parameter("task", "Id of a task.", _pattern(NAME)),
        Parameter("name", "Name of a policy.", _pattern(NAME)),
        Parameter("organisation", "Name of an institution.", _pattern(NAME)),
        Parameter("data_set", "What the terms of tasks call the data.", _pattern(NAME)),
        Parameter("round", "Number, or `latest`.", _NUMBER_OR_LATEST),
        Parameter("version", "Number, or `latest`.", _NUMBER_OR_LATEST),
        Parameter("size", "Bytes of the payload, its salt included.", _integer(SALT_BYTES, PAYLOAD_BYTES_MAX)),
        Parameter("root", "Merkle root of its chunks.", _HEX_32),
        Parameter("public_key", "Whose.", _HEX_32),
        Parameter("key", "A key of the state, in hex.", _pattern(f"([0-9a-f]{{2}}){{1,{KEY_BYTES_MAX}}}")),
    )
}
