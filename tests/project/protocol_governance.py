"""Section 13.11 of docs/protocol.md: what is decided about learning. One law: no rooms."""

from __future__ import annotations

from tests.project.protocol_learning import Book, need, number, paused_until, pauses, sound_task
from tests.project.protocol_reader import digest
from tests.project.protocol_records import Rec, Value, encode, make

KINDS = ("PauseLearning", "ResumeLearning", "ChangeTask", "ReleaseModel")
TIMELOCK_BLOCKS = 16
CHANGEABLE = (
    "rule",
    "clip_norm_micros",
    "updates_min",
    "updates_max",
    "collect_ms",
    "aggregate_ms",
    "rounds",
    "participants",
)


def changed(spec: Rec, action: Rec) -> Rec:
    return spec.changed(**{name: action.fields[name] for name in CHANGEABLE})


def pending(book: Book, name: str) -> Rec | None:
    return book.read("PendingChange", b"fl/task-change/" + name.encode())


def release_key(action: Rec) -> bytes:
    return b"fl/release/" + action.text("task").encode() + b"/" + number(action.number("version"))


def changes_nothing(book: Book, action: Rec) -> bool:
    match action.kind:
        case "ResumeLearning":
            return all(one.fields["task"] != action.fields["task"] for one in pauses(book))
        case "ChangeTask":
            task, decided = book.task(action.text("task")), pending(book, action.text("task"))
            if task is None:
                return False
            spec = task.rec("spec") if decided is None else decided.rec("spec")
            return changed(spec, action) == spec
        case "ReleaseModel":
            return release_key(action) in book.state
        case _:
            return False


def require_possible(book: Book, action: Rec) -> None:
    match action.kind:
        case "PauseLearning":
            name = action.fields["task"]
            need(name is None or name in book.active(), "pause.unknown_task", f"no active task is named {name!s}")
        case "ChangeTask":
            name = action.text("task")
            task = book.task(name)
            is_active = task is not None and task.text("status") == "active"
            need(is_active, "change.unknown_task", f"no active task is named {name}")
            assert task is not None
            ours, theirs = digest("task", encode(task.rec("spec"))), action.data("specification")
            detail = f"{name} is {ours.hex()}, the change is one of {theirs.hex()}"
            need(ours == theirs, "change.other_specification", detail)
            sound_task(changed(task.rec("spec"), action))
        case "ReleaseModel":
            name, version = action.text("task"), action.number("version")
            model = book.read("ModelState", b"fl/model/" + name.encode() + b"/" + number(version))
            fits = model is not None and model.number("round") > 0 and model.fields["payload"] == action.rec("model")
            need(fits, "release.unknown_model", f"{name} has no certified model {version} with these bytes")


def enact(book: Book, proposal: Rec) -> None:
    action = proposal.rec("action")
    match action.kind:
        case "PauseLearning":
            until = book.time_ms + action.number("lasts_ms")
            same = [one for one in pauses(book) if one.fields["task"] == action.fields["task"]]
            longest = max([until, *(one.number("until_ms") for one in same)])
            paused = make("Pause", task=action.fields["task"], until_ms=longest)
            shift(book, [*(one for one in pauses(book) if one not in same), paused])
        case "ResumeLearning":
            shift(book, [one for one in pauses(book) if one.fields["task"] != action.fields["task"]])
        case "ChangeTask":
            task = book.task(action.text("task"))
            assert task is not None
            decided = make(
                "PendingChange", spec=changed(task.rec("spec"), action), from_height=book.height + TIMELOCK_BLOCKS
            )
            book.write(b"fl/task-change/" + action.text("task").encode(), decided)
        case _:
            fields: dict[str, Value] = {name: action.fields[name] for name in ("task", "version", "model")}
            released = make(
                "Release",
                **fields,
                proposal=proposal.number("number"),
                organisations=proposal.fields["approvals"],
                height=book.height,
            )
            book.write(release_key(action), released)


def shift(book: Book, after: list[Rec]) -> None:
    before = {name: max(paused_until(book, name), book.time_ms) for name in book.active()}
    write_pauses(book, after)
    for name, earlier in before.items():
        later = max(paused_until(book, name), book.time_ms)
        task = book.task(name)
        assert task is not None
        latest = book.round(name, task.number("round"))
        if later != earlier and latest.number("deadline_ms"):
            book.write_round(latest.changed(deadline_ms=latest.number("deadline_ms") + later - earlier))


def write_pauses(book: Book, items: list[Rec]) -> None:
    if items:
        ordered: list[Value] = [*sorted(items, key=lambda one: str(one.fields["task"] or ""))]
        book.write(b"fl/pauses", make("Pauses", items=ordered))
    else:
        book.state.pop(b"fl/pauses", None)


def end_pauses(book: Book) -> None:
    over = [one for one in pauses(book) if one.number("until_ms") <= book.time_ms]
    if over:
        write_pauses(book, [one for one in pauses(book) if one not in over])
    for one in over:
        book.say("learning.resumed", str(one.fields["task"] or "*"), "the pause is over")
