"""Section 13 of docs/protocol.md: what transactions and deadlines do to the state. One law: no rooms.

The state is a plain dict of encoded records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from tests.project import protocol_arithmetic as arithmetic
from tests.project import protocol_budgets as budgets
from tests.project import protocol_occasions as occasions
from tests.project.protocol_reader import digest, quorum, statement_fault
from tests.project.protocol_records import Rec, Value, decode, encode, make

State = dict[bytes, bytes]


class Refusal(Exception):  # noqa: N818 - the page's word
    """Why a transaction has no effect."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def need(holds: bool, code: str, detail: str) -> None:
    if not holds:
        raise Refusal(code, detail)


def allowed(denial: str) -> None:
    need(not denial, "policy.denied", denial)


def number(value: int) -> bytes:
    return b"%012d" % value


def event(kind: str, subject: str, detail: str) -> Rec:
    return make("Event", kind=kind, subject=subject, detail=detail)


@dataclass
class Book:
    """The state and the block that is being executed."""

    chain_id: bytes
    validators: Rec
    height: int
    time_ms: int
    parent: bytes
    state: State
    events: list[Rec] = field(default_factory=list)
    late: list[Rec] = field(default_factory=list)
    """The set that decides the block and those shortly before, the latest first."""

    def read(self, kind: str, key: bytes) -> Rec | None:
        return decode(kind, self.state[key], 1 << 20) if key in self.state else None

    def sure(self, kind: str, key: bytes) -> Rec:
        found = self.read(kind, key)
        assert found is not None, key
        return found

    def write(self, key: bytes, record: Rec) -> None:
        self.state[key] = encode(record)

    def say(self, kind: str, subject: str, detail: str) -> None:
        self.events.append(event(kind, subject, detail))

    def active(self) -> list[str]:
        found = self.read("ActiveTasks", b"fl/active-tasks")
        return [] if found is None else found.texts("tasks")

    def task(self, name: str) -> Rec | None:
        return self.read("TaskState", b"fl/task/" + name.encode())

    def round(self, name: str, count: int) -> Rec:
        return self.sure("RoundState", b"fl/round/" + name.encode() + b"/" + number(count))

    def write_task(self, task: Rec) -> None:
        self.write(b"fl/task/" + task.rec("spec").text("id").encode(), task)

    def write_round(self, current: Rec) -> None:
        self.write(b"fl/round/" + current.text("task").encode() + b"/" + number(current.number("number")), current)

    def member_names(self) -> list[str]:
        return [member.text("name") for member in self.validators.recs("members")]

    def require_statement(self, code: str, seals: list[Rec], domain: str, message: bytes) -> None:
        faults = [statement_fault(self.chain_id, one, seals, domain, message) for one in self.believed(domain)]
        need(None in faults, code, faults[0] or "")

    def believed(self, domain: str) -> list[Rec]:
        """Return the sets whose word counts: the block's; for acknowledgements late ones too (section 12)."""
        return self.late if domain == "acknowledgement" and self.late else [self.validators]


def words_of(schema: Rec) -> int:
    return sum(prod(tensor.numbers("shape")) for tensor in schema.recs("tensors"))


def rule_of(spec: Rec) -> arithmetic.Rule:
    rule = spec.rec("rule")
    return arithmetic.Rule(
        rule.text("rule"),
        rule.number("f"),
        tuple(rule.texts("pre")),
        rule.number("keep"),
        rule.number("weight_cap_permille"),
        rule.number("bucket"),
        rule.number("radius_micros"),
        rule.text("root"),
    )


# 13.4 tasks


def officer_only(book: Book, who: Rec) -> None:
    allowed = "officer" in who.texts("roles") and who.text("organisation") in book.member_names()
    detail = (
        f"an officer of a validator's organisation was needed, got {who.text('name')} of {who.text('organisation')}"
    )
    need(allowed, "task.not_officer", detail)


def room_for_task(book: Book) -> None:
    need(len(book.active()) < 64, "task.too_many", "at most 64 tasks are active at once")


