"""Section 13.9 of docs/protocol.md: who votes on what, and which seats change. One law: no rooms."""

from __future__ import annotations

import re
from itertools import pairwise

from tests.project import protocol_governance as governance
from tests.project import protocol_occasions as occasions
from tests.project.protocol_learning import Book, Refusal, need, number
from tests.project.protocol_reader import digest, is_signed, is_usable_key, quorum, set_hash
from tests.project.protocol_records import Rec, Value, decode, encode, make

LIFE_MS, DELAY_MS = 2_592_000_000, 3_600_000
PENDING = b"ledger/validators-pending"
Seats = dict[str, Rec]


# What the state holds


def next_set(book: Book) -> Rec:
    return book.sure("ValidatorSet", b"ledger/validators")


def people(book: Book) -> list[Rec]:
    return book.sure("Roster", b"fl/roster").recs("people")


def waiting(book: Book) -> list[Rec]:
    found = book.read("SeatChanges", b"fl/seat-changes")
    return [] if found is None else found.recs("waiting")


def suspended(book: Book) -> list[Rec]:
    found = book.read("Suspended", b"fl/suspended")
    return [] if found is None else found.recs("members")


def suspension(book: Book, name: str) -> Rec | None:
    return next((one for one in suspended(book) if one.rec("validator").text("name") == name), None)


def standing(book: Book, name: str) -> Rec:
    found = book.read("Standing", b"fl/standing/" + name.encode())
    return make("Standing", offences=0, forgiven_height=0) if found is None else found


def docket(book: Book) -> Rec:
    return book.read("Docket", b"fl/docket") or make("Docket", next=1, undecided=[])


def proposal_key(count: int) -> bytes:
    return b"fl/proposal/" + number(count)


def undecided(book: Book) -> list[Rec]:
    return [book.sure("ProposalState", proposal_key(count)) for count in docket(book).numbers("undecided")]


def write_list(book: Book, kind: str, key: bytes, name: str, records: list[Rec]) -> None:
    items: list[Value] = [*records]
    book.write(key, make(kind, **{name: items}))


def write_suspended(book: Book, members: list[Rec]) -> None:
    ordered = sorted(members, key=lambda one: one.rec("validator").text("name"))
    write_list(book, "Suspended", b"fl/suspended", "members", ordered)


def end_suspension(book: Book, name: str) -> None:
    if suspension(book, name) is not None:
        write_suspended(book, [one for one in suspended(book) if one.rec("validator").text("name") != name])


def change_seat(book: Book, name: str, validator: Value) -> None:
    others = [one for one in waiting(book) if one.text("name") != name]
    change = make("SeatChange", name=name, validator=validator)
    write_list(book, "SeatChanges", b"fl/seat-changes", "waiting", [*others, change])


def seat(book: Book, name: str) -> Rec | None:
    for change in waiting(book):
        if change.text("name") == name:
            found = change.fields["validator"]
            return found if isinstance(found, Rec) else None
    return next((one for one in next_set(book).recs("members") if one.text("name") == name), None)


def sits(book: Book, name: str) -> bool:
    return name in [one.text("name") for one in next_set(book).recs("members")]


# Section 7: sets and reigns


def is_set(seats: Seats) -> bool:
    keys = [one.data(field) for one in seats.values() for field in ("public_key", "transport_key")]
    return 1 <= len(seats) <= 128 and len(set(keys)) == len(keys)


def promote(book: Book) -> None:
    if PENDING not in book.state:
        return
    before, pending = book.state[b"ledger/validators"], book.state.pop(PENDING)
    known = book.read("Reigns", b"ledger/reigns")
    old = set_hash(decode("ValidatorSet", before, 1 << 20))
    reigns = [make("Reign", first=1, validators_hash=old)] if known is None else known.recs("reigns")
    if known is None:
        book.state[b"ledger/set/" + old] = before
    new = set_hash(decode("ValidatorSet", pending, 1 << 20))
    reigns.append(make("Reign", first=book.height + 1, validators_hash=new))
    kept = reigns[-4096:]
    for gone in reigns[: len(reigns) - len(kept)]:
        if gone.data("validators_hash") not in [one.data("validators_hash") for one in kept]:
            del book.state[b"ledger/set/" + gone.data("validators_hash")]
    write_list(book, "Reigns", b"ledger/reigns", "reigns", kept)
    book.state[b"ledger/set/" + new] = book.state[b"ledger/validators"] = pending


