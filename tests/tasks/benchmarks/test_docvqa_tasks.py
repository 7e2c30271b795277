"""DocVQA's rows, whatever form they are published in, and what is said of a wrong answer."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import named_task
from skillopt.tasks.benchmarks.base import Item, Kept
from skillopt.tasks.benchmarks.docvqa import benchmark
from skillopt.tasks.benchmarks.docvqa.benchmark import DocVqaOptions, notes, read
from skillopt.tasks.benchmarks.docvqa.score import Judge, anls, answer_in, golds_of
from skillopt.tasks.harbor import TaskError

PNG = b"\x89PNG rest"


def download(folder: Path, *rows: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def row(**values: Any) -> dict[str, Any]:
    return {
        "questionId": "7", "question": "Who?", "answers": "['Ana', 'ANA']",
        "image_path": "pages/a.png", "question_types": "layout", "ucsf_document_id": "d1",
        "ucsf_document_page_no": "3", **values,
    }  # fmt: skip


def test_a_row_is_an_item_with_its_page(tmp_path: Path) -> None:
    folder = download(tmp_path / "in", row(), row(questionId="8", answers="[' ']"))
    (folder / "pages").mkdir()
    (folder / "pages" / "a.png").write_bytes(PNG)
    (item,) = read(folder)
    assert item == Item(
        "7",
        {
            "question": "Who?", "answers": ["Ana", "ANA"], "types": ["layout"], "page": "d1/3",
            "file": "page.png",
        },
        {"page.png": PNG},
    )  # fmt: skip
    (again,) = read(folder / "rows.csv")
    assert again == item


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (PNG, ".png"),
        (b"\xff\xd8\xffx", ".jpg"),
        (b"GIF8x", ".gif"),
        (b"RIFFx", ".webp"),
        (b"x", ""),
    ],
)
def test_a_page_has_the_ending_of_its_kind(image: bytes, suffix: str, tmp_path: Path) -> None:
    folder = download(tmp_path / "in", row(image_path="a.bin"))
    (folder / "a.bin").write_bytes(image)
    if suffix:
        (item,) = read(folder)
        assert list(item.files) == [f"page{suffix}"]
    else:
        with pytest.raises(TaskError, match="question 7: its page is neither PNG"):
            list(read(folder))


def test_a_page_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"has no a\.png for question 7"):
        list(read(download(tmp_path / "in", row())))
    for image in ({"bytes": None}, None):
        with pytest.raises(TaskError, match="question 7 has no image"):
            benchmark._image({"questionId": 7, "image": image}, tmp_path)
    assert benchmark._image({"questionId": 7, "image": {"bytes": PNG}}, tmp_path) == PNG


def test_pages_of_two_splits_are_noted() -> None:
    def items(*pages: str) -> list[Item]:
        return [Item(page, {"page": page}, {}) for page in pages]

    found = notes({"train": items("a/1", "b/1", "/"), "val": items("b/1", "a/1", "/"),
                   "test": items("c/1", "a/1")})  # fmt: skip
    assert found == [
        "2 page(s) are in both train and val, with different questions",
        "1 page(s) are in both train and test, with different questions",
        "1 page(s) are in both val and test, with different questions",
    ]


def test_a_task_shows_its_page(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(PNG)
    kept = {"question": "Who?", "answers": ["Ana"], "types": ["layout", "form"], "file": "page.png"}
    task = benchmark.task(Kept("7", kept, tmp_path, tmp_path), DocVqaOptions(scorer="public"))
    assert (task.name, task.family, task.pictures) == ("7", "layout", ("page.png",))
    assert task.question and task.answers == ("Ana",) and task.agent_timeout_s == 120.0
    assert task.verify == Judge(("Ana",), "public") and "Question: Who?\n" in task.instruction
    assert "`page.png`" in task.instruction and "<answer>" in task.instruction
    (tmp_path / "there").mkdir()
    assert task.workspace is not None
    task.workspace(tmp_path / "there")
    assert (tmp_path / "there" / "page.png").read_bytes() == PNG
    plain = benchmark.task(Kept("7", {**kept, "types": []}, tmp_path, tmp_path), DocVqaOptions())
    assert plain.family == ""


@pytest.mark.parametrize(
    ("raw", "golds"),
    [
        (" a ", ["a"]), ("['a', 'b']", ["a", "b"]), ('["a"]', ["a"]), ("[a", ["[a"]),
        ("{'answers': ['a']}", ["a"]), ({"answer": "a"}, ["a"]), ({"x": 1}, ["{'x': 1}"]),
        ({"answer": "b", "answers": "a"}, ["a"]), ([{"text": ["a", "b"]}, "c"], ["a", "b", "c"]),
        ([{"x": 1}], ["{'x': 1}"]), ([], [""]), (None, [""]), (7, ["7"]), (["a", 7], ["a", "7"]),
        ({"ground_truth": ["a"]}, ["a"]), ([{"value": "a", "answer": "b"}], ["b"]),
    ],
)  # fmt: skip
def test_expected_answers_in_each_form(raw: Any, golds: list[str]) -> None:
    assert golds_of(raw) == golds


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<answer> a </answer>", "a"), ("<ANSWER>a</Answer> b", "a"),
        ("<answer>a</answer><answer>b</answer>", "b"), ("</answer><answer>\nb", "b"),
        ("x\nlast", "last"), ("<answer></answer>", ""),
    ],
)  # fmt: skip
def test_the_answer_in_a_reply(reply: str, answer: str) -> None:
    assert answer_in(reply) == answer


@pytest.mark.parametrize(
    ("answer", "golds", "reference", "public"),
    [
        ("ab", ["ab"], 1.0, 1.0), ("AB", ["ab"], 1.0, 1.0), ("a  b", ["a b"], 1.0, 1.0),
        ("ab", ["ac"], 0.0, 0.5), ("abc", ["abd"], 2 / 3, 2 / 3), ("abc", ["xyz"], 0.0, 0.0),
        ("", [""], 1.0, 1.0), ("abc", ["xyz", "abd"], 2 / 3, 2 / 3),
        ("a   b", ["a c"], 2 / 3, 0.8), ("", ["abc"], 0.0, 0.0),
    ],
)  # fmt: skip
def test_likeness_by_each_scorer(
    answer: str, golds: list[str], reference: float, public: float
) -> None:
    assert anls(answer, golds) == pytest.approx(reference)
    assert anls(answer, golds, "public") == pytest.approx(public)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("<answer>gamma ray</answer>", ""),
        ("delta", "There was no <answer> tag, so the last line was taken."),
        ("<answer>the Gamma Ray, as said</answer>", "it has the expected text and more around it."),
        ("<answer>Gamma</answer>", "it is a part of the expected text."),
        ("<answer>gamma rax</answer>", "it is close to it (ANLS 0.89)."),
        ("<answer>delta</answer>", "it is not close to it (ANLS 0.00)."),
        ("<answer></answer>", "it is not close to it (ANLS 0.00)."),
    ],
)
def test_what_is_said_of_a_wrong_answer(reply: str, said: str) -> None:
    found = Judge(("gamma ray", ""), "reference")(named_task("t"), Path(), reply)
    if reply == "<answer></answer>":
        assert found.soft == 1.0, "an expected answer may be empty"
        found = Judge(("gamma ray",), "reference")(named_task("t"), Path(), reply)
    assert found.feedback.endswith(said) and bool(found.feedback) is bool(said)
    assert found.hard == float(not said) and found.metrics == {"anls": found.soft}
