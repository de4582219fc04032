"""Who is named when a vector is said to be wrong: f verdicts decide nothing, f + 1 do."""

from fl.sealed.committee import Committee
from fl.sealed.messages import Suspicion, SuspicionVerdict
from fl.sealed.suspicions import Suspicions


def begun() -> tuple[Suspicions, list[tuple[int, str]]]:
    named: list[tuple[int, str]] = []
    suspicions = Suspicions(Committee(7), lambda seat, fault: named.append((seat, fault)))
    suspicions.begin(range(6))
    return suspicions, named


def test_f_liars_do_not_get_an_honest_validator_named() -> None:
    suspicions, named = begun()
    assert suspicions.handle(Suspicion(5, 0)) is None
    for liar in (5, 6):
        assert suspicions.handle(SuspicionVerdict(liar, 0, is_wrong=True)) is None
    assert named == []

    for honest in (0, 1, 2):
        suspicions.handle(SuspicionVerdict(honest, 0, is_wrong=False))

    assert set(named) == {(5, "false_suspicion"), (5, "false_verdict"), (6, "false_verdict")}


def test_a_wrong_vector_names_its_sender_and_who_defends_it() -> None:
    suspicions, named = begun()
    assert suspicions.handle(Suspicion(1, 4)) is None
    assert suspicions.handle(Suspicion(1, 4)) == "repeated"
    assert suspicions.accused == (4,)
    for seat, is_wrong in ((4, False), (1, True), (2, True), (3, True)):
        suspicions.handle(SuspicionVerdict(seat, 4, is_wrong=is_wrong))

    assert set(named) == {(4, "false_sum"), (4, "false_verdict")}


def test_only_vectors_that_are_in_the_sum_are_suspected_and_verdicts_answer_suspicions() -> None:
    suspicions, named = begun()

    assert suspicions.handle(Suspicion(1, 6)) == "not_now"
    assert suspicions.handle(SuspicionVerdict(1, 3, is_wrong=True)) == "nothing_to_answer"
    assert suspicions.handle(Suspicion(1, 3)) is None
    assert suspicions.handle(SuspicionVerdict(2, 3, is_wrong=False)) is None
    assert suspicions.handle(SuspicionVerdict(2, 3, is_wrong=True)) == "repeated"
    assert named == [(2, "equivocation")]
