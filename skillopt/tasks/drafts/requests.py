"""What people asked for, how they corrected it and whether they accepted it, out of sessions.

A person's words are told apart by how they begin, by what was repeated, and by what they
interrupted. These are guesses in English; a person reviews what is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from skillopt.tasks.drafts.sessions import Session, Turn

Accepted = Literal["yes", "no", "unknown"]

LEAST_WORDS = 3
"""Fewer words are no request that could stand alone, such as "go on"."""
ALIKE = 0.6
"""The share of words in common from which on a request is a repeated one."""
_CORRECTS = re.compile(
    r"(?i)\A\W*(?:no|nope|nah|not (?:quite|what|like|that|the)|wrong|incorrect|stop|wait|undo"
    r"|revert|rather|instead|actually|hmm+|still|again|but|please don'?t|don'?t|do not"
    r"|never|why did you"
    r"|you (?:forgot|missed|broke|should|shouldn'?t|didn'?t|did not|were supposed|ignored|must)"
    r"|(?:that|this|it)(?:'s| is| was)? (?:not|wrong|still|incorrect|isn'?t|doesn'?t|does not|fails"
    r"|broke|should|must)|i (?:said|asked|told|meant|wanted|don'?t want|did not|didn'?t)|as i said"
    r"|there (?:is|are) still|the \w+ (?:must|should|shouldn'?t|is wrong|is missing|are missing))\b"
)
_ACCEPTS = re.compile(
    r"(?i)\A\W*(?:great|thanks|thank you|thx|perfect|excellent|nice|good|looks good|lgtm|ok(?:ay)?"
    r"|awesome|cool|yes|yep|yeah|correct|exactly|well done|works|it works|that works|that'?s right"
    r"|commit (?:it|this)|ship it|merge it)\b"
)
_NO_WORDS = re.compile(
    r"(?i)\A\W*(?:continue|go on|proceed|keep going|resume|next|retry|try again)\b"
)
_NEGATION = re.compile(r"(?i)\A(?:no|nope|nah|wait|stop|hmm+|actually|but)\b[\s,.;:!-]*")


@dataclass(frozen=True)
class Request:
    """Something that a person asked for, and what became of it.

    Args:
        session: in which it was asked.
        turn: with which it was asked.
        corrections: what the person said against the result, in order.
        accepted: whether they said that it is right; ``yes`` also if they went on to something
            else after a correction or without one.
        files: what the agent changed for it.
        skills: that the agent opened for it.
        first: whether it is the first request of the session, so that the workspace is known.
    """

    session: Session
    turn: Turn
    corrections: tuple[Turn, ...] = ()
    accepted: Accepted = "unknown"
    files: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    first: bool = False


def requests_in(sessions: Iterable[Session]) -> tuple[list[Request], int]:
    """The requests in sessions, each once also if the session was forked after it, and how many
    were left out because they say too little."""
    found: dict[str, Request] = {}
    short: set[str] = set()
    for session in sessions:
        for request in _requests(session):
            id = request.turn.id
            if len(request.turn.text.split()) < LEAST_WORDS or _NO_WORDS.match(request.turn.text):
                short.add(id)
            else:
                found[id] = _joined(found[id], request) if id in found else request
    return list(found.values()), len(short)


def _requests(session: Session) -> list[Request]:
    found: list[Request] = []
    before: Turn | None = None
    for turn in session.turns:
        last = found[-1] if found else None
        if last is None:
            found.append(_asked(session, turn, first=True))
        elif is_correction(turn, before, last):
            found[-1] = _with(last, turn, corrected=True)
        elif _ACCEPTS.match(turn.text):
            found[-1] = replace(_with(last, turn, corrected=False), accepted="yes")
        elif _NO_WORDS.match(turn.text):
            found[-1] = _with(last, turn, corrected=False)
        else:
            if last.accepted == "unknown" and before is not None and not before.interrupted:
                found[-1] = replace(last, accepted="yes")
            found.append(_asked(session, turn, first=False))
        before = turn
    if found and before is not None and before.interrupted:
        found[-1] = replace(found[-1], accepted="no")
    return found


def is_correction(turn: Turn, before: Turn | None, request: Request) -> bool:
    """Whether a turn corrects what an agent did for a request.

    Args:
        turn: of the person.
        before: the turn before it.
        request: what was asked last.
    """
    if turn.again or turn.while_working or (before is not None and before.interrupted):
        return True
    if _CORRECTS.match(turn.text):
        return True
    return any(_alike(turn.text, said.text) for said in (request.turn, *request.corrections))


def statement(correction: str) -> str:
    """A correction as a statement that a result should fulfil: without the no at its beginning."""
    text = _NEGATION.sub("", correction.strip())
    return text[:1].upper() + text[1:] if text else correction.strip()


def _alike(one: str, other: str) -> bool:
    """Whether two texts have most of their words in common."""
    first, second = (set(re.findall(r"\w+", text.lower())) for text in (one, other))
    both = first | second
    return len(first) >= LEAST_WORDS and bool(both) and len(first & second) / len(both) >= ALIKE


def _asked(session: Session, turn: Turn, *, first: bool) -> Request:
    return Request(session, turn, files=turn.files, skills=turn.skills, first=first)


def _with(request: Request, turn: Turn, *, corrected: bool) -> Request:
    """A request with a later turn that belongs to it."""
    return replace(
        request,
        corrections=(*request.corrections, turn) if corrected else request.corrections,
        accepted="unknown" if corrected else request.accepted,
        files=tuple(dict.fromkeys([*request.files, *turn.files])),
        skills=tuple(dict.fromkeys([*request.skills, *turn.skills])),
    )


_RANK: Sequence[Accepted] = ("unknown", "no", "yes")


def _joined(one: Request, other: Request) -> Request:
    """A request with what became of it in two sessions that share it."""
    corrections = {turn.id: turn for turn in (*one.corrections, *other.corrections)}
    return replace(
        one,
        corrections=tuple(corrections.values()),
        accepted=max(one.accepted, other.accepted, key=_RANK.index),
        files=tuple(dict.fromkeys([*one.files, *other.files])),
        skills=tuple(dict.fromkeys([*one.skills, *other.skills])),
    )
