"""What models answer to a question with a schema, and what is read of it.

``optimizer-replies.json`` has replies to a schema with a text and whole numbers, each with the
order that should be read; null: the reply is refused, and asked for again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.optimizer.examples import Example
from skillopt.optimizer.reading import UnreadableReplyError, read_fitting
from skillopt.optimizer.replies import (
    ChosenRanking,
    Draft,
    FailureReflection,
    Merge,
    Notes,
    Ranking,
    SuccessReflection,
)

REPLIES = json.loads((Path(__file__).parent / "optimizer-replies.json").read_text("utf-8"))
GOOD = '{"reasoning": "r", "order": [2, 1]}'
EDIT = {"kind": "append", "target": "", "content": "- Be brief.", "reason": "r", "file": ""}


@pytest.mark.parametrize("case", REPLIES, ids=[case["name"] for case in REPLIES])
def test_a_reply_says_what_stands_beside_it(case: dict[str, Any]) -> None:
    if case["order"] is None:
        with pytest.raises(UnreadableReplyError):
            read_fitting(case["reply"], Ranking)
    else:
        assert read_fitting(case["reply"], Ranking)[0].order == case["order"]


@pytest.mark.parametrize(
    "reply",
    [
        f"[{GOOD}]",
        f'{{"result": {GOOD}}}',
        f'Like {{"order": "best first"}}:\n{GOOD}',
        f"```python\nd = {{'a': {{}}}}\n```\n```json\n{GOOD}\n```",
        f"<thinking>\n{{\n</thinking>{GOOD}",
        f"Only this: {GOOD} (and {{nothing}} else)",
        f'{{"reasoning": "cut here, then anew\n\n{GOOD}',
        GOOD.replace("2, 1", "2.0, 1.0"),
        GOOD.replace('"r"', '"\\ud800"'),
        GOOD.replace('"r"', '"say <think> or </think>\\nas you like"'),
        GOOD.replace('"r"', '"a</think>b"'),
        f"<think>{GOOD.replace('2, 1', '9')}",  # All of it was taken for a thought.
    ],
)
def test_an_object_is_found_wherever_it_stands(reply: str) -> None:
    assert read_fitting(reply, Ranking)[0].order in ([2, 1], [9])


@given(st.text('{}[]":,\\ \n1ax', max_size=60), st.text("}] \n`x", max_size=20))
def test_no_text_before_or_after_hides_an_object(before: str, after: str) -> None:
    value, notes = read_fitting(f"{before.replace(chr(34), '')}\n{GOOD}{after}", Ranking)
    assert value.order == [2, 1] and notes == []


@pytest.mark.parametrize(
    ("schema", "reply", "missing"),
    [
        (Ranking, {"reasoning": "r"}, "order"),
        (ChosenRanking, {"order": [1]}, "count"),
        (FailureReflection, {"reasoning": "r", "failure_types": []}, "edits"),
        (Notes, {"reasoning": "r"}, "notes"),
        (Draft, {"description": "d"}, "body"),
        (Example, {"op": "add", "input": "a"}, "output"),
        (Merge, {"edits": [{"content": "a"}]}, "edits.0.sources"),
    ],
)
def test_what_a_reply_is_asked_for_must_be_there(schema: Any, reply: Any, missing: str) -> None:
    with pytest.raises(UnreadableReplyError, match=f"{missing}: Field required"):
        read_fitting(json.dumps(reply), schema)


def test_what_is_empty_may_be_missing_or_null() -> None:
    kept = {"kind": "append", "content": "- Be brief.", "target": None}
    reply = {"edits": [kept], "failure_types": [{"name": "slow", "count": None, "x": 1}]}
    found, notes = read_fitting(json.dumps(reply), FailureReflection)
    assert [edit.content for edit in found.edits] == ["- Be brief."] and found.reasoning == ""
    assert found.failure_types[0].count == 0 and notes == []
    assert read_fitting('{"edits": null}', SuccessReflection)[0].edits == []
    assert read_fitting('{"body": "b"}', Draft)[0].description == ""


def test_one_bad_edit_costs_that_edit() -> None:
    bad = [{**EDIT, "kind": "paint"}, "append something", {**EDIT, "content": 5}, None]
    for one in bad:
        found, notes = read_fitting(
            json.dumps({"reasoning": "r", "edits": [EDIT, one, EDIT]}), SuccessReflection
        )
        assert len(found.edits) == 2
        assert len(notes) == 1 and notes[0].startswith("edits.1 was left out: ")
    with pytest.raises(UnreadableReplyError, match=r"edits\.0\.kind"):
        read_fitting(json.dumps({"reasoning": "r", "edits": bad[:1]}), SuccessReflection)


def test_what_a_reply_could_do_without_costs_nothing_if_it_is_odd() -> None:
    reply = {
        "reasoning": ["so", "on"],
        "failure_types": [{"name": "slow", "count": "three"}, "late", {"count": 1}, 7],
        "edits": [{**EDIT, "runs": ["Trajectory 2", "3", 4, "all"], "reason": None}],
    }
    found, notes = read_fitting(json.dumps(reply), FailureReflection)
    assert found.reasoning == "" and found.edits[0].runs == [2, 3, 4]
    assert [(t.name, t.count) for t in found.failure_types] == [("slow", 0), ("late", 0)]
    assert len(notes) == 2
    alone = {"failure_types": [{"count": "three"}], "edits": [{**EDIT, "runs": 3}]}
    found, notes = read_fitting(json.dumps(alone), FailureReflection)
    assert found.failure_types == [] and found.edits[0].runs == [3] and len(notes) == 1


@pytest.mark.parametrize(
    ("reply", "cut"),
    [
        ('{"reasoning": "r", "order": [2, ', True),
        ('{"reasoning": "half of a sen', True),
        ('So:\n```json\n{\n  "reasoning": "r",\n  "order": [1', True),
        ('{"reasoning": "{[", "order": "best"}', False),
        ('{"reasoning": "r"}', False),
        ("I would rather not.", False),
        ("", False),
        ('{"reasoning": "r", "order": [2, 1]]', False),
    ],
)
def test_a_cut_reply_is_told_from_a_broken_one(reply: str, cut: bool) -> None:
    with pytest.raises(UnreadableReplyError) as caught:
        read_fitting(reply, Ranking)
    assert caught.value.cut == cut == ("ends in the middle" in str(caught.value))


@pytest.mark.parametrize(
    "reply",
    ["{" * 100_000, '{"' * 100_000, '{"a":' * 100_000, '{"a": "' * 100_000, '{"a":1}' * 100_000,
     '{"a":[' * 100_000, "{" + " " * 300_000, '{"reasoning": ' + "9" * 100_000 + "}",
     "<think>" * 50_000, "</think>" * 50_000, "\n" * 300_000],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_a_hostile_reply_is_refused_in_good_time(reply: str) -> None:
    started = time.thread_time()  # Whatever else the machine does.
    with pytest.raises(UnreadableReplyError):
        read_fitting(reply, Ranking)
    assert time.thread_time() - started < 3
