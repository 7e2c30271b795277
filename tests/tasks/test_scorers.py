"""The named scorers, on replies as models write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import Task, named_task
from skillopt.tasks.benchmarks.docvqa.score import Judge as DocJudge
from skillopt.tasks.benchmarks.limited import LimitError
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.scorers import SCORERS, ByScorer, make_scorer, number
from skillopt.tasks.strange import matches, schema_problem

SCHEMA = {
    "type": "object",
    "required": ["n"],
    "properties": {"n": {"type": "integer"}},
    "additionalProperties": False,
}
SLOW = "(a+)+$"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns and schemas are tried in this process, which takes a hundredth of the time."""
    monkeypatch.setattr(
        "skillopt.tasks.scorers.limited", lambda function, given, *_: function(given)
    )


@pytest.mark.parametrize(
    ("name", "reply", "expected", "solved"),
    [
        ("regex", "PROJ-12: fix", r"PROJ-\d+", True),
        ("regex", "fix", r"PROJ-\d+", False),
        ("json_schema", '{"n": 3}', SCHEMA, True),
        ("json_schema", '{"n": "3"}', SCHEMA, False),
    ],
)
def test_patterns_and_schemas_in_a_process_of_their_own(
    name: str, reply: str, expected: Any, solved: bool
) -> None:
    assert make_scorer(name, {}, "here")(reply, expected).solved is solved


@pytest.mark.usefixtures("here")
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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7", 7), ("-7", -7), ("+7", 7), ("7.", 7), (".5", 0.5), ("-.5", -0.5), ("1,234", 1234),
        ("12,345,678.5", 12345678.5), ("1234,567", None), ("1,2345", None), (",123", None),
        ("1e3", 1000), ("1E-3", 0.001), ("1e+3", 1000), ("$3", 3), ("\u20ac 3", 3), ("\u00a33", 3),
        ("\u00a53", 3), ("3 \u20ac", 3), ("3$", 3), ("-$3", -3), ("-\u20ac3", -3), ("-\u00a33", -3),
        ("-\u00a53", -3), ("- $3", None), ("-3$", -3), ("-$ 3", -3), ("--$3", None), ("-$-3", 3),
        ("3%", 3), ("3 %.", 3), ("3. %", 3), (" 3\t", 3), ("\u00a03", 3), ("1e400", None),
        ("-1e400", None), ("$", None), ("-$", None), ("%", None), ("#3", None),
    ],
)  # fmt: skip
def test_which_number_a_text_is(text: str, found: float | None) -> None:
    assert number(text) == found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "options", "reply", "expected", "solved"),
    [
        # Which part of the reply is the answer.
        ("exact", {}, "<answer>a</answer>\nb", "a", True),
        ("exact", {"take": "last_line"}, "<answer>a</answer>\nb\n\n", "b", True),
        ("exact", {"take": "last_line"}, "<answer>a</answer>\nb", "a", False),
        ("exact", {"take": "whole"}, " a\nb ", "a b", True),
        ("exact", {"take": "whole", "blanks": "kept"}, " a\nb ", "a\nb", True),
        ("exact", {"take": "whole", "blanks": "kept"}, " a\nb ", "a b", False),
        ("json", {"take": "tagged"}, "x <answer>[1]</answer>", [1], True),
        ("json", {}, "x <answer>[1]</answer>", [1], False),
        # Any of the expected ones.
        ("numeric", {}, "3", [2, 3], True),
        ("numeric", {}, "3", ["2", "$3"], True),
        ("numeric", {}, "3", [2, 4], False),
        ("regex", {}, "b", ["a", "b"], True),
        ("regex", {}, "c", ["a", "b"], False),
        ("regex", {}, "", "^$", True),
        ("regex", {}, "", "a", False),
        ("f1", {}, "x y", ["z", "x y"], True),
        ("normalised", {}, "x", ["z", "The x."], True),
        ("exact", {}, "1.5", (2, 1.5), True),
        # Tolerances reach to their number.
        ("numeric", {"absolute": 0.5}, "10.5", 10, True),
        ("numeric", {"absolute": 0.5}, "9.5", 10, True),
        ("numeric", {"absolute": 0.5}, "10.51", 10, False),
        ("numeric", {"relative": 0.25}, "12.5", 10, True),
        ("numeric", {"relative": 0.25}, "12.6", 10, False),
        ("numeric", {"relative": 0.25}, "-12.5", -10, True),
        ("numeric", {"relative": 0.25, "absolute": 4}, "14", 10, True),
        ("numeric", {"relative": 0.5, "absolute": 1}, "14", 10, True),
        ("json", {"relative": 0.25}, "12.5", 10, True),
        ("json", {"relative": 0.25}, "12.6", 10, False),
        ("json", {"relative": 0.25}, "-12.5", -10, True),
        ("json", {"relative": 0.25}, "-8", 10, False),
        # JSON values.
        ("json", {}, '{"a": [1, {"b": 2}]}', {"a": [1, {"b": 2}]}, True),
        ("json", {}, '{"a": [1, {"b": 3}]}', {"a": [1, {"b": 2}]}, False),
        ("json", {}, '{"a": 1}', {"b": 1}, False),
        ("json", {}, "{}", [], False),
        ("json", {}, "[]", {}, False),
        ("json", {}, "[1]", [1, 2], False),
        ("json", {}, "[1, 2]", [1], False),
        ("json", {"any_order": True}, "[1]", [1, 1], False),
        ("json", {"any_order": True}, "[2, 1, 1]", [1, 2, 1], True),
        ("json", {"any_order": True}, '{"a": [[2, 1], 3]}', {"a": [3, [1, 2]]}, True),
        ("json", {}, '"a"', "a", True),
        ("json", {}, '"a"', "b", False),
        ("json", {}, "1", True, False),
        ("json", {}, "false", False, True),
        ("json", {}, "0", False, False),
        ("json", {}, "0", None, False),
        ("json", {}, '"1"', 1, False),
        ("json", {}, "Infinity", 1, False),
        # The last fenced block counts.
        ("json", {}, "```\n[1]\n```\nor\n```JSON\n[2]\n```\n", [2], True),
        ("json", {}, "```python\n[1]\n```", [1], False),
        ("json", {}, "so: [1]", [1], False),
        ("choice", {"choices": {"a": "one", "B": "two"}}, "A.", "a", True),
        ("choice", {"choices": {"A": "one", "B": "two"}}, "b", ["A", "b"], True),
        ("choice", {"choices": {"A": "one", "B": "two"}}, "three", "A", False),
        ("choice", {"choices": {"A": "one"}, "take": "last_line"}, "x\nA", "A", True),
    ],
)  # fmt: skip
def test_what_is_right(
    name: str, options: dict[str, Any], reply: str, expected: Any, solved: bool
) -> None:
    found = make_scorer(name, options, "here")(reply, expected)
    assert (found.solved, found.soft == 1.0) == (solved, solved)