def set_of_height(book: Book, height: int) -> Rec | None:
    known = book.read("Reigns", b"ledger/reigns")
    if known is None:
        return next_set(book) if height >= 1 else None
    found = [one for one in known.recs("reigns") if one.number("first") <= height]
    return book.sure("ValidatorSet", b"ledger/set/" + found[-1].data("validators_hash")) if found else None


def late_sets(book: Book) -> list[Rec]:
    """Return the sets whose availability certificates count, the latest first (section 12)."""
    known = book.read("Reigns", b"ledger/reigns")
    if known is None:
        return [book.validators]
    reigns = [one for one in known.recs("reigns") if one.number("first") <= book.height]
    ends = [*(later.number("first") for _, later in pairwise(reigns)), book.height + 1]
    late = [one for one, end in zip(reigns, ends, strict=True) if end - 1 > book.height - 1_000]
    names = [one.data("validators_hash") for one in late][-4:]
    return [book.sure("ValidatorSet", b"ledger/set/" + name) for name in reversed(names)]


# Cards (section 15.1) and keys


def is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(colon and host and re.fullmatch("[0-9]+", port)) and 1 <= int(port) <= 65_535


def proves(book: Book, domain: str, message: bytes, keys: list[bytes], proofs: list[Rec]) -> bool:
    return [one.data("public_key") for one in proofs] == keys and all(
        is_usable_key(one.data("public_key"))
        and is_signed(one.data("public_key"), domain, book.chain_id, message, one.data("signature"))
        for one in proofs
    )


def card_holds(book: Book, card: Rec) -> bool:
    said = card.rec("membership")
    validator, name, own = said.fields["validator"], said.text("name"), said.recs("participants")
    if not isinstance(validator, Rec) or validator.text("name") != name:
        return False
    if validator.text("address") and not is_address(validator.text("address")):
        return False
    names = [one.text("name") for one in own]
    for one in own:
        roles = one.texts("roles")
        if one.text("organisation") != name or not roles or len(set(roles)) != len(roles):
            return False
    keys = [validator.data("public_key"), validator.data("transport_key"), *(one.data("public_key") for one in own)]
    unique = names == sorted(set(names)) and len(set(keys)) == len(keys)
    return unique and proves(book, "member-card", encode(said), sorted(keys), card.recs("proofs"))


# Actions


def subject(action: Rec) -> str | None:
    match action.kind:
        case "ReplaceKeys":
            return action.rec("validator").text("name")
        case "RemoveMember" | "ReinstateMember":
            return action.text("name")
        case _:
            return None


def voteless(proposal: Rec) -> str | None:
    action = proposal.rec("action")
    return proposal.text("organisation") if action.kind == "ReleaseModel" else subject(action)


def newcomer(book: Book, action: Rec) -> bool:
    if action.kind == "ReinstateMember":
        return suspension(book, action.text("name")) is not None and not sits(book, action.text("name"))
    return action.kind == "AddMember"


def present_record(book: Book, name: str) -> Rec | None:
    held = suspension(book, name)
    return seat(book, name) if held is None else held.rec("validator")


def changes_nothing(book: Book, action: Rec) -> bool:
    if action.kind in occasions.KINDS:
        return occasions.changes_nothing(book, action)
    match action.kind:
        case "AddMember":
            said = action.rec("card").rec("membership")
            keys = [one.data("public_key") for one in people(book)]
            known = all(one.data("public_key") in keys for one in said.recs("participants"))
            return seat(book, said.text("name")) == said.fields["validator"] and known
        case "RemoveMember":
            name = action.text("name")
            registered = name in [one.text("organisation") for one in people(book)]
            return seat(book, name) is None and suspension(book, name) is None and not registered
        case "ReplaceKeys":
            return present_record(book, action.rec("validator").text("name")) == action.rec("validator")
        case kind if kind in governance.KINDS:
            return governance.changes_nothing(book, action)
        case _:
            return suspension(book, action.text("name")) is None


def require_fit(book: Book, name: str, validator: Value) -> None:
    seats: Seats = {one.text("name"): one for one in next_set(book).recs("members")}
    for change in [*waiting(book), make("SeatChange", name=name, validator=validator)]:
        seats.pop(change.text("name"), None)
        given = change.fields["validator"]
        if isinstance(given, Rec):
            seats[change.text("name")] = given
    detail = f"without or with {name} there would be no set of 1 to 128 validators with keys of their own"
    need(is_set(seats), "member.fit", detail)


