"""What a person asked for in a session, how they corrected it, and whether they accepted it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skillopt.tasks.drafts.requests import Request, is_correction, requests_in, statement
from skillopt.tasks.drafts.sessions import Session, Turn

ASK = Turn("1", "Write the monthly report")
OTHER = Turn("9", "Now draw a big picture")


def session(*turns: Turn, id: str = "s") -> Session:
    return replace(Session("codex", id, Path("x"), "1", "", ""), turns=turns)


def found(*turns: Turn) -> list[Request]:
    return requests_in([session(*turns)])[0]


@pytest.mark.parametrize(
    ("turn", "before", "corrects"),
    [
        (OTHER, ASK, False),
        (replace(OTHER, again=True), ASK, True),
        (replace(OTHER, while_working=True), ASK, True),
        (OTHER, replace(ASK, interrupted=True), True),
        (OTHER, None, False),
        (replace(OTHER, text="No, in bold"), ASK, True),
        (replace(OTHER, text="  'Actually, in bold"), ASK, True),
        (replace(OTHER, text="You forgot the title"), ASK, True),
        (replace(OTHER, text="That's wrong"), ASK, True),
        (replace(OTHER, text="I meant the other one"), ASK, True),
        (replace(OTHER, text="The title is missing"), ASK, True),
        (replace(OTHER, text="Nothing is wrong"), ASK, False),
        # The same words again: three of five are enough, of fewer than three words none.
        (replace(OTHER, text="write THE monthly report!"), ASK, True),
        (replace(OTHER, text="Write the monthly letter"), ASK, True),
        (replace(OTHER, text="Write the weekly letter"), ASK, False),
        (replace(OTHER, text="monthly report"), Turn("2", "Monthly report"), False),
    ],
)
def test_what_is_a_correction(turn: Turn, before: Turn | None, corrects: bool) -> None:
    request = Request(session(), replace(ASK, interrupted=False))
    assert is_correction(turn, before, request) is corrects


def test_what_was_said_in_a_correction_counts_when_it_is_repeated() -> None:
    request = Request(session(), ASK, corrections=(Turn("2", "Use bold type everywhere"),))
    assert is_correction(Turn("3", "use bold type everywhere now"), ASK, request)


@pytest.mark.parametrize(
    ("turns", "accepted", "corrections"),
    [
        ((ASK,), ["unknown"], [[]]),
        ((replace(ASK, interrupted=True),), ["no"], [[]]),
        ((ASK, Turn("2", "Thanks!")), ["yes"], [[]]),
        ((ASK, Turn("2", "Go on")), ["unknown"], [[]]),
        ((ASK, Turn("2", "No, in bold")), ["unknown"], [["2"]]),
        ((ASK, Turn("2", "Thanks!"), Turn("3", "No, in bold")), ["unknown"], [["3"]]),
        ((ASK, Turn("2", "No, in bold"), Turn("3", "Perfect")), ["yes"], [["2"]]),
        # Whoever goes on to something else is content.
        ((ASK, OTHER), ["yes", "unknown"], [[], []]),
        ((ASK, Turn("2", "No, in bold"), OTHER), ["yes", "unknown"], [["2"], []]),
        ((ASK, replace(OTHER, interrupted=True)), ["yes", "no"], [[], []]),
        ((ASK, Turn("2", "Thanks!"), replace(Turn("3", "Go on"), interrupted=True)), ["no"], [[]]),
    ],
)
def test_what_became_of_requests(
    turns: tuple[Turn, ...], accepted: list[str], corrections: list[list[str]]
) -> None:
    requests = found(*turns)
    assert [request.accepted for request in requests] == accepted
    assert [[turn.id for turn in request.corrections] for request in requests] == corrections
    assert [request.first for request in requests] == [n == 0 for n in range(len(requests))]


def test_what_an_agent_did_after_later_turns_belongs_to_the_request() -> None:
    turns = (
        replace(ASK, files=("a", "b"), skills=("s",)),
        replace(Turn("2", "No, in bold"), files=("b", "c"), skills=("t", "s")),
        replace(Turn("3", "Go on"), files=("d",)),
        replace(Turn("4", "Thanks"), files=("e",)),
        replace(OTHER, files=("z",), skills=("u",)),
    )
    first, second = found(*turns)
    assert (first.files, first.skills) == (("a", "b", "c", "d", "e"), ("s", "t"))
    assert (second.files, second.skills) == (("z",), ("u",))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Do it", False), ("Do it now", True), ("Go on", False), ("Continue with the next part",
                                                                  False),
        ("", False), ("Retry that all again", False), ("Keep a copy of it", True),
    ],
)  # fmt: skip
def test_what_says_too_little_is_left_out(text: str, kept: bool) -> None:
    requests, short = requests_in([session(Turn("1", text))])
    assert (len(requests), short) == ((1, 0) if kept else (0, 1))


def test_a_request_of_two_sessions_is_one() -> None:
    asked = replace(ASK, files=("a",), skills=("s",))
    one = session(asked, Turn("2", "No, in bold"))
    other = session(replace(ASK, files=("b", "a"), skills=("t",)), Turn("3", "Not that big"),
                    Turn("4", "Thanks"), id="fork")  # fmt: skip
    for sessions in ([one, other], [other, one]):
        (request,), short = requests_in(sessions)
        assert short == 0 and request.accepted == "yes"
        assert {turn.id for turn in request.corrections} == {"2", "3"}
        assert ({*request.files}, {*request.skills}) == ({"a", "b"}, {"s", "t"})
        assert request.session is sessions[0]
    again, short = requests_in([session(Turn("1", "Do it")), session(Turn("1", "Do it"))])
    assert (again, short) == ([], 1)
    (request,), _ = requests_in([session(replace(ASK, interrupted=True)), session(ASK)])
    assert request.accepted == "no"


@pytest.mark.parametrize(
    ("correction", "said"),
    [
        ("No, use bold", "Use bold"), ("  wait... it is red", "It is red"), ("no", "no"),
        ("Hmm! but so", "But so"), ("Nothing is red", "Nothing is red"), ("use bold", "Use bold"),
    ],
)  # fmt: skip
def test_a_correction_as_a_statement(correction: str, said: str) -> None:
    assert statement(correction) == said


@pytest.mark.parametrize(
    ("text", "other", "alike"),
    [
        ("a b c d e", "a b c d e", True),
        ("a b c d", "a b c e", True),  # Three of five.
        ("a b c d e f", "a b c g", False),
        ("a b c", "a b", True),
        ("a b", "a b c", False),
        ("a b", "a b", False),
        ("a a a b", "a b", False),
        ("!", "?", False),
        ("A, b. C!", "c b a", True),
    ],
)
def test_texts_are_alike_by_the_share_of_their_words(text: str, other: str, alike: bool) -> None:
    said = Turn("2", text)
    assert is_correction(said, ASK, Request(session(), Turn("1", other))) is alike


@pytest.mark.parametrize(
    ("texts", "accepted"),
    [
        (("Great",), "yes"), (("  'OK, next' ",), "yes"),
        (("Looks good to me",), "yes"), (("It works",), "yes"), (("That's right",), "yes"),
        (("Commit this",), "yes"), (("Keep going",), "unknown"),
        (("Thanks", "Go on"), "yes"), (("Thanks", "Not that"), "unknown"),
        (("But why", "yes"), "yes"),
    ],
)  # fmt: skip
def test_how_a_person_accepts(texts: tuple[str, ...], accepted: str) -> None:
    said = [Turn(str(n), text) for n, text in enumerate(texts, start=2)]
    assert found(ASK, *said)[0].accepted == accepted