@pytest.mark.parametrize(
    ("name", "options", "reply", "expected", "said"),
    [
        ("exact", {}, "a", "b", "The answer was 'a', which is not the expected one."),
        ("exact", {}, "a" * 300, "b", f"The answer was '{'a' * 200}', which is"),
        ("f1", {}, "a1 b1", "b1", "not the expected one, but close to it (0.67)."),
        ("f1", {}, "a1", "b1", "not the expected one."),
        ("numeric", {}, "x" * 300, 1, f"The answer '{'x' * 200}' is not a number."),
        ("json", {}, "{", {}, "The answer is not JSON: Expecting property name"),
        ("json", {}, "NaN", 1, "The answer is not JSON: NaN is not JSON."),
        ("json", {}, "1", 2, "differs from the expected one at $."),
        ("json", {}, '{"a": 1}', {"b": 1}, "at $."),
        ("json", {}, '{"a": [1, 2]}', {"a": [1, 3]}, "at $.a[1]."),
        ("json", {}, '{"a": [1]}', {"a": [1, 3]}, "at $.a."),
        ("json", {}, '[{"a": 1}, 2]', [{"a": 2}, 3], "at $[0].a."),
        ("json", {"any_order": True}, '{"a": [1, 2]}', {"a": [1, 3]}, "at $.a."),
        ("anls", {}, "Gent", "Ghent", "but close to it (0.80)."),
        ("choice", {"choices": {"A": "x", "B": "y"}}, "b", "A", "Option B is not the right one."),
        ("choice", {"choices": {"A": "x"}}, "zz", "A", "The answer was 'ZZ', which is"),
    ],
)
def test_what_the_feedback_says(
    name: str, options: dict[str, Any], reply: str, expected: Any, said: str
) -> None:
    assert said in make_scorer(name, options, "here")(reply, expected).feedback