def require_new_keys(book: Book, before: Rec, after: Rec, proofs: list[Rec]) -> None:
    name = after.text("name")
    old, fresh = ({one.data("public_key"), one.data("transport_key")} for one in (before, after))
    message = encode((before, after))
    address = after.text("address")
    holds = proves(book, "key-rotation", message, sorted(fresh - old), proofs) and (not address or is_address(address))
    need(holds, "member.proof", f"the new record of {name} lacks a proof that holds, or its address")
    registered = {one.data("public_key") for one in people(book)}
    need(not (fresh - old) & registered, "member.known", f"a new key of {name} is registered already")
    require_fit(book, name, after)


def require_possible(book: Book, action: Rec) -> None:
    if action.kind in occasions.KINDS:
        fault = occasions.fault(book, action)
        if fault is not None:
            raise Refusal(*fault)
        return
    match action.kind:
        case "AddMember":
            require_addable(book, action.rec("card"))
        case "RemoveMember":
            if seat(book, action.text("name")) is not None:
                require_fit(book, action.text("name"), None)
        case "ReplaceKeys":
            after = action.rec("validator")
            before = present_record(book, after.text("name"))
            need(before is not None, "member.unknown", f"no validator is named {after.text('name')}")
            assert before is not None
            require_new_keys(book, before, after, action.recs("proofs"))
        case kind if kind in governance.KINDS:
            governance.require_possible(book, action)
        case _:
            held = suspension(book, action.text("name"))
            assert held is not None
            require_fit(book, action.text("name"), held.rec("validator"))


def require_addable(book: Book, card: Rec) -> None:
    said = card.rec("membership")
    name, validator = said.text("name"), said.fields["validator"]
    detail = f"the card of {name} brings no node, contradicts itself, or lacks a proof for this chain"
    need(card_holds(book, card), "member.card", detail)
    assert isinstance(validator, Rec)
    is_new = seat(book, name) is None and suspension(book, name) is None
    need(is_new, "member.exists", f"{name} is a member already: rotate or replace its keys, or reinstate it")
    known, keys = [one.text("name") for one in people(book)], [one.data("public_key") for one in people(book)]
    for one in said.recs("participants"):
        fresh = one.text("name") not in known and one.data("public_key") not in keys
        detail = f"the name or the key of participant {one.text('name')} is registered already"
        need(fresh, "member.known", detail)
    own = {validator.data("public_key"), validator.data("transport_key")}
    need(not own & set(keys), "member.known", f"a key of {name} is registered already")
    require_fit(book, name, validator)


def enact(book: Book, proposal: Rec) -> None:
    action = proposal.rec("action")
    if action.kind in occasions.KINDS:
        occasions.enact(book, action)
        return
    match action.kind:
        case "AddMember":
            said = action.rec("card").rec("membership")
            new = said.recs("participants")
            for one in new:
                book.write(b"fl/participant/" + one.data("public_key"), one)
            write_roster(book, [*people(book), *(person(one) for one in new)])
            change_seat(book, said.text("name"), said.fields["validator"])
        case "RemoveMember":
            name = action.text("name")
            end_suspension(book, name)
            for one in people(book):
                if one.text("organisation") == name:
                    del book.state[b"fl/participant/" + one.data("public_key")]
            write_roster(book, [one for one in people(book) if one.text("organisation") != name])
            change_seat(book, name, None)
        case "ReplaceKeys":
            replace_keys(book, action.rec("validator"))
        case kind if kind in governance.KINDS:
            governance.enact(book, proposal)
        case _:
            name = action.text("name")
            held = suspension(book, name)
            assert held is not None
            end_suspension(book, name)
            book.write(b"fl/standing/" + name.encode(), standing(book, name).changed(forgiven_height=book.height))
            change_seat(book, name, held.rec("validator"))


def person(one: Rec) -> Rec:
    fields = {name: one.fields[name] for name in ("name", "organisation", "public_key")}
    return make("Person", **fields)


def write_roster(book: Book, everybody: list[Rec]) -> None:
    write_list(book, "Roster", b"fl/roster", "people", sorted(everybody, key=lambda one: one.text("name")))


def replace_keys(book: Book, validator: Rec) -> None:
    name = validator.text("name")
    held = suspension(book, name)
    if held is not None:
        others = [one for one in suspended(book) if one.rec("validator").text("name") != name]
        write_suspended(book, [*others, held.changed(validator=validator)])
    if held is None or sits(book, name):
        change_seat(book, name, validator)