def sound_task(spec: Rec) -> None:
    rule, low, high = rule_of(spec), spec.number("updates_min"), spec.number("updates_max")
    least = arithmetic.needed(rule)
    detail = f"{rule.name} against {rule.f} liars needs {least} <= updates_min <= updates_max, "
    need(least <= low <= high, "task.unsound", f"{detail}got updates_min {low} and updates_max {high}")
    limit = arithmetic.most(rule)
    need(high <= limit, "task.unsound", f"{rule.name} takes at most {limit} updates, got updates_max {high}")
    names = spec.texts("participants")
    need(names == sorted(set(names)), "task.unsound", "participants must be unique and ascending")
    detail = f"{rule.name} trusts {rule.root}, who is not among the participants"
    need(not (rule.root and names) or rule.root in names, "task.unsound", detail)
    sound_optimiser(spec)
    initial, size = spec.fields["initial_model"], 32 + 4 * words_of(spec.rec("schema"))
    if isinstance(initial, Rec):
        detail = f"the initial model's payload must have {size} bytes, got {initial.number('size')}"
        need(initial.number("size") == size, "task.unsound", detail)


def sound_optimiser(spec: Rec) -> None:
    optimiser = spec.fields["optimiser"]
    if not isinstance(optimiser, Rec):
        return
    adaptive = optimiser.text("optimiser") != "momentum/1"
    for tensor in spec.rec("schema").recs("tensors") if adaptive else []:
        step = arithmetic.on_grid(optimiser.number("rate_micros"), tensor.number("exponent"))
        floor = max(1, arithmetic.on_grid(optimiser.number("floor_micros"), tensor.number("exponent")))
        detail = f"{tensor.text('name')}: a rate of 1..2^31 and a floor of at most 2^40 words of its grid are needed, "
        need(1 <= step <= 2**31 and floor <= 2**40, "task.unsound", f"{detail}got {step} and {floor}")
    size = 32 + (16 if adaptive else 8) * words_of(spec.rec("schema"))
    detail = f"a model with its optimiser's memory has at most 4294967296 bytes, got {size}"
    need(size <= 2**32, "task.unsound", detail)


def propose(book: Book, who: Rec, proposal: Rec) -> None:
    officer_only(book, who)
    spec = proposal.rec("task")
    name = spec.text("id")
    detail = f"a task named {name} is on the chain already: choose another name"
    need(book.task(name) is None, "task.exists", detail)
    room_for_task(book)
    sound_task(spec)
    if spec.fields["initial_model"] is not None:
        given = proposal.fields["availability"]
        fits = isinstance(given, Rec) and given.rec("acknowledgement").fields["payload"] == spec.fields["initial_model"]
        need(fits, "task.unavailable", "an initial model needs the availability certificate of its payload")
        assert isinstance(given, Rec)
        message = encode(given.rec("acknowledgement"))
        book.require_statement("task.unavailable", given.recs("seals"), "acknowledgement", message)
    allowed(occasions.task_denial(book, spec, who))
    task = make("TaskState", spec=spec, status="proposed", approvals=[], round=0, version=0, certified=0)
    book.write_task(task)
    book.say("task.proposed", name, f"by {who.text('organisation')}")
    agree(book, who, task)


def approve(book: Book, who: Rec, approval: Rec) -> None:
    officer_only(book, who)
    name, organisation = approval.text("task"), who.text("organisation")
    task = book.task(name)
    need(task is not None, "task.unknown", f"no task named {name} has been proposed")
    assert task is not None
    status = task.text("status")
    need(status == "proposed", "task.decided", f"task {name} is {status}, not up for a vote")
    ours, theirs = digest("task", encode(task.rec("spec"))), approval.data("specification")
    detail = f"the proposal's digest is {ours.hex()}, the approval names {theirs.hex()}"
    need(ours == theirs, "task.other_specification", detail)
    detail = f"{organisation} has approved {name} before"
    need(organisation not in task.texts("approvals"), "task.approved_already", detail)
    agree(book, who, task)