@pytest.mark.parametrize("name", ["exact", "numeric", "anls", "regex"])
@pytest.mark.parametrize("expected", [True, [True], ["1", None], None, {}])
def test_what_cannot_be_expected(name: str, expected: Any) -> None:
    with pytest.raises(TaskError, match="must be a text or a number and not"):
        make_scorer(name, {}, "here")("1", expected)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["a.c", "xabcx", False, False], True),
        (["a.c", "xabcx", True, False], False),
        (["a.c", "abc", True, False], True),
        (["a.c", "ABC", False, False], False),
        (["a.c", "ABC", True, True], True),
    ],
)
def test_patterns(given: list[Any], found: bool) -> None:
    assert matches(given) is found


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"n": 3}, ""),
        ({"n": "3"}, "$.n: '3' is not of type 'integer'"),
        ({}, "$: 'n' is a required property"),
        ("x" * 900, "$: '" + "x" * 496),
    ],
)
def test_what_breaks_a_schema(value: Any, problem: str) -> None:
    assert schema_problem([SCHEMA, value]) == problem


def test_documents_that_a_schema_refers_to_are_not_fetched() -> None:
    with pytest.raises(Exception, match=r"http://a\.b/c"):
        schema_problem([{"$ref": "http://a.b/c"}, 1])


@pytest.mark.parametrize(
    ("name", "reply", "expected", "limit", "said"),
    [
        ("regex", "a", "b", "took more than 4 s of work", "Matching the answer took more than 4 s"),
        (
            "json_schema",
            "1",
            {"type": "string"},
            "took more",
            "breaks its schema: checking it took",
        ),
    ],
)
def test_what_takes_too_much_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, reply: str, expected: Any, limit: str, said: str
) -> None:
    asked = []

    def limited(function: Any, given: Any, memory_mb: int, seconds: int) -> Any:
        asked.append((function.__name__, given, memory_mb, seconds))
        raise LimitError(limit)

    monkeypatch.setattr("skillopt.tasks.scorers.limited", limited)
    found = make_scorer(name, {}, "here")(reply, expected)
    assert (found.soft, found.solved) == (0.0, False) and said in found.feedback
    given = [expected, 1] if name == "json_schema" else ["b", "a", False, False]
    function = "schema_problem" if name == "json_schema" else "matches"
    assert asked == [(function, given, 1024, 4)]


def test_what_decides_a_score_is_its_identity() -> None:
    scorer = make_scorer("exact", {"blanks": "kept"}, "here")
    assert ByScorer(scorer, ["a"]).identity == [
        "scorer", "exact", {"take": "tagged", "blanks": "kept"}, ["a"],
    ]  # fmt: skip
    reward = ByScorer(scorer, ["a"])(named_task("t"), Path(), "b")
    assert (reward.soft, reward.solved) == (0.0, False)
    assert "not the expected one" in reward.feedback


def test_a_scorer_that_is_not_installed_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("skillopt.tasks.scorers.importlib.import_module", missing)
    for name, expected in (("anls", "a"), ("json_schema", {})):
        with pytest.raises(TaskError, match=r"this scorer needs .*: pip install"):
            make_scorer(name, {}, "here")("1", expected)


@pytest.mark.parametrize(("found", "solved"), [(1.0, True), (0.999, True), (0.9989, False)])
def test_one_wrong_character_in_a_thousand_is_right(
    found: float, solved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skillopt.tasks.scorers.anls", lambda *given: found)
    scored = make_scorer("anls", {}, "here")("a", "b")
    assert (scored.soft, scored.solved, bool(scored.feedback)) == (found, solved, not solved)
    monkeypatch.setattr("skillopt.tasks.benchmarks.docvqa.score.anls", lambda *given: found)
    reward = DocJudge(("b",), "reference")(named_task("t"), Path(), "a")
    assert (reward.soft, reward.solved, bool(reward.feedback)) == (found, solved, not solved)
