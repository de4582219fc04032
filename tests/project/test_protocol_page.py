"""docs/protocol.md and the code name the same things: records, codes with their texts, tags, domains, kinds, keys."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import msgspec.inspect
import pytest

from consensus.messages import MESSAGE_BYTES_MAX
from consensus.safety import RECORD_BYTES_MAX
from fl.application import _QUEUED, AGGREGATE, FederatedLearning
from fl.records import AggregateClaim
from genesis.document import GENESIS_BYTES_MAX
from ledger.application import STATE_VALUE_BYTES_MAX
from ledger.certificate import PROTOCOL_VERSION
from ledger.codec import Record
from ledger.fields import NAME_PATTERN
from ledger.light import LIGHT_PROOF_BYTES_MAX
from ledger.succession import FOLLOWED_PROOF_BYTES_MAX
from ledger.transaction import TRANSACTION_BYTES_MAX
from node.results import RESULT_VOTE_BYTES_MAX
from node.signed_request import BODY_HEADER, KEY_HEADER, SIGNATURE_HEADER, SKEW_MS_MAX, TIME_HEADER
from node.transport.frames import MESSAGE_BYTES_MAX as FRAME_MESSAGE_BYTES_MAX
from node.transport.frames import Kind
from node.transport.handshake import HELLO_BYTES_MAX, REFUSED_CODE
from node.wire import IN_SYNC_BYTES_MAX, PAYLOAD_FRAME_BYTES_MAX, Channel
from tests.project.protocol_records import PAGE, TABLES
from tests.project.tree import ROOT

TEXT = PAGE.read_text(encoding="utf-8")
ROOMS = ("ledger", "fl", "consensus", "genesis", "node")
OWN_DISK = {"node.payloads", "node.recording", "node.store"}
"""What a node writes for itself is not part of the protocol."""


@cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def module_of(path: Path) -> ModuleType:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return importlib.import_module(dotted.removesuffix(".__init__"))


def calls(*names: str, rooms: tuple[str, ...] = ROOMS) -> Iterator[tuple[Path, ast.Call, ast.FunctionDef | None]]:
    """Yield every call of a function with one of these names, and the function that it stands in."""
    for path, tree in sources():
        if path.relative_to(ROOT).parts[0] not in rooms:
            continue
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in names:
                around = [one for one in functions if one.lineno <= node.lineno <= (one.end_lineno or 0)]
                yield path, node, max(around, key=lambda one: one.lineno, default=None)


def rows(*head: str) -> list[list[str]]:
    """Return the rows of all tables of the page that begin with these headings."""
    pattern = rf"^\| {re.escape(' | '.join(head))} \|.*\n\|[-|]+\|\n((?:\|.*\n)*)"
    lines = "".join(re.findall(pattern, TEXT, re.MULTILINE)).splitlines()
    return [[cell.strip() for cell in re.split(r" \| ", line.strip("| "))] for line in lines]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Records


def type_text(kind: msgspec.inspect.Type) -> str:
    """Say a field's type as the page does."""
    match kind:
        case msgspec.inspect.IntType(gt=None, ge=low, lt=below, le=high):
            bounds = f"int({low}..{high if below is None else below - 1})"
            return {"int(0..9223372036854775807)": "uint", "int(None..None)": "int"}.get(bounds, bounds)
        case msgspec.inspect.BytesType(min_length=least, max_length=most):
            return "bytes" + ("" if most is None else str(most) if least == most else f"({most})")
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return "name" if pattern == NAME_PATTERN else "line"
        case msgspec.inspect.StrType(max_length=most):
            return "text" if most is None else f"text({most})"
        case msgspec.inspect.LiteralType(values=values):
            return " / ".join(f'"{value}"' for value in values)
        case msgspec.inspect.UnionType(types=types):
            is_absent = [isinstance(one, msgspec.inspect.NoneType) for one in types]
            present = [type_text(one) for one, absent in zip(types, is_absent, strict=True) if not absent]
            return " / ".join([*present, "nil"] if any(is_absent) else present)
        case msgspec.inspect.VarTupleType(item_type=item, max_length=most):
            return f"list({type_text(item)})" if most is None else f"list({type_text(item)}, {most})"
        case msgspec.inspect.TupleType(item_types=items):
            return f"({', '.join(map(type_text, items))})"
        case msgspec.inspect.StructType(cls=record):
            return record.__name__
        case _:
            raise AssertionError(kind)


