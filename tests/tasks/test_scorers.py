"""The named scorers, on replies as models write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import Task
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.scorers import SCORERS, ByScorer, make_scorer, number

SCHEMA = {
    "type": "object",
    "required": ["n"],
    "properties": {"n": {"type": "integer"}},
    "additionalProperties": False,
}
SLOW = "(a+)+$"


@pytest.mark.parametrize(
    ("name", "options", "reply", "expected", "soft", "solved"),
    [
        ("exact", {}, "So: <answer>Ghent</answer>", "Ghent", 1, True),
        ("exact", {}, "Thinking.\nGhent", "Ghent", 1, True),
        ("exact", {}, "ghent", "Ghent", 0, False),
        ("exact", {}, "a  b", "a b", 1, True),
        ("exact", {"blanks": "kept"}, "a  b", "a b", 0, False),
        ("exact", {"take": "whole"}, "Thinking.\nGhent", "Ghent", 0, False),
        ("exact", {}, "Lier", ["Ghent", "Lier"], 1, True),
        ("exact", {}, "", "Ghent", 0, False),
        ("exact", {}, "7", 7, 1, True),
        ("normalised", {}, "<answer>The Ghent.</answer>", "ghent", 1, True),
        ("normalised", {}, "Ghent, Belgium", "Ghent", 0, False),
        ("f1", {}, "Ghent, Belgium", "Ghent", 2 / 3, False),
        ("f1", {}, "the Ghent", "Ghent", 1, True),
        ("f1", {}, "y x", "x y", 1, False),
        ("numeric", {}, "$1,234.50", "1234.5", 1, True),
        ("numeric", {}, "-$3", -3, 1, True),
        ("numeric", {}, "12 %", "12", 1, True),
        ("numeric", {}, "1e3", 1000, 1, True),
        ("numeric", {}, "10.4", 10, 0, False),
        ("numeric", {"relative": 0.05}, "10.4", 10, 1, True),
        ("numeric", {"absolute": 0.3}, "10.4", 10, 0, False),
        ("numeric", {"absolute": 0.5}, "10.4", 10, 1, True),
        ("numeric", {}, "about ten", 10, 0, False),
        ("numeric", {"relative": 0.5}, "nan", 10, 0, False),
        ("numeric", {"relative": 0.5}, "inf", 10, 0, False),
        ("numeric", {}, "1,23", 123, 0, False),
        ("regex", {}, "PROJ-12: fix", r"PROJ-\d+", 1, True),
        ("regex", {"whole": True}, "PROJ-12: fix", r"PROJ-\d+", 0, False),
        ("regex", {"ignore_case": True}, "proj-12", r"PROJ-\d+", 1, True),
        ("json", {}, '```json\n{"b": 1, "a": [1, 2]}\n```', {"a": [1, 2], "b": 1}, 1, True),
        ("json", {}, '{"a": [2, 1]}', {"a": [1, 2]}, 0, False),
        ("json", {"any_order": True}, '{"a": [2, 1]}', {"a": [1, 2]}, 1, True),
        ("json", {"any_order": True}, "[1, 1, 2]", [1, 2, 2], 0, False),
        ("json", {"any_order": True}, "[[2], [1]]", [[1], [2]], 1, True),
        ("json", {}, "true", 1, 0, False),
        ("json", {"relative": 0.1}, "1" * 400, 1.5, 0, False),
        ("json", {}, "1.0", 1, 1, True),
        ("json", {"relative": 0.1}, "[1.05]", [1], 1, True),
        ("json", {}, "null", None, 1, True),
        ("json", {}, "NaN", None, 0, False),
        ("json", {}, "[" * 100_000, [], 0, False),
        ("json", {}, '{"a": 1, "b": 2}', {"a": 1}, 0, False),
        ("json_schema", {}, '{"n": 3}', SCHEMA, 1, True),
        ("json_schema", {}, '{"n": "3"}', SCHEMA, 0, False),
        ("json_schema", {}, '{"n": 3, "m": 4}', SCHEMA, 0, False),
        ("json_schema", {}, "n is 3", SCHEMA, 0, False),
        ("anls", {}, "<answer>Ghent</answer>", "ghent", 1, True),
        ("anls", {}, "Gent", "Ghent", 0.8, False),
        ("anls", {}, "Lier", "Ghent", 0, False),
        ("choice", {"choices": {"A": "one", "B": "two"}}, "<answer>b)</answer>", "B", 1, True),
        ("choice", {"choices": {"A": "one", "B": "two"}}, "two", "B", 1, True),
        ("choice", {"choices": {"A": "one", "B": "two"}}, "A", "B", 0, False),
    ],
)
def test_scores(
    name: str, options: dict[str, Any], reply: str, expected: Any, soft: float, solved: bool
) -> None:
    found = make_scorer(name, options, "here")(reply, expected)
    assert found.soft == pytest.approx(soft)
    assert found.solved is solved
    assert bool(found.feedback) is not solved


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reply", "expected"),
    [("regex", "a" * 60 + "!", SLOW), ("json_schema", f'"{"a" * 60}!"', {"pattern": SLOW})],
)
def test_a_pattern_that_takes_for_ever_is_ended(
    monkeypatch: pytest.MonkeyPatch, name: str, reply: str, expected: Any
) -> None:
    monkeypatch.setattr("skillopt.tasks.scorers.SECONDS", 1)
    found = make_scorer(name, {}, "here")(reply, expected)
    assert not found.solved and "took more than 1 s" in found.feedback


def test_feedback_does_not_have_the_expected_answer() -> None:
    for name in ("exact", "normalised", "f1", "anls"):
        assert "Antwerp" not in make_scorer(name, {}, "here")("Lier", "Antwerp").feedback
    assert "77" not in make_scorer("numeric", {}, "here")("3", 77).feedback
    assert "secret" not in make_scorer("json", {}, "here")('{"a": 1}', {"a": "secret"}).feedback


def test_a_scorer_is_a_verifier() -> None:
    verifier = ByScorer(make_scorer("f1", {}, "here"), "Ghent")
    reward = verifier(Task(name="t", instruction="", digest=""), Path(), "Ghent, Belgium")
    assert (reward.hard, reward.metrics) == (0.0, {"f1": pytest.approx(2 / 3)})


@pytest.mark.parametrize(
    ("name", "options", "expected", "message"),
    [
        ("exct", {}, "", "here: 'exct' is not one of exact"),
        ("exact", {"blank": "kept"}, "", "here: blank: .*options of exact: take, blanks"),
        ("numeric", {"relative": -1}, "", "here: relative"),
        ("choice", {}, "", "here: choices"),
        ("numeric", {}, "ten", "'ten' is not a number"),
        ("regex", {}, "(", "is not valid"),
        ("json_schema", {}, {"type": "objekt"}, "is not valid"),
        ("exact", {}, [], "no expected answer"),
        ("exact", {}, {"a": 1}, "must be a text or a number"),
        ("choice", {"choices": {"A": "x"}}, "C", "not one of A"),
    ],
)
def test_what_is_wrong_is_named(
    name: str, options: dict[str, Any], expected: Any, message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        make_scorer(name, options, "here")("1", expected)


def test_every_scorer_is_tested_by_name() -> None:
    assert {*SCORERS} == {
        "exact", "normalised", "numeric", "f1", "regex", "json", "json_schema", "anls", "choice",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", ".", "-", "e5", "1 2", "1.2.3", "1,2,3", "--1", "12abc", "1e", "\u0661"]
)
def test_no_number(text: str) -> None:
    assert number(text) is None