# Transactions


def require_officer(book: Book, who: Rec) -> None:
    allowed = "officer" in who.texts("roles") and who.text("organisation") in book.member_names()
    detail = (
        f"an officer of a validator's organisation was needed, got {who.text('name')} of {who.text('organisation')}"
    )
    need(allowed, "governance.not_officer", detail)


def propose(book: Book, who: Rec, said: Rec) -> None:
    require_officer(book, who)
    action, organisation = said.rec("action"), who.text("organisation")
    if changes_nothing(book, action):
        book.say("governance.nothing_to_do", digest("action", encode(action)).hex(), "")
        return
    same = next((one for one in undecided(book) if one.rec("action") == action), None)
    if same is not None:
        agree(book, who, same)
        return
    own = sum(one.text("organisation") == organisation for one in undecided(book))
    need(own < 8, "governance.too_many", f"{organisation} has 8 undecided proposals, as many as it may")
    require_possible(book, action)
    entry = docket(book)
    opened = make(
        "ProposalState",
        number=entry.number("next"),
        action=action,
        organisation=organisation,
        status="open",
        approvals=[],
        attestations=[],
        proposed_height=book.height,
        due_ms=0,
        lapses_ms=book.time_ms + LIFE_MS,
        decided_height=0,
        reason="",
    )
    numbers: list[Value] = [*entry.items("undecided"), entry.number("next")]
    book.write(b"fl/docket", make("Docket", next=entry.number("next") + 1, undecided=numbers))
    write_proposal(book, opened)
    book.say("governance.proposed", str(opened.number("number")), f"by {organisation}")
    agree(book, who, opened)


def approve(book: Book, who: Rec, said: Rec) -> None:
    require_officer(book, who)
    proposal = known_proposal(book, said.number("number"))
    count, organisation = proposal.number("number"), who.text("organisation")
    ours, theirs = digest("action", encode(proposal.rec("action"))), said.data("action")
    detail = f"proposal {count} is {ours.hex()}, the approval names {theirs.hex()}"
    need(ours == theirs, "governance.other_action", detail)
    detail = f"{organisation} has no vote on proposal {count}, which is about itself or its own"
    need(organisation != voteless(proposal), "governance.subject", detail)
    agree(book, who, proposal)


def known_proposal(book: Book, count: int) -> Rec:
    found = book.read("ProposalState", proposal_key(count))
    need(found is not None, "governance.unknown", f"no proposal has number {count}")
    assert found is not None
    return found


def write_proposal(book: Book, proposal: Rec) -> None:
    book.write(proposal_key(proposal.number("number")), proposal)


def agree(book: Book, who: Rec, proposal: Rec) -> None:
    approvals, organisation = proposal.texts("approvals"), who.text("organisation")
    votes = organisation != voteless(proposal)
    is_new = votes and occasions.note_approval(book, who, proposal)
    if proposal.text("status") == "open" and organisation not in approvals and votes:
        write_proposal(book, proposal.changed(approvals=[*sorted([*approvals, organisation])]))
        book.say("governance.approved", str(proposal.number("number")), f"by {organisation}")
    elif is_new:
        book.say("governance.seconded", str(proposal.number("number")), f"by {who.text('name')} of {organisation}")


def attest(book: Book, sender: bytes, said: Rec) -> None:
    members = book.validators.recs("members")
    own = next((one.text("name") for one in members if one.data("public_key") == sender), None)
    need(own is not None, "governance.not_validator", f"only validators attest, got {sender.hex()}")
    assert own is not None
    proposal = known_proposal(book, said.number("number"))
    given = proposal.texts("attestations")
    if proposal.text("status") == "waiting" and newcomer(book, proposal.rec("action")) and own not in given:
        write_proposal(book, proposal.changed(attestations=[*sorted([*given, own])]))
        book.say("governance.attested", str(proposal.number("number")), f"by {own}")


def rotate(book: Book, who: Rec, said: Rec) -> None:
    after = said.rec("validator")
    name, person_, house = after.text("name"), who.text("name"), who.text("organisation")
    own = "officer" in who.texts("roles") and house == name
    need(own, "rotation.not_own", f"an officer of {name} was needed, got {person_} of {house}")
    before = seat(book, name)
    seated = before is not None and suspension(book, name) is None
    need(seated, "rotation.not_seated", f"{name} has no seat, or is suspended")
    assert before is not None
    if before == after:
        return
    message = encode((before, after))
    consents = is_signed(before.data("public_key"), "key-rotation", book.chain_id, message, said.data("consent"))
    need(consents, "rotation.no_consent", f"the present key of {name} has not signed its new record")
    require_new_keys(book, before, after, said.recs("proofs"))
    change_seat(book, name, after)
    book.say("rotation.accepted", name, "")