def record_classes() -> dict[str, type[Record]]:
    for path, _ in sources():
        if path.relative_to(ROOT).parts[:2] != ("node", "api"):
            module_of(path)
    waiting, found = [Record], dict[str, type[Record]]()
    while waiting:
        for record in waiting.pop().__subclasses__():
            waiting.append(record)
            room = ".".join(record.__module__.split(".")[:2])
            if record.__module__.split(".")[0] in ROOMS and room not in OWN_DISK:
                found[record.__name__] = record
    return found


RECORDS = record_classes()


def test_every_record_is_in_the_page_and_the_other_way_round() -> None:
    assert set(RECORDS) == set(TABLES)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_record_has_the_fields_types_bounds_and_tag_of_its_table(name: str) -> None:
    info = msgspec.inspect.type_info(RECORDS[name])
    assert isinstance(info, msgspec.inspect.StructType)

    assert (TABLES[name].tag, TABLES[name].fields) == (
        info.tag,
        tuple((field.name, type_text(field.type)) for field in info.fields),
    )


def test_what_is_decoded_on_its_own_has_the_limits_of_the_page() -> None:
    limits = {cells[0]: int(cells[1].replace(",", "")) for cells in rows("what", "limit in bytes")}

    assert list(limits.values()) == [
        TRANSACTION_BYTES_MAX,
        STATE_VALUE_BYTES_MAX,
        LIGHT_PROOF_BYTES_MAX,
        FOLLOWED_PROOF_BYTES_MAX,
        MESSAGE_BYTES_MAX,
        RECORD_BYTES_MAX,
        PAYLOAD_FRAME_BYTES_MAX,
        RESULT_VOTE_BYTES_MAX,
        IN_SYNC_BYTES_MAX,
        HELLO_BYTES_MAX,
        GENESIS_BYTES_MAX,
    ]


# Refusals and events