def agree(book: Book, who: Rec, task: Rec) -> None:
    name, organisation = task.rec("spec").text("id"), who.text("organisation")
    approvals: list[Value] = [*sorted([*task.texts("approvals"), organisation])]
    book.say("task.approved", name, f"by {organisation}")
    task = task.changed(approvals=approvals)
    if len(approvals) < quorum(len(book.member_names())):
        book.write_task(task)
        return
    room_for_task(book)
    allowed(occasions.task_denial(book, task.rec("spec"), who))
    activate(book, task)


def activate(book: Book, task: Rec) -> None:
    spec = task.rec("spec")
    name = spec.text("id")
    model = make(
        "ModelState",
        task=name,
        version=0,
        round=0,
        parent_version=0,
        payload=spec.fields["initial_model"],
        result=digest("task", encode(spec)),
        height=book.height,
    )
    book.write(b"fl/model/" + name.encode() + b"/" + number(0), model)
    book.write(b"fl/active-tasks", make("ActiveTasks", tasks=[*book.active(), name]))
    book.say("task.activated", name, "")
    exponents: list[Value] = [tensor.number("update_exponent") for tensor in spec.rec("schema").recs("tensors")]
    open_next(book, task.changed(status="active"), exponents)


# 13.11 pauses and changes


def pauses(book: Book) -> list[Rec]:
    found = book.read("Pauses", b"fl/pauses")
    return [] if found is None else found.recs("items")


def paused_until(book: Book, name: str) -> int:
    return max((one.number("until_ms") for one in pauses(book) if one.fields["task"] in (None, name)), default=0)


def need_running(book: Book, name: str, code: str) -> None:
    until = paused_until(book, name)
    need(not until, code, f"{name} is paused until {until}")


def carry_out(book: Book, task: Rec) -> Rec:
    name = task.rec("spec").text("id")
    key = b"fl/task-change/" + name.encode()
    decided = book.read("PendingChange", key)
    if decided is None or book.height < decided.number("from_height"):
        return task
    count = 1
    while (place := b"fl/task-former/" + name.encode() + b"/" + number(count)) in book.state:
        count += 1
    book.write(place, make("FormerSpecification", spec=task.rec("spec"), last_round=task.number("round")))
    del book.state[key]
    book.say("task.changed", name, f"from round {task.number('round') + 1} on")
    return task.changed(spec=decided.rec("spec"))


# 13.5 updates, 13.8 evaluations


def enrolled(who: Rec, spec: Rec) -> bool:
    named = spec.texts("participants")
    return "trainer" in who.texts("roles") and (not named or who.text("name") in named)


def update(book: Book, who: Rec, submission: Rec, identity: bytes) -> None:
    name, person = submission.text("task"), who.text("name")
    task = book.task(name)
    need(task is not None, "update.unknown_task", f"there is no task named {name}")
    assert task is not None
    status = task.text("status")
    need(status == "active", "update.not_active", f"task {name} is {status}")
    need_running(book, name, "update.paused")
    detail = f"{person} is not enrolled as a trainer of {name}"
    need(enrolled(who, task.rec("spec")), "update.not_enrolled", detail)
    current = book.round(name, task.number("round"))
    count, given, base = current.number("number"), submission.number("round"), current.number("base_version")
    detail = f"round {count} is the latest, the update is for round {given}"
    need(given <= count, "update.early", detail)
    detail = f"round {count} is {current.text('status')}, the update is for round {given}"
    need(given == count and current.text("status") == "open", "update.late", detail)
    detail = f"round {count} starts from model {base}, got {submission.number('base_version')}"
    need(submission.number("base_version") == base, "update.wrong_base", detail)
    acknowledgement = submission.rec("availability").rec("acknowledgement")
    key = b"fl/update/" + name.encode() + b"/" + number(count) + b"/" + person.encode()
    earlier = book.read("UpdateState", key)
    if earlier is not None:
        same = earlier.rec("payload") == acknowledgement.rec("payload")
        detail = f"{person} has transaction {earlier.data('transaction').hex()} in round {count} already"
        raise Refusal("update.duplicate" if same else "update.conflicting", detail)
    organisation = who.text("organisation")
    detail = f"{organisation} has an update in round {count}; one counts for each organisation"
    need(organisation not in current.texts("organisations"), "update.organisation_counted", detail)
    require_words(task, acknowledgement)
    seals = submission.rec("availability").recs("seals")
    book.require_statement("update.unavailable", seals, "acknowledgement", encode(acknowledgement))
    terms = occasions.terms(book, task.rec("spec"))
    fault = budgets.update_fault(book, terms, current, organisation)
    need(fault is None, *(fault or ("", "")))
    allowed(occasions.update_denial(book, task, current, who, submission))
    if not current.items("participants"):
        occasions.begin(book, name)
        budgets.begin(book, task.rec("spec"), terms, current)
    written = make(
        "UpdateState",
        task=name,
        round=count,
        participant=person,
        organisation=organisation,
        transaction=identity,
        height=book.height,
        payload=acknowledgement.rec("payload"),
        samples=submission.number("samples"),
        saturated=submission.number("saturated"),
        metrics=submission.items("metrics"),
    )
    book.write(key, written)
    deadline = current.number("deadline_ms") or book.time_ms + task.rec("spec").number("collect_ms")
    people: list[Value] = [*sorted([*current.texts("participants"), person])]
    houses: list[Value] = [*sorted([*current.texts("organisations"), organisation])]
    book.write_round(current.changed(participants=people, organisations=houses, deadline_ms=deadline))
    book.say("update.accepted", f"{name}/{count}", person)
    budgets.open_update(book, current, organisation)


