"""The tasks of SearchQA and LiveMath, their published rows and what their judges say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from skillopt.core.types import Reward, Task, named_task
from skillopt.tasks.benchmarks.answers import (
    first_tagged,
    has_tag,
    last_line,
    last_tagged,
    squad_form,
    word_f1,
)
from skillopt.tasks.benchmarks.base import Kept, id_of, safe
from skillopt.tasks.benchmarks.livemath import benchmark as livemath
from skillopt.tasks.benchmarks.livemath.score import Choice, chosen, plain
from skillopt.tasks.benchmarks.livemath.score import Judge as MathJudge
from skillopt.tasks.benchmarks.searchqa import benchmark as searchqa
from skillopt.tasks.benchmarks.searchqa.score import Judge as SearchJudge
from skillopt.tasks.benchmarks.searchqa.score import Score, score
from skillopt.tasks.harbor import TaskError

HERE = Path("/nowhere")


def kept(row: dict[str, Any], id: str = "x:1") -> Kept:
    return Kept(id, row, HERE, HERE)


def verdict(task: Task, answer: str) -> Reward:
    assert task.verify is not None
    return task.verify(task, HERE, answer)


@pytest.mark.parametrize(
    ("reply", "last", "first", "tag"),
    [
        ("<answer>a</answer> <answer> b </answer>", "b", "a", True),
        ("<ANSWER>a\nb</Answer>\nc", "a\nb", "a\nb", True),
        ("x\n<answer>a", "<answer>a", "<answer>a", True),
        ("x\n y \n\n", "y", "", False),
        ("a</answer>", "a</answer>", "", False),
        ("", "", "", False),
    ],
)
def test_the_answer_in_a_reply(reply: str, last: str, first: str, tag: bool) -> None:
    assert (last_tagged(reply), first_tagged(reply), has_tag(reply)) == (last, first, tag)
    assert last_line("a\n b \n \n") == "b"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("The  A-Team, an idea.", "ateam idea"), ("theatre", "theatre"), ("", ""), ("A", ""),
        ("\u00abx\u00bb", "\u00abx\u00bb"),
    ],
)  # fmt: skip
def test_squads_normal_form(text: str, form: str) -> None:
    assert squad_form(text) == form


@pytest.mark.parametrize(
    ("given", "right", "f1"),
    [
        ("", "", 1.0), ("a", "", 0.0), ("", "a", 0.0), ("a", "a", 1.0), ("a b", "a", 2 / 3),
        ("a a", "a", 2 / 3), ("a", "b", 0.0), ("b a", "a b", 1.0),
    ],
)  # fmt: skip
def test_the_f1_of_words(given: str, right: str, f1: float) -> None:
    assert word_f1(given.split(), right.split()) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("reply", "golds", "scorer", "found"),
    [
        ("x", ["X"], "reference", Score("x", 1.0, 1.0, 1.0)),
        ("x y", ["z", "x"], "reference", Score("x y", 0.0, 2 / 3, 1.0)),
        ("x", ["x y"], "reference", Score("x", 0.0, 2 / 3, 1.0)),
        ("x", ["z"], "reference", Score("x", 0.0, 0.0, 0.0)),
        ("x", [], "reference", Score("x", 0.0, 0.0, 0.0)),
        ("the", ["a"], "reference", Score("the", 1.0, 1.0, 1.0)),
        ("the", ["a"], "public", Score("the", 1.0, 0.0, 1.0)),
        ("the", ["x"], "public", Score("the", 0.0, 0.0, 1.0)),
        ("x", ["the"], "public", Score("x", 0.0, 0.0, 1.0)),
        ("x", ["x"], "public", Score("x", 1.0, 1.0, 1.0)),
    ],
)
def test_searchqas_scores(reply: str, golds: list[str], scorer: Any, found: Score) -> None:
    one = score(reply, golds, scorer)
    assert (one.answer, one.em, one.sub_em) == (found.answer, found.em, found.sub_em)
    assert one.f1 == pytest.approx(found.f1)


@pytest.mark.parametrize(
    ("reply", "soft", "solved", "said"),
    [
        ("<answer>Ghent</answer>", 1.0, True, ""),
        ("Ghent", 1.0, True, ""),
        ("Lier", 0.0, False, "There was no <answer> tag, so the last line was taken."),
        ("<answer>Ghent city</answer>", 2 / 3, False, "the expected answer and more words around"),
        ("<answer>Old Port</answer>", 0.5, False, "some of its words are (F1 0.50)."),
        ("<answer>Lier</answer>", 0.0, False, "'Lier', which is not the expected one; none of its"),
    ],
)
def test_searchqas_judge(reply: str, soft: float, solved: bool, said: str) -> None:
    reward = SearchJudge(("", "Ghent", "Port Said"), "reference")(named_task("t"), HERE, reply)
    assert reward.soft == pytest.approx(soft) and reward.solved is solved
    assert said in reward.feedback if said else reward.feedback == ""
    assert {*reward.metrics} == {"em", "f1", "sub_em"}
    assert (reward.metrics["em"], reward.metrics["f1"]) == (float(solved), reward.soft)


SNIPPETS = "[DOC] one [DOC] two"


def test_a_task_of_searchqa() -> None:
    row = {"question": "Where?", "context": SNIPPETS, "answers": ["Ghent", "Gent"]}
    task = searchqa.task(kept(row), searchqa.SearchQaOptions())
    assert (task.name, task.digest, task.question) == ("x:1", "", True)
    assert (task.agent_timeout_s, task.answers) == (120.0, ("Ghent", "Gent"))
    assert f"Question: Where?\n\nSearch results:\n{SNIPPETS}\n" in task.instruction
    assert "between <answer> and </answer>" in task.instruction
    assert verdict(task, "Gent").hard == 1.0
    short = searchqa.task(kept(row), searchqa.SearchQaOptions(context_chars=10))
    assert short.instruction.endswith("Search results:\n[DOC] one\n")
    empty = searchqa.task(kept(row | {"answers": ["the"]}), searchqa.SearchQaOptions())
    public = searchqa.SearchQaOptions(scorer="public")
    assert verdict(empty, "a").soft == 1.0
    assert verdict(searchqa.task(kept(row | {"answers": ["the"]}), public), "a").soft == 0.0


@pytest.mark.parametrize(
    ("context", "chars", "shown"),
    [
        ("abc", 3, "abc"), ("abcd", 3, "abc"), (SNIPPETS, 10, "[DOC] one"),
        (SNIPPETS, 9, "[DOC] one"), (SNIPPETS, 8, "[DOC] on"), ("a [DOC]b[DOC]c", 13, "a [DOC]b"),
        ("a [DOC]b[DOC]c", 8, "a [DOC]b"), ("a [DOC]b[DOC]c", 7, "a"),
        (" [DOC]bcd[DOC]e", 5, " [DOC"),
    ],
)  # fmt: skip
def test_where_a_context_is_cut(context: str, chars: int, shown: str) -> None:
    assert searchqa.cut(context, chars) == shown
    assert searchqa.SearchQaOptions(context_chars=1).context_chars == 1
    with pytest.raises(ValidationError):
        searchqa.SearchQaOptions(context_chars=0)


def test_rows_of_searchqa(tmp_path: Path) -> None:
    base = {"question": 1, "context": "c", "answers": ["x", 2]}
    rows = [base | {"key": 7, "id": "no"}, base | {"id": 8}, base | {"id": 9, "answers": []}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(searchqa.read(tmp_path))
    row = {"question": "1", "context": "c", "answers": ["x", "2"]}
    assert [(item.id, item.row) for item in found] == [("7", row), ("8", row)]
    (tmp_path / "a.jsonl").write_text(json.dumps(base) + "\n")
    with pytest.raises(TaskError, match="another form than is published: KeyError"):
        list(searchqa.read(tmp_path))


CHOICES = [Choice("A", "one"), Choice("B", " Two "), Choice("C", "")]


@pytest.mark.parametrize(
    ("reply", "reference", "public"),
    [
        ("<answer>b.</answer>", "B", None),
        ("<answer>two</answer>", "B", None),
        ("<answer>(B)</answer>", "(B", "B"),
        ("<answer>B because</answer>", "B", "B"),
        ("<answer>D</answer>", "D", "D"),
        ("<answer>because B</answer>", "BECAUSE B", "B"),
        ("<answer></answer>", "", None),
        ("A then \\boxed{ B }, not C", "A", "B"),
        ("\\boxed{A} \\boxed{C}", "\\BOXED{A} \\BOXED{C}", "C"),
        ("A or C", "A", "C"),
        ("F", "F", None),
        ("AB", "AB", None),
    ],
)
def test_which_option_a_reply_chooses(reply: str, reference: str, public: str | None) -> None:
    assert chosen(reply, CHOICES) == reference
    assert chosen(reply, CHOICES, "public") == public


@pytest.mark.parametrize(
    ("label", "found"), [(" a. ", "A"), ("b)", "B"), ("c:", "C"), ("d).", "D"), ("(e", "(E")]
)
def test_a_label_as_it_is_compared(label: str, found: str) -> None:
    assert plain(label) == found


@pytest.mark.parametrize(
    ("reply", "scorer", "hard", "said"),
    [
        ("<answer>B</answer>", "reference", 1.0, ""),
        ("B", "public", 1.0, ""),
        ("<answer>A</answer>", "reference", 0.0, "Option A is not the right one."),
        ("<answer>Z</answer>", "reference", 0.0, "The answer 'Z' is not the label of an option."),
        ("zz", "public", 0.0, "The answer 'zz' is not the label of an option."),
        ("z" * 300, "reference", 0.0, f"The answer '{'z' * 200}' is"),
    ],
)
def test_livemaths_judge(reply: str, scorer: Any, hard: float, said: str) -> None:
    reward = MathJudge(tuple(CHOICES), "b)", scorer)(named_task("t"), HERE, reply)
    assert (reward.hard, reward.soft) == (hard, hard)
    assert reward.feedback.startswith(said) and bool(reward.feedback) is bool(said)


def mcq(choices: Any, correct: Any) -> dict[str, Any]:
    return {"question": "Q?", "choices": choices, "correct_choice": correct}


ONE, TWO = {"label": "C", "text": " c "}, {"label": "a.", "text": "a"}


@pytest.mark.parametrize(
    ("given", "labels", "right"),
    [
        (mcq([ONE, TWO], {"label": "b", "text": "b"}), "A B C", "B"),
        (mcq([ONE, TWO], {"label": "a", "text": "other"}), "A C", "A"),
        (mcq([ONE, TWO], {"label": "b", "text": ""}), "A C", None),
        (mcq([ONE, TWO], {"label": "", "text": "b"}), "A C", None),
        (mcq([ONE, TWO], {"label": "b", "text": None}), "A C", None),
        (mcq([ONE, TWO], None), "A C", None),
        (mcq(None, {"label": "b", "text": "b"}), "B", "B"),
        (mcq([ONE, {"label": "A"}], {"label": "b", "text": "b"}), "B C", "B"),
        (mcq([{"label": "Z", "text": "z"}, ONE], {"label": "G", "text": "g"}), "C G Z", "G"),
    ],
)
def test_all_options_of_a_row(given: dict[str, Any], labels: str, right: str | None) -> None:
    choices, known = livemath.merged(given)
    assert " ".join(choice.label for choice in choices) == labels
    assert (known and known.label) == right
    assert all(choice.text == choice.text.strip() for choice in choices)


def test_rows_of_livemath(tmp_path: Path) -> None:
    rows = [
        {"month": "202511", "no": 1, "mcq": mcq([ONE], {"label": "b", "text": "b"}),
         "theorem": "T", "sketch": "S", "theorem_type": ["x", "y"]},
        {"month": "202511", "no": 2, "mcq": mcq([ONE, TWO], {"label": "a"})},
        # No right one, and nothing to choose from.
        {"month": "202511", "no": 3, "mcq": mcq([ONE, TWO], {})},
        {"month": "202511", "no": 4, "mcq": mcq([], {"label": "b", "text": "b"})},
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.jsonl").write_text("not read")
    first, second = livemath.read(tmp_path)
    choices = [{"label": "B", "text": "b"}, {"label": "C", "text": "c"}]
    assert (first.id, first.row) == (
        "202511:1",
        {"question": "Q?", "choices": choices, "right": "B", "theorem": "T", "sketch": "S",
         "types": ["x", "y"]},
    )  # fmt: skip
    assert second.row["right"] == "A"
    assert (second.row["theorem"], second.row["sketch"], second.row["types"]) == ("", "", [])


ROW = {
    "question": "Q?", "theorem": "T.", "sketch": "S.", "types": ["algebra", "x"], "right": "B",
    "choices": [{"label": "A", "text": "one"}, {"label": "B", "text": "two"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "row", "theorem", "sketch"),
    [
        ({}, {}, False, False),
        ({"theorem": True}, {}, True, False),
        ({"sketch": True}, {}, False, True),
        ({"theorem": True, "sketch": True}, {"theorem": "", "sketch": ""}, False, False),
    ],
)
def test_what_a_task_of_livemath_shows(
    options: dict[str, Any], row: dict[str, Any], theorem: bool, sketch: bool
) -> None:
    task = livemath.task(kept(ROW | row), livemath.LiveMathOptions(**options))
    assert ("Theorem: T." in task.instruction, "proof: S." in task.instruction) == (theorem, sketch)
    assert "Theorem" in task.instruction or not theorem
    assert "Question: Q?" in task.instruction and task.instruction.endswith("\n")
    assert "<answer>X</answer>" in task.instruction and "boxed" not in task.instruction


def test_a_task_of_livemath() -> None:
    task = livemath.task(kept(ROW), livemath.LiveMathOptions())
    assert (task.name, task.digest, task.family) == ("x:1", "", "algebra")
    assert (task.question, task.agent_timeout_s, task.answers) == (True, 300.0, ("two",))
    shown = [line for line in task.instruction.splitlines() if line[:3] in ("A. ", "B. ")]
    right = next(line[0] for line in shown if line.endswith("two"))
    assert sorted(line[3:] for line in shown) == ["one", "two"]
    assert verdict(task, f"<answer>{right}</answer>").hard == 1.0
    assert livemath.task(kept(ROW | {"types": []}), livemath.LiveMathOptions()).family == ""
    public = livemath.task(kept(ROW), livemath.LiveMathOptions(scorer="public"))
    assert "\\boxed{X}" in public.instruction and "<answer>" not in public.instruction
    assert verdict(public, f"So \\boxed{{{right}}}").hard == 1.0


def test_the_order_of_options_is_of_seed_and_item() -> None:
    choices = [Choice(label, f"text {label}") for label in "ABCDE"]
    orders = {
        (id, seed): livemath.shuffled(id, choices, "C", seed)
        for id in ("m:1", "m:2")
        for seed in (42, 43)
    }
    assert len({tuple(c.text for c in shown) for shown, _ in orders.values()}) == 4
    for shown, label in orders.values():
        assert "".join(choice.label for choice in shown) == "ABCDE"
        assert next(c.text for c in shown if c.label == label) == "text C"


@pytest.mark.parametrize(
    ("id", "folder"),
    [("a-B_1.c", "a-B_1.c"), ("a/b:c", "a-b-c"), ("..a", "a"), ("...", "-"), ("", "-"), ("ä", "ä")],
)
def test_an_id_as_the_name_of_a_folder(id: str, folder: str) -> None:
    assert safe(id) == folder
    assert id_of({"id": 3}) == "3" and id_of(3) == "3"
