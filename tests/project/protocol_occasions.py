"""Section 13.12 of docs/protocol.md: when policies are asked, and what they see. One law: no rooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.project import protocol_budgets as budgets
from tests.project import protocol_policies as language
from tests.project.protocol_denials import judged
from tests.project.protocol_reader import digest
from tests.project.protocol_records import Rec, Value, encode, make

if TYPE_CHECKING:
    from tests.project.protocol_learning import Book

KINDS = ("AdoptPolicy", "RepealPolicy", "SetTerms", "SetBudget")
SEEN = ("SetTerms", "SetBudget", "ReleaseModel")
DAY_MS = 86_400_000
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
    return spec.changed(**{name: action.fields[name] for name in action.fields if name in spec.fields})


def number(value: int) -> bytes:
    return b"%012d" % value


def terms_key(task: str) -> bytes:
    return b"fl/terms/" + task.encode()


def in_force(book: Book) -> list[Rec]:
    found = book.read("PoliciesInForce", b"fl/policies")
    return [] if found is None else found.recs("items")


# Actions


def wait_ms(action: Rec) -> int:
    return action.number("delay_ms") if action.kind in ("AdoptPolicy", "RepealPolicy") else 0


def changes_nothing(book: Book, action: Rec) -> bool:
    match action.kind:
        case "AdoptPolicy":
            policy = action.rec("policy")
            held = book.read("PolicyState", b"fl/policy/" + policy.text("name").encode())
            return held is not None and held.rec("policy") == policy and held.number("repealed_height") == 0
        case "RepealPolicy":
            return action.text("name") not in [one.text("name") for one in in_force(book)]
        case "SetTerms":
            return book.read("SetTerms", terms_key(action.text("task"))) == action
        case _:
            return budgets.changes_nothing(book, action)


def fault(book: Book, action: Rec) -> tuple[str, str] | None:
    """Return why an action is not possible."""
    if action.kind == "SetBudget":
        return budgets.fault(book, action)
    if action.kind != "AdoptPolicy":
        return None
    policy = action.rec("policy")
    name, occasion = policy.text("name"), policy.text("occasion")
    try:
        tree = language.admitted(policy.text("source"), occasion)
    except language.BadError:
        return "policy.unsound", f"the text of {name} is no policy for the occasion {occasion}"
    ours, theirs = language.tree_digest(tree), policy.data("tree")
    if ours != theirs:
        return "policy.other_tree", f"the tree of {name} is {ours.hex()}, the policy names {theirs.hex()}"
    if sum(one.text("name") != name for one in in_force(book)) >= 64:
        return "policy.too_many", "at most 64 policies are in force at once"
    return None


def enact(book: Book, action: Rec) -> None:
    match action.kind:
        case "AdoptPolicy":
            policy = action.rec("policy")
            name = policy.text("name")
            state = make("PolicyState", policy=policy, adopted_height=book.height, repealed_height=0)
            book.write(b"fl/policy/" + name.encode(), state)
            write_in_force(book, name, [make("InForce", occasion=policy.text("occasion"), name=name)])
        case "RepealPolicy":
            name = action.text("name")
            state = book.sure("PolicyState", b"fl/policy/" + name.encode())
            book.write(b"fl/policy/" + name.encode(), state.changed(repealed_height=book.height))
            write_in_force(book, name, [])
        case "SetTerms":
            book.write(terms_key(action.text("task")), action)
        case _:
            budgets.enact(book, action)


def write_in_force(book: Book, name: str, new: list[Rec]) -> None:
    items = [one for one in in_force(book) if one.text("name") != name] + new
    ordered: list[Value] = [*sorted(items, key=lambda one: one.text("name"))]
    book.write(b"fl/policies", make("PoliciesInForce", items=ordered))


def approvers(book: Book, count: int) -> list[Rec]:
    found = book.read("Approvers", b"fl/approvers/" + number(count))
    return [] if found is None else found.recs("items")


def note_approval(book: Book, who: Rec, proposal: Rec) -> bool:
    """Keep the officer; tell whether it is new."""
    count = proposal.number("number")
    if proposal.rec("action").kind not in SEEN or proposal.text("status") not in ("open", "waiting"):
        return False
    own, before = (
        make("Approver", organisation=who.text("organisation"), officer=who.text("name")),
        approvers(book, count),
    )
    if own in before or len(before) >= 256:
        return False
    items: list[Value] = [*sorted([*before, own], key=lambda one: (one.text("organisation"), one.text("officer")))]
    book.write(b"fl/approvers/" + number(count), make("Approvers", items=items))
    return True


def declare(book: Book, who: Rec, said: Rec) -> tuple[str, str] | None:
    """Keep a declaration, or return why not."""
    name, house = who.text("name"), who.text("organisation")
    if "officer" not in who.texts("roles"):
        return "site.not_officer", f"an officer was needed, got {name} of {house}"
    if any(said.texts(field) != sorted(set(said.texts(field))) for field in ("purposes", "reviews")):
        return "site.unsound", "purposes and reviews must be unique and ascending"
    state = make("SiteState", organisation=house, declaration=said, officer=name, height=book.height)
    book.write(b"fl/site/" + house.encode(), state)
    book.say("site.declared", house, f"by {name}")
    return None


# Occasions


def denial(book: Book, occasion: str, see: Callable[[], dict[str, Any]]) -> str:
    for one in in_force(book):
        if one.text("occasion") == occasion:
            policy = book.sure("PolicyState", b"fl/policy/" + one.text("name").encode()).rec("policy")
            names = {"height": book.height, "time_ms": book.time_ms, **see()}
            said = judged(language.admitted(policy.text("source"), occasion), names)
            if said:
                return f"policy {one.text('name')}, {said}"
    return ""


def make_officer(house: str) -> Rec:
    return make("Participant", name=house, organisation=house, public_key=bytes(32), roles=[])


def task_denial(book: Book, spec: Rec, who: Rec) -> str:
    return denial(book, "task", lambda: {"task": task(book, spec), "site": site(book, who.text("organisation"), {})})


def update_denial(book: Book, state: Rec, current: Rec, who: Rec, said: Rec) -> str:
    def see() -> dict[str, Any]:
        house = who.text("organisation")
        return {
            "task": task(book, state.rec("spec")),
            "round": round_(book, state, current),
            "site": site(book, house, uses(book, state)),
            "update": {
                "participant": who.text("name"),
                "organisation": house,
                "samples": said.number("samples"),
                "saturated": said.number("saturated"),
                "metrics": metrics(said),
            },
            "budget": budgets.seen_budget(book, terms(book, state.rec("spec")), current, house),
        }

    first = denial(book, "round", see) if not current.items("participants") else ""
    return first or denial(book, "update", see)


def close_denial(book: Book, state: Rec, current: Rec) -> str:
    def see() -> dict[str, Any]:
        used = uses(book, state)
        return {
            "task": task(book, state.rec("spec")),
            "round": round_(book, state, current),
            "sites": [site(book, house, used) for house in current.texts("organisations")],
        }

    return denial(book, "close", see)


def enactment_denial(book: Book, proposal: Rec) -> str:
    action = proposal.rec("action")
    if action.kind == "ChangeTask":
        state, who = book.task(action.text("task")), make_officer(proposal.text("organisation"))
        is_active = state is not None and state.text("status") == "active"
        return task_denial(book, changed(state.rec("spec"), action), who) if state is not None and is_active else ""
    if action.kind not in SEEN:
        return ""
    seen = seen_proposal(book, proposal)
    denied = denial(book, "proposal", lambda: {"proposal": seen})
    if denied or action.kind != "ReleaseModel":
        return denied

    def see() -> dict[str, Any]:
        state = book.task(action.text("task"))
        assert state is not None
        return {"task": task(book, state.rec("spec")), "proposal": seen, "release": release(book, action)}

    return denial(book, "release", see)


def terms(book: Book, spec: Rec) -> Rec | None:
    return book.read("SetTerms", terms_key(spec.text("id")))


def begin(book: Book, name: str) -> None:
    """Count a round that begins."""
    if in_force(book):
        key, day = b"fl/pace/" + name.encode(), book.time_ms // DAY_MS
        before = book.read("Pace", key)
        rounds = before.number("rounds") if before is not None and before.number("day") == day else 0
        book.write(key, make("Pace", day=day, rounds=rounds + 1))


# Inputs


def task(book: Book, spec: Rec) -> dict[str, Any]:
    name, rule = digest("task", encode(spec)), spec.rec("rule")
    agreed_terms = terms(book, spec)
    words = 0
    for tensor in spec.rec("schema").recs("tensors"):
        count = 1
        for size in tensor.numbers("shape"):
            count *= size
        words += count
    agreed = dict.fromkeys(("purpose", "data_set", "architecture", "code_hash"), "")
    numbers = dict.fromkeys(("privacy_tier", "retention_heights", "reward_share_permille"), 0)
    same = ("id", "clip_norm_micros", "updates_min", "updates_max", "rounds", "participants")
    found = {
        **{field: spec.fields[field] for field in same},
        "specification": name.hex(),
        "rule": rule.text("rule"),
        "steps": rule.texts("pre"),
        "attackers": rule.number("f"),
        "parameters": words,
        "has_terms": agreed_terms is not None,
        **{
            field: agreed_terms.fields[field] if agreed_terms is not None else other
            for field, other in (agreed | numbers).items()
        },
    }
    return ordered("TaskInput", found)


def site(book: Book, house: str, used: dict[str, list[bool]]) -> dict[str, Any]:
    told = book.read("SiteState", b"fl/site/" + house.encode())
    said = None if told is None else told.rec("declaration")
    standing = book.read("Standing", b"fl/standing/" + house.encode())
    silent: dict[str, Any] = {"region": "", "purposes": [], "privacy_tier": 0, "ethics_id": "", "reviews": []}
    silent["ethics_expiry_height"] = 0
    found = {
        "name": house,
        "has_declared": said is not None,
        **{field: said.fields[field] if said is not None else other for field, other in silent.items()},
        "consent_withdrawn": said is not None and said.text("consent") == "withdrawn",
        "offences": 0 if standing is None else standing.number("offences"),
        "judged": len(used.get(house, [])),
        "left_out": sum(used.get(house, [])),
    }
    return ordered("SiteInput", found)


def uses(book: Book, state: Rec) -> dict[str, list[bool]]:
    """Return for each organisation whether the rule did without its latest contributions."""
    found: dict[str, list[bool]] = {}
    place, latest = state.rec("spec").text("id").encode() + b"/", state.number("version")
    for version in range(max(1, latest - 15), latest + 1):
        made = number(book.sure("ModelState", b"fl/model/" + place + number(version)).number("round"))
        for part in book.sure("RoundResult", b"fl/result/" + place + made).recs("contributions"):
            update = book.sure("UpdateState", b"fl/update/" + place + made + b"/" + part.text("participant").encode())
            out = 2 * part.number("retained") < part.number("retained_of")
            found.setdefault(update.text("organisation"), []).append(out)
    return found


def round_(book: Book, state: Rec, current: Rec) -> dict[str, Any]:
    name = current.text("task")
    place = b"fl/update/" + name.encode() + b"/" + number(current.number("number")) + b"/"
    updates = [book.sure("UpdateState", place + who.encode()) for who in current.texts("participants")]
    pace, latest = book.read("Pace", b"fl/pace/" + name.encode()), state.number("version")
    same_day = pace is not None and pace.number("day") == book.time_ms // DAY_MS
    found = {
        **{field: current.fields[field] for field in ("number", "base_version", "opened_height", "organisations")},
        "begun_today": pace.number("rounds") if pace is not None and same_day else 0,
        "samples": sum(one.number("samples") for one in updates),
        "members": [
            {field: one.fields[field] for field in ("participant", "organisation", "samples")} for one in updates
        ],
        "previous": makers(book, name, latest),
    }
    return ordered("RoundInput", found)


def makers(book: Book, name: str, version: int) -> list[str]:
    if version == 0:
        return []
    made = book.sure("ModelState", b"fl/model/" + name.encode() + b"/" + number(version)).number("round")
    return book.round(name, made).texts("organisations")


def seen_proposal(book: Book, proposal: Rec) -> dict[str, Any]:
    action = proposal.rec("action")
    approvals = []
    for one in approvers(book, proposal.number("number")):
        told = book.read("SiteState", b"fl/site/" + one.text("organisation").encode())
        reviews = [] if told is None else told.rec("declaration").texts("reviews")
        approvals.append({"officer": one.text("officer"), "organisation": one.text("organisation"), "reviews": reviews})
    return {
        "action": {"ReleaseModel": "release-model", "SetTerms": "set-terms", "SetBudget": "set-budget"}[action.kind],
        "subject": about(action),
        "organisation": proposal.text("organisation"),
        "approvals": approvals,
    }


def about(action: Rec) -> str:
    match action.kind:
        case "ReleaseModel":
            return f"{action.text('task')}/{action.number('version')}"
        case "SetBudget":
            return f"{action.text('organisation')}/{action.text('data_set')}"
        case _:
            return action.text("task")


def release(book: Book, action: Rec) -> dict[str, Any]:
    name, version = action.text("task"), action.number("version")
    model = book.sure("ModelState", b"fl/model/" + name.encode() + b"/" + number(version))
    evaluations = []
    for person in book.sure("Roster", b"fl/roster").recs("people"):
        key = b"fl/evaluation/" + name.encode() + b"/" + number(version) + b"/" + person.text("name").encode()
        report = book.read("EvaluationState", key)
        if report is not None:
            told = {"participant": person.text("name"), "organisation": person.text("organisation")}
            evaluations.append({**told, "samples": report.number("samples"), "metrics": metrics(report)})
    return {
        "version": version,
        "round": model.number("round"),
        "contributors": makers(book, name, version),
        "evaluators": sorted({str(one["organisation"]) for one in evaluations})[:1_024],
        "evaluations": evaluations[:1_024],
    }


def metrics(said: Rec) -> list[dict[str, Any]]:
    return [{"name": one[0], "value": one[1]} for one in said.items("metrics") if isinstance(one, list)]


def ordered(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return an input's fields in the order of its table."""
    assert set(found) == set(language.inputs()[kind]), (kind, set(found) ^ set(language.inputs()[kind]))
    return {field: found[field] for field in language.inputs()[kind]}
