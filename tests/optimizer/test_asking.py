"""A reply is parsed, checked, repaired once, or counted as failed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from harnesses.protocols.base import Message
from skillopt.optimizer.model import OptimizerReplyError, ask_with_repair
from skillopt.optimizer.replies import Ranking, Repair
from tests.helpers.values import edit

GOOD = '{"reasoning": "r", "order": [2, 1]}'


def ask(*replies: str) -> tuple[Ranking, list[Sequence[Message]]]:
    sent: list[Sequence[Message]] = []

    def send(messages: Sequence[Message]) -> str:
        sent.append(tuple(messages))
        return replies[len(sent) - 1]

    return ask_with_repair(send, "be good", "rank them", Ranking), sent


@pytest.mark.parametrize("reply", [GOOD, f"```json\n{GOOD}\n```", f"Here you are:\n{GOOD}\nBye."])
def test_a_good_reply_needs_one_call(reply: str) -> None:
    answer, sent = ask(reply)
    assert answer.order == [2, 1]
    assert [message.role for message in sent[0]] == ["system", "user"]
    assert '"order"' in sent[0][1].text  # The schema, for services that enforce none.


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ("", "Invalid JSON"),
        ("no", "Invalid JSON"),
        (GOOD[:-5], "Invalid JSON"),
        ('{"reasoning": "r"}', "order: Field required"),
        ('{"reasoning": "r", "order": ["best"]}', "order.0: Input should be a valid integer"),
        ('{"reasoning": "r", "order": [1.5]}', "order.0: Input should be a valid integer"),
        ("{'reasoning': 'r', 'order': [1]}", "Invalid JSON"),
    ],
)
def test_a_malformed_reply_is_asked_for_again_with_the_error(reply: str, complaint: str) -> None:
    answer, sent = ask(reply, GOOD)
    assert answer.order == [2, 1]
    assert [message.role for message in sent[1]] == ["system", "user", "assistant", "user"]
    assert sent[1][2].text == (reply or "(nothing)")
    assert complaint in sent[1][3].text


def test_malformed_twice_is_an_error() -> None:
    with pytest.raises(OptimizerReplyError, match="also when asked again: order: Field required"):
        ask("no", '{"reasoning": "r"}')


EDIT = edit("- a")
_ODD = {"kind": "guess"}


@pytest.mark.parametrize(
    ("replies", "left_out"),
    [
        ([[EDIT]], []),
        ([[EDIT, _ODD]], ["edits.1"]),
        ([[_ODD, EDIT, _ODD]], ["edits.0", "edits.2"]),
        # Of a reply that cannot be used, nothing is told.
        ([[_ODD], [EDIT]], []),
        ([[_ODD, _ODD], [EDIT, _ODD, _ODD]], ["edits.1", "edits.2"]),
    ],
)
def test_all_that_is_left_out_of_a_reply_is_noted(
    replies: list[list[dict[str, str]]], left_out: list[str]
) -> None:
    notes: list[str] = []
    rest = iter([json.dumps({"edits": edits}) for edits in replies])
    answer = ask_with_repair(lambda _: next(rest), "s", "p", Repair, notes.append)
    assert [each.content for each in answer.edits] == [EDIT["content"]]
    assert [note.split(" ")[0] for note in notes] == left_out
    assert next(rest, None) is None