def require_words(task: Rec, acknowledgement: Rec) -> None:
    spec, verdict = task.rec("spec"), acknowledgement.text("verdict")
    size, expected = acknowledgement.rec("payload").number("size"), 32 + 2 * words_of(spec.rec("schema"))
    detail = f"task {spec.text('id')} takes {expected} bytes of int16/1 words, got {size} bytes found {verdict}"
    need(verdict != "malformed" and size == expected, "update.malformed", detail)
    detail = "a quorum of validators found words beyond the grid's range"
    need(verdict != "out_of_range", "update.out_of_range", detail)


def evaluate(book: Book, who: Rec, report: Rec) -> None:
    name, version, person = report.text("task"), report.number("version"), who.text("name")
    task = book.task(name)
    model = book.state.get(b"fl/model/" + name.encode() + b"/" + number(version))
    need(task is not None and model is not None, "evaluation.unknown_model", f"{name} has no model {version}")
    assert task is not None
    detail = f"{person} is not enrolled in {name}"
    need(enrolled(who, task.rec("spec")), "evaluation.not_enrolled", detail)
    key = b"fl/evaluation/" + name.encode() + b"/" + number(version) + b"/" + person.encode()
    need(key not in book.state, "evaluation.duplicate", f"{person} has reported on {name}/{version} before")
    written = make(
        "EvaluationState",
        task=name,
        version=version,
        participant=person,
        samples=report.number("samples"),
        metrics=report.items("metrics"),
        height=book.height,
    )
    book.write(key, written)
    book.say("model.evaluated", f"{name}/{version}", person)


# 13.6 results