def template(node: ast.expr, path: Path) -> str | None:
    """Return a text with `{}` for what is filled in, None when it is another error's."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(piece(part, path) for part in parts)
        case _:
            return None


def piece(part: ast.expr, path: Path) -> str:
    match part:
        case ast.Constant(value=text):
            return str(text)
        case ast.FormattedValue(value=ast.Name(id=name)) if name.isupper():
            return str(getattr(module_of(path), name))
        case _:
            return "{}"


def value_of(node: ast.expr, function: ast.FunctionDef | None, line: int) -> ast.expr:
    """Return what a local name was last set to before `line`."""
    if not isinstance(node, ast.Name) or function is None:
        return node
    found = [
        one.value
        for one in ast.walk(function)
        if isinstance(one, ast.Assign) and one.lineno < line and ast.unparse(one.targets[0]) == node.id
    ]
    return found[-1] if found else node


def codes_of(node: ast.expr) -> set[str]:
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def refusals(name: str, *rooms: str) -> set[tuple[str, str | None]]:
    found = set()
    for path, call, function in calls(name, rooms=rooms):
        text = template(value_of(call.args[1], function, call.lineno), path)
        found |= {(code, text) for code in codes_of(value_of(call.args[0], function, call.lineno))}
    return found


def page_refusals() -> set[tuple[str, str | None]]:
    found = set[tuple[str, str | None]]()
    earlier: str | None = None
    for code, detail, *_ in rows("code", "detail"):
        text = re.fullmatch(r"``(.*)``", detail)
        earlier = re.sub(r"\{[^}]*\}", "{}", text[1]) if text else earlier if detail == "the same text" else None
        found.add((named(code)[0], earlier))
    return found


QUEUE_ONLY = {"aggregate.not_queued"}
UNREACHABLE = {("task.unsound", None)}
"""A rule spec that exists has a minimum."""


def test_every_refusal_on_the_chain_has_the_code_and_the_text_of_the_page() -> None:
    raised = {one for one in refusals("RefusalError", "ledger", "fl", "node") if one[0] not in QUEUE_ONLY}
    said = page_refusals() | {("task.not_officer", None)}  # said twice in the page, once as above

    assert {one for one in raised if one[1]} == {one for one in said if one[1]}
    assert {one for one in raised - UNREACHABLE if not one[1]} <= said
    assert {code for code, _ in raised} == {code for code, _ in said}


def test_every_refusal_of_the_queue_is_in_the_page() -> None:
    queue = TEXT[TEXT.index("A node's queue also refuses") : TEXT.index("## 10. Blocks")]
    table = {code for line in queue.splitlines() if line.startswith("| `") for code in named(line.split(" | ")[0])}
    admitted = {"transaction.unknown_kind", "transaction.unknown_sender"} | QUEUE_ONLY

    assert {code for code, _ in refusals("MempoolError", "node")} | admitted == table


def test_every_event_has_the_text_of_the_page() -> None:
    said = {named(cells[0])[0]: cells[2] for cells in rows("event", "subject", "detail")}
    raised = {
        code: template(call.args[2], path)
        for path, call, _ in calls("Event", rooms=("fl",))
        for code in codes_of(call.args[0])
    }
    texts = {code: re.sub(r"\{[^}]*\}", "{}", cell.strip("`")) for code, cell in said.items()}

    assert set(raised) == set(texts)
    for code, text in raised.items():
        assert texts[code] in (["{}", "the reason"] if text is None else [text or "empty"]), code


# Hashes, signatures, kinds, keys


def test_every_digest_tag_is_in_the_page_and_the_other_way_round() -> None:
    used = {
        call.args[0].value for _, call, _ in calls("digest") if call.args and isinstance(call.args[0], ast.Constant)
    }

    assert used == {named(cells[0])[0] for cells in rows("tag", "parts")} | {"safety-row"}


def test_every_signature_domain_is_in_the_page_and_the_other_way_round() -> None:
    signing = ("sign", "verify", "sign_statement", "verify_statement", "verify_statements", "_is_signed")
    used = set[str]()
    for path, call, _ in calls(*signing):
        for argument in call.args[:3]:
            named_so = getattr(module_of(path), argument.id, None) if isinstance(argument, ast.Name) else None
            value = argument.value if isinstance(argument, ast.Constant) else named_so
            used |= {value} if isinstance(value, str) else set()

    assert used == {named(cells[0])[0] for cells in rows("domain", "signed by")}


def test_every_kind_of_transaction_is_in_the_page_with_its_payload() -> None:
    kinds = {kind: record.__name__ for kind, record in _QUEUED.items()} | {AGGREGATE: AggregateClaim.__name__}

    assert kinds == {named(cells[0])[0]: named(cells[1])[0] for cells in rows("kind", "payload")}


def test_every_state_key_is_in_the_page_and_the_other_way_round() -> None:
    used = {
        node.value.decode()
        for path, tree in sources()
        if path.relative_to(ROOT).parts[0] in ("ledger", "fl")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and re.match(rb"(ledger|fl)/", node.value)
    }

    assert used == {named(cells[0])[0] for cells in rows("key", "value", "written by")}


def test_the_page_speaks_of_these_versions() -> None:
    assert f"# The Foedus protocol, version {PROTOCOL_VERSION}\n" in TEXT
    assert f"| `application_version` | {FederatedLearning.version} |" in TEXT


def test_the_page_names_the_headers_of_a_signed_request_and_their_time() -> None:
    signed = TEXT[TEXT.index("### 16.5") : TEXT.index("## 17.")]

    assert {KEY_HEADER, TIME_HEADER, BODY_HEADER, SIGNATURE_HEADER} == {
        one for one in named(signed) if one.startswith("Foedus-")
    }
    assert f"{SKEW_MS_MAX:,} ms" in signed


def test_the_page_numbers_channels_frames_and_refused_handshakes_as_the_code_does() -> None:
    links = " ".join(TEXT[TEXT.index("### 16.3") : TEXT.index("### 16.4")].split())

    assert [channel.name for channel in Channel] == ["CONSENSUS", "TRANSACTION", "RESULT", "PAYLOAD", "LEARNER"]
    assert "1 consensus messages, 2 raw transactions, 3 `ResultVote`s, 4 payload frames, 5 `InSync`s" in links
    assert [kind.value for kind in Kind] == [0, 1, 2, 3]
    assert f"at most {FRAME_MESSAGE_BYTES_MAX:,} bytes" in links
    assert f"close code {REFUSED_CODE}" in links
