"""Answers that are programs, judges as they are told and read again, and DocVQA's scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import BaseImage, Reward, named_task
from skillopt.tasks.answers import ByCommand, ByFunction, judge_maker, spoken
from skillopt.tasks.benchmarks.docvqa.score import Judge as DocJudge
from skillopt.tasks.benchmarks.docvqa.score import anls, answer_in, golds_of
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.programs import Asked, ProgramOptions, program_tasks

HERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("expected", "options", "runs"),
    [
        ("assert f(1)", {}, [("assert f(1)", "", "")]),
        (["a", "b"], {}, [("a", "", ""), ("b", "", "")]),
        ("out", {"by": "output"}, [("", "", "out")]),
        (["x", {"input": "i", "output": "o"}, {"input": "j"}], {"by": "output"},
         [("", "", "x"), ("", "i", "o"), ("", "j", "")]),
    ],
)  # fmt: skip
def test_what_each_run_of_a_program_is_given(
    expected: Any, options: dict[str, Any], runs: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    asked = Asked("n", "f: line 1", "Write it. \n", expected, "fam")
    given = ProgramOptions(**{"timeout_s": 7, "command": ("node",), "suffix": ".js"} | options)
    (task,) = program_tasks([asked], given, tmp_path)
    assert (task.name, task.family, task.answer_file) == ("fam-n", "fam", "answer.txt")
    assert task.untrusted_programs and task.base is None
    assert task.instruction.startswith("Write it.\n\nAnswer with the whole program in one fenced")
    told = json.loads((task.folder / "tests" / "cases.json").read_text())
    cases = [{"tests": t, "input": i, "output": o} for t, i, o in runs]
    assert told == {
        "cases": cases, "command": ["node"], "suffix": ".js", "print": 'print("{}")',
        "timeout_s": 7,
    }  # fmt: skip
    checks = json.loads((task.folder / "tests" / "checks.json").read_text())["checks"]
    labels = [f"run {n + 1}" for n in range(len(runs))] if len(runs) > 1 else ["the program"]
    assert [check["label"] for check in checks] == labels
    assert [check["command"].rpartition(" ")[2] for check in checks] == [
        str(n) for n in range(len(runs))
    ]
    assert {check["timeout_s"] for check in checks} == {27}
    (based,) = program_tasks([asked], given, tmp_path, BaseImage("own:1"))
    assert based.base == BaseImage("own:1")


@pytest.mark.parametrize(
    ("key", "fits", "breaks"),
    [
        ("timeout_s", (1, 600), (0, 601)),
        ("command", (("a",), ("a", "b")), ((),)),
        ("suffix", (".py", ".c2"), ("py", ".", ".a.b", ".a/b")),
        ("print", ("{}", 'x("{}");'), ("print()", "}{")),
    ],
)
def test_options_of_programs_have_bounds(
    key: str, fits: tuple[Any, ...], breaks: tuple[Any, ...], tmp_path: Path
) -> None:
    asked = Asked("n", "f: line 1", "p", "assert f(1)", "fam")
    for value in fits:
        (task,) = program_tasks([asked], ProgramOptions(**{key: value}), tmp_path)
        told = json.loads((task.folder / "tests" / "cases.json").read_text())
        assert told[key] == (list(value) if isinstance(value, tuple) else value)
    for value in breaks:
        with pytest.raises(ValidationError):
            ProgramOptions(**{key: value})
    with pytest.raises(ValidationError, match="Extra inputs"):
        ProgramOptions(**{"colour": 1})
    with pytest.raises(ValidationError, match="frozen"):
        ProgramOptions().by = "output"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("expected", "by", "said"),
    [
        (3, "tests", "the tests must be code"), (["a", " "], "tests", "the tests must be code"),
        (["a", 3], "tests", "must be code, or a list of such"),
        (3, "output", "the expected output must be a text"),
        ({"input": 1}, "output", "objects with 'input' and 'output', which are texts"),
        ({"input": "a", "out": "b"}, "output", "objects with 'input' and 'output'"),
    ],
)  # fmt: skip
def test_expected_answers_that_no_program_can_be_tried_with(
    expected: Any, by: Any, said: str, tmp_path: Path
) -> None:
    asked = Asked("n", "f: line 1", "p", expected, "")
    with pytest.raises(TaskError, match=f"f: line 1: .*{said}"):
        program_tasks([asked], ProgramOptions(by=by), tmp_path)


def scores(reply: str, expected: Any, found: Any = 1.0) -> Any:
    return found


@pytest.mark.parametrize(
    ("found", "soft"),
    [
        (True, 1.0), (False, 0.0), (0, 0.0), (1, 1.0), (0.25, 0.25), (Reward(0.5), 0.5),
        (-0.01, None), (1.01, None), (None, None), ("1", None), (float("nan"), None),
    ],
)  # fmt: skip
def test_what_a_users_function_may_return(found: Any, soft: float | None) -> None:
    judge = ByFunction(scores, "mine:scores", "x", {"found": found})
    if soft is None:
        with pytest.raises(OwnCodeError, match="return a truth value, a number in"):
            judge(named_task("t"), HERE, "a")
    else:
        assert judge(named_task("t"), HERE, "a").soft == soft


def test_what_identifies_a_judge() -> None:
    one = ByFunction(scores, "mine:scores", "x", {"found": 1})
    assert one.identity[0] == "function" and one.identity[2:] == ["x", {"found": 1}]
    assert ByFunction(scores, "mine:scores", "y").identity[2:] == ["y", {}]
    assert ByCommand("true a", [1]).identity == ["command", "true a", [1]]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("exact", {"blanks": "kept"}, ("exact", {"blanks": "kept"}, "x")),
        ("exact", {"blanks": "joined"}, ("exact", {}, "x")),
        ("command: true  a", {}, ("command: true  a", {}, "x")),
    ],
)
def test_a_judge_is_told_as_it_was_made(name: str, options: dict[str, Any], said: Any) -> None:
    assert spoken(judge_maker(name, options, "here")("x")) == said
    own = ByFunction(scores, "mine:scores", "x", {"found": 1})
    assert spoken(own) == ("mine:scores", {"found": 1}, "x")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("command:", {}, "here: 'command: ' is followed by a command and has no options"),
        ("command: true", {"a": 1}, "here: 'command: ' is followed by a command and has no"),
        ("command: no-such-program x", {}, "'no-such-program' is no program that can be run"),
        ("command: 'true", {}, "No closing quotation; close it"),
        ("nothing", {}, "here: 'nothing' is not one of"),
    ],
)
def test_judges_that_cannot_be_made(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        judge_maker(name, options, "here")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<answer>a</answer> <answer> b </answer>", "b"), ("<ANSWER>A</ANSWER>\nx", "A"),
        ("<answer>a</answer><answer>b", "<answer>a</answer><answer>b"),
        ("<answer>a <answer>b</answer>", "b"), ("a</answer>", "a</answer>"), ("x\n y \n", "y"),
        ("<answer></answer>", ""),
    ],
)  # fmt: skip
def test_the_answer_in_a_reply_on_a_document(reply: str, answer: str) -> None:
    assert answer_in(reply) == answer


@pytest.mark.parametrize(
    ("raw", "golds"),
    [
        (" a ", ["a"]), ('["a", "b"]', ["a", "b"]), ("['a', 'b']", ["a", "b"]), ("[a", ["[a"]),
        ('{"answers": ["a"]}', ["a"]), ({"ground_truth": "a", "answer": "b"}, ["a"]),
        ({"answers": ["x"], "answer": "b"}, ["x"]), ({"answer": "b"}, ["b"]),
        ({"x": 1}, ["{'x': 1}"]),
        ([{"text": "a"}, {"answer": "b"}, {"value": "c"}, {"x": 1}, 4],
         ["a", "b", "c", "{'x': 1}", "4"]),
        ([{"text": "a", "answer": "b"}], ["a"]), ([], [""]), (None, [""]), (3, ["3"]),
        (("a",), ["a"]), ("{a", ["{a"]),
    ],
)  # fmt: skip
def test_expected_answers_in_any_form(raw: Any, golds: list[str]) -> None:
    assert golds_of(raw) == golds


@pytest.mark.parametrize(
    ("answer", "golds", "reference", "public"),
    [
        ("abcd", ["abcd"], 1.0, 1.0), ("ABCD", ["abcd"], 1.0, 1.0), ("abcx", ["abcd"], 0.75, 0.75),
        # At half the two differ.
        ("abxx", ["abcd"], 0.0, 0.5), ("axxx", ["abcd"], 0.0, 0.0),
        ("abxx", ["zzzz", "abcx"], 0.75, 0.75), ("a  b", ["a b"], 1.0, 1.0),
        ("a  c", ["a b"], 2 / 3, 0.75), ("", [""], 1.0, 1.0), ("", ["a"], 0.0, 0.0),
    ],
)  # fmt: skip
def test_how_alike_two_answers_are(
    answer: str, golds: list[str], reference: float, public: float
) -> None:
    assert anls(answer, golds) == pytest.approx(reference)
    assert anls(answer, golds, "public") == pytest.approx(public)
    assert anls(answer, []) == 0.0


@pytest.mark.parametrize(
    ("reply", "soft", "said"),
    [
        ("<answer>Total due</answer>", 1.0, ""),
        ("Total due", 1.0, ""),
        ("Total dux", 8 / 9, "There was no <answer> tag, so the last line was taken."),
        ("<answer>the Total due now</answer>", 9 / 17, "it has the expected text and more around"),
        ("<answer>Total</answer>", 5 / 9, "it is a part of the expected text."),
        ("<answer>Total dux</answer>", 8 / 9, "it is close to it (ANLS 0.89)."),
        ("<answer>zzz</answer>", 0.0, "it is not close to it (ANLS 0.00)."),
    ],
)
def test_docvqas_judge(reply: str, soft: float, said: str) -> None:
    reward = DocJudge(("", "Total due"), "reference")(named_task("t"), HERE, reply)
    assert reward.soft == pytest.approx(soft)
    assert reward.metrics == {"anls": reward.soft}
    assert (reward.solved, bool(reward.feedback)) == (not said, bool(said))
    assert said in reward.feedback
    reward = DocJudge(("Total due",), "reference")(named_task("t"), HERE, "<answer></answer>")
    assert "it is not close to it (ANLS 0.00)." in reward.feedback and reward.solved is False