def certify(book: Book, sender: bytes, claim: Rec) -> None:
    keys = [member.data("public_key") for member in book.validators.recs("members")]
    need(sender in keys, "aggregate.not_validator", f"only validators claim results, got {sender.hex()}")
    result = claim.rec("result")
    name, count = result.text("task"), result.number("round")
    task = book.task(name)
    latest = None if task is None or task.number("round") == 0 else book.round(name, task.number("round"))
    waiting = latest is not None and latest.number("number") == count and latest.text("status") == "closed"
    need(waiting, "aggregate.not_closed", f"{name}/{count} is not waiting for its result")
    assert task is not None
    assert latest is not None
    need_running(book, name, "aggregate.paused")
    base, people = latest.number("base_version"), latest.texts("participants")
    named = [part.text("participant") for part in result.recs("contributions")]
    detail = f"the round's input is model {base} and {', '.join(people)}; the result is made from model "
    detail += f"{result.number('base_version')} and {', '.join(named)}"
    need(result.number("base_version") == base and named == people, "aggregate.wrong_input", detail)
    tensors, given = len(task.rec("spec").rec("schema").items("tensors")), len(result.items("exponents"))
    detail = f"{tensors} tensors need as many exponents and peaks, got {given}"
    need(given == tensors == len(result.items("peaks")), "aggregate.wrong_input", detail)
    result_digest = digest("round-result", encode(result))
    book.require_statement("aggregate.uncertified", claim.recs("seals"), "result", encode((name, count, result_digest)))
    version = task.number("version") + 1
    place = name.encode() + b"/"
    book.write(b"fl/result/" + place + number(count), result)
    model = make(
        "ModelState",
        task=name,
        version=version,
        round=count,
        parent_version=base,
        payload=result.rec("model"),
        result=result_digest,
        height=book.height,
    )
    book.write(b"fl/model/" + place + number(version), model)
    book.write_round(latest.changed(status="certified", deadline_ms=0, version=version))
    task = task.changed(version=version, certified=task.number("certified") + 1)
    book.say("round.certified", f"{name}/{count}", f"model {version}")
    if task.number("certified") < task.rec("spec").number("rounds"):
        open_next(book, task, result.items("exponents"))
        return
    book.write_task(task.changed(status="finished"))
    book.write(b"fl/active-tasks", make("ActiveTasks", tasks=[one for one in book.active() if one != name]))
    book.say("task.finished", name, f"version {version}")


# 13.7 rounds


def open_next(book: Book, task: Rec, exponents: list[Value]) -> None:
    task = carry_out(book, task)
    name, count = task.rec("spec").text("id"), task.number("round") + 1
    opened = make(
        "RoundState",
        task=name,
        number=count,
        status="open",
        base_version=task.number("version"),
        exponents=exponents,
        opened_height=book.height,
        opened_ms=book.time_ms,
        deadline_ms=0,
        closed_height=0,
        participants=[],
        organisations=[],
        version=0,
        reason="",
        seed=bytes(32),
    )
    book.write_round(opened)
    book.write_task(task.changed(round=count))
    book.say("round.opened", f"{name}/{count}", f"base version {task.number('version')}")


def end_block(book: Book) -> None:
    for name in book.active():
        task = book.task(name)
        assert task is not None
        spec, latest = task.rec("spec"), book.round(name, task.number("round"))
        due = 0 < latest.number("deadline_ms") <= book.time_ms
        k, status = len(latest.items("participants")), latest.text("status")
        enough = k >= spec.number("updates_max") or (due and k >= spec.number("updates_min"))
        denied = occasions.close_denial(book, task, latest) if status == "open" and enough else ""
        if denied:
            fail(book, task, latest, denied[:256])
        elif status == "open" and enough:
            deadline = book.time_ms + spec.number("aggregate_ms")
            seed = round_seed(book, latest)
            closed = latest.changed(status="closed", closed_height=book.height, deadline_ms=deadline, seed=seed)
            book.write_round(closed)
            budgets.end(book, latest)
            book.say("round.closed", f"{name}/{latest.number('number')}", f"{k} updates")
        elif status == "open" and due:
            fail(book, task, latest, f"{k} updates came in time, {spec.number('updates_min')} were needed")
        elif status == "closed" and due:
            limit = spec.number("aggregate_ms")
            fail(book, task, latest, f"no quorum of validators signed one result within {limit} ms")


def round_seed(book: Book, latest: Rec) -> bytes:
    name, count = latest.text("task").encode(), latest.number("number")
    place = b"fl/update/" + name + b"/" + number(count) + b"/"
    updates = [book.sure("UpdateState", place + who.encode()) for who in latest.texts("participants")]
    transactions = [update.data("transaction") for update in updates]
    return digest("round-seed", book.parent, name, count.to_bytes(8, "big"), *transactions)


def fail(book: Book, task: Rec, latest: Rec, reason: str) -> None:
    budgets.end(book, latest)
    book.write_round(latest.changed(status="failed", deadline_ms=0, reason=reason))
    book.say("round.failed", f"{latest.text('task')}/{latest.number('number')}", reason)
    open_next(book, task, latest.items("exponents"))