# The end of a block


def end_block(book: Book) -> None:
    for proposal in undecided(book):
        advance(book, proposal)
    governance.end_pauses(book)
    change_seats(book)


def advance(book: Book, proposal: Rec) -> None:
    action, count = proposal.rec("action"), str(proposal.number("number"))
    members = book.member_names()
    in_favour = (set(members) - {voteless(proposal)}) & set(proposal.texts("approvals"))
    needed = (len(members) - 1) // 3 + 1 if action.kind == "PauseLearning" else quorum(len(members))
    if proposal.text("status") == "open" and len(in_favour) >= needed:
        wait = DELAY_MS if action.kind == "ReplaceKeys" else occasions.wait_ms(action)
        due, lapses = book.time_ms + wait if wait else 0, book.time_ms + wait + LIFE_MS
        proposal = proposal.changed(status="waiting", due_ms=due, lapses_ms=lapses)
        write_proposal(book, proposal)
        book.say("governance.passed", count, "")
    seen = len(set(members) & set(proposal.texts("attestations")))
    in_sync = not newcomer(book, action) or seen > (len(members) - 1) // 3
    in_sync = in_sync and not occasions.enactment_denial(book, proposal)
    if changes_nothing(book, action):
        decide(book, proposal, "failed", "there is nothing left to do")
    elif proposal.text("status") == "waiting" and proposal.number("due_ms") <= book.time_ms and in_sync:
        try:
            require_possible(book, action)
        except Refusal as refusal:
            decide(book, proposal, "failed", refusal.code)
            return
        enact(book, proposal)
        decide(book, proposal, "enacted", "")
    elif proposal.number("lapses_ms") <= book.time_ms:
        denial = occasions.enactment_denial(book, proposal) if proposal.text("status") == "waiting" else ""
        decide(book, proposal, "lapsed", denial[:256])


def decide(book: Book, proposal: Rec, status: str, reason: str) -> None:
    count = proposal.number("number")
    write_proposal(book, proposal.changed(status=status, due_ms=0, decided_height=book.height, reason=reason))
    left: list[Value] = [one for one in docket(book).numbers("undecided") if one != count]
    book.write(b"fl/docket", docket(book).changed(undecided=left))
    book.say(f"governance.{status}", str(count), reason if status == "failed" else "")


def change_seats(book: Book) -> None:
    before = next_set(book)
    members = before.recs("members")
    known = book.read("Reigns", b"ledger/reigns")
    if known is not None and known.recs("reigns")[-1].number("first") == book.height + 1:
        book.say("validators.seated", str(book.height + 1), f"{len(members)} validators from this height on")
    seats: Seats = {one.text("name"): one for one in members}
    left_to_change = max(1, (len(members) - 1) // 3)
    sitting = [one for one in suspended(book) if one.rec("validator").text("name") in seats]
    sitting.sort(key=lambda one: (one.number("height"), one.rec("validator").text("name")))
    spare = max(0, len(members) - quorum(len(members) + len(suspended(book)) - len(sitting)))
    for held in sitting[:spare][:left_to_change]:
        del seats[held.rec("validator").text("name")]
        left_to_change -= 1
        book.say("seat.suspended", held.rec("validator").text("name"), "its seat is taken away by rule")
    stay: list[Rec] = []
    changes = waiting(book)
    for change in changes:
        if not left_to_change:
            stay.append(change)
            continue
        tried, name, given = dict(seats), change.text("name"), change.fields["validator"]
        tried.pop(name, None)
        if isinstance(given, Rec):
            tried[name] = given
        if tried == seats:
            continue
        if not is_set(tried):
            book.say("seat.refused", name, "no set of validators comes of it")
            continue
        seats, left_to_change = tried, left_to_change - 1
        book.say("seat.taken" if given is None else "seat.given", name, "")
    if len(stay) != len(changes):
        write_list(book, "SeatChanges", b"fl/seat-changes", "waiting", stay)
    ordered: list[Value] = [seats[name] for name in sorted(seats)]
    if ordered != before.items("members"):
        book.write(PENDING, make("ValidatorSet", members=ordered))
