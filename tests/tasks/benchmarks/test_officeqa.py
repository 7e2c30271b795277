"""OfficeQA's scorers against the public code's tables, its pages, and what its tasks give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Task, named_task
from skillopt.tasks.benchmarks.officeqa.benchmark import CORPUS
from skillopt.tasks.benchmarks.officeqa.pages import (
    ALL_CHARS,
    PAGE_CHARS,
    Page,
    listed,
    page_number,
    rendered,
    shown,
)
from skillopt.tasks.benchmarks.officeqa.reward import reward
from skillopt.tasks.benchmarks.officeqa.score import Judge, score
from skillopt.tasks.benchmarks.prepare import benchmark, prepare
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.sources import load_splits
from tests.helpers.benchmark_sets import write
from tests.helpers.cells import examples
from tests.helpers.command_line import skillopt
from tests.helpers.parity import parity

FIGURES = st.integers(-(10**9), 10**9).filter(bool)


@parity("officeqa")
def test_parity(row: dict[str, Any]) -> None:
    reply, gold, expected, public = (
        row["input"]["reply"],
        row["gold"],
        row["expected"],
        row["public"],
    )
    found = score(reply, gold)
    assert (found.answer, found.em) == (expected["answer"], expected["em"])
    assert found.f1 == pytest.approx(expected["f1"])
    by_reference = Judge(gold, "reference")(named_task("t"), Path(), reply)
    assert by_reference.hard == expected["hard"]
    assert by_reference.soft == pytest.approx(expected["soft"])
    for name, right in public["reward_on_answer"].items():
        tolerance = float(name.removeprefix("tol_"))
        by_public = Judge(gold, "public", tolerance)(named_task("t"), Path(), reply)
        assert (by_public.hard, by_public.soft) == (right, right), name
        assert by_reference.metrics[f"reward_{tolerance:g}"] == right, name
    for name, right in public["reward_on_reply"].items():
        assert reward(gold, reply, float(name.removeprefix("tol_"))) == bool(right), name


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<answer>1</answer><answer>2</answer>", "1"),
        ("<ANSWER> 1\n</Answer>", "1"),
        ("so\n<answer>\n1\n", "1"),
        ("<answer>", "<answer>"),
        ("1", ""),
        ("</answer>1", ""),
    ],
)
def test_the_first_tag_counts_and_of_an_open_one_the_last_line(reply: str, answer: str) -> None:
    assert score(reply, "x").answer == answer


@given(FIGURES, FIGURES, st.sampled_from([0.0, 0.001, 0.01, 0.05]))
@settings(max_examples=examples(100))
def test_the_reward_is_about_the_relative_error(gold: int, more: int, tolerance: float) -> None:
    for near in (gold + more, gold + gold * more // 10**10, gold):
        close = near not in range(1900, 2101) and abs(gold - near) / abs(gold) <= tolerance
        if gold not in range(1900, 2101):  # Years in the answer count if the gold is one.
            assert reward(str(gold), f"It was {near:,}", tolerance) == close


@given(st.text(max_size=300), st.text(max_size=300), st.floats())
@settings(max_examples=examples(100))
def test_no_answer_breaks_a_scorer(gold: str, reply: str, tolerance: float) -> None:
    for text in (reply, f"<answer>{reply}</answer>", f"<answer>{reply}"):
        assert reward(gold, text, tolerance) in (True, False)
        found = Judge(gold, "public")(named_task("t"), Path(), text)
        assert 0.0 <= score(text, gold).f1 <= 1.0 and found.metrics["em"] in (0.0, 1.0)


def test_a_list_with_many_commas_is_read_in_time() -> None:
    gold = f"[{', '.join('1' for _ in range(12))}]"
    assert not reward(gold, f"[{','.join('111' for _ in range(60))}]")
    assert reward("[8, 152260, 1]", "8,152,260,1")


@pytest.mark.parametrize(
    ("answer", "gold", "part"),
    [
        ("543,000", "543", "another unit than the question asks for"),
        ("543 billion", "543 million", "names another unit"),
        ("-543", "543", "its sign is wrong"),
        ("5 and 6", "543", "has 2 number(s), and the expected one has 1"),
        ("544", "543", "it is within 1.0% of it"),
        ("one\ntwo", "543", "one short line"),
        ("7", "543", "which is not the expected one."),
    ],
)
def test_feedback_says_what_is_wrong_and_not_what_is_right(
    answer: str, gold: str, part: str
) -> None:
    feedback = Judge(gold, "public")(named_task("t"), Path(), f"<answer>{answer}</answer>").feedback
    assert part in feedback
    assert gold not in feedback.replace(repr(answer), "")


def test_feedback_of_the_reference_and_of_no_tag() -> None:
    written = Judge("5", "reference")(named_task("t"), Path(), "<answer>5.0</answer>")
    assert "its value is right, but it is written differently" in written.feedback
    assert "no <answer> tag" in Judge("5", "public")(named_task("t"), Path(), "5").feedback


@pytest.mark.parametrize(
    ("cell", "entries"),
    [
        ("a.txt\r\nb.txt", ["a.txt", "b.txt"]),
        ("a.txt", ["a.txt"]),
        ('["a.txt", " b.txt"]', ["a.txt", "b.txt"]),
        ("a.txt,b.txt", ["a.txt,b.txt"]),
        ("a, b", ["a", "b"]),
        ("", []),
        (None, []),
        ("\r\na\r\n\r\n", ["a"]),
    ],
)
def test_a_cell_with_several_entries(cell: str | None, entries: list[str]) -> None:
    assert listed(cell) == entries


@pytest.mark.parametrize(
    ("doc", "page"),
    [
        ("https://x.org/a?page=12", 12),
        ("https://x.org/a?b=1&pagenum=7", 7),
        ("page=3", 3),
        ("https://x.org/a#&page=4", 4),
        ("https://[x?page=5", 5),
        ("https://x.org/a?page=b", None),
        ("https://x.org/page/12", None),
    ],
)
def test_the_page_that_a_link_names(doc: str, page: int | None) -> None:
    assert page_number(doc) == page


def test_a_table_becomes_markdown() -> None:
    table = "<table><tr><th>a|b<th>lost</tr><tr><td>1&amp;2\n x</td><td>3</td></tr><tr><td></td>"
    assert rendered(table) == "| 1&2 x | 3 |\n| --- | --- |"
    assert rendered("<table>no &lt;rows&gt;</table>") == "no <rows>"
    assert rendered(" a&nbsp;b\r\n\r\n\r\n\rc ") == "a\xa0b\n\nc"


def page(length: int, number: int = 1) -> Page:
    return Page(file="a.txt", number=number, doc="d", text="x" * length)


@given(st.lists(st.integers(1, 60_000), max_size=8))
@settings(max_examples=examples(60))
def test_pages_are_cut_one_by_one_and_together(lengths: list[int]) -> None:
    all_pages = [page(length, number) for number, length in enumerate(lengths)]
    text, single = shown(all_pages), [shown([one]) for one in all_pages]
    assert all(len(one) < PAGE_CHARS + 150 for one in single)
    if sum(map(len, single)) <= ALL_CHARS:
        assert text == "\n\n".join(single)
    else:
        assert ALL_CHARS <= len(text) < ALL_CHARS + 100
        assert text[:PAGE_CHARS] == "\n\n".join(single)[:PAGE_CHARS]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return prepared(tmp_path)


def prepared(folder: Path, *without: str) -> Path:
    download, file = write("officeqa", folder)
    for name in without:
        shutil.rmtree(download / "treasury_bulletins_parsed" / name)
    splits = json.loads(file.read_text())["splits"]
    return prepare(benchmark("officeqa"), download, folder / "made", splits).folder


def first(made: Path, **options: object) -> Task:
    config = TasksConfig.model_validate(
        {"source": "officeqa", "path": str(made), "options": options}
    )
    return load_splits(config, 7, made.parent)["train"][0]


def test_what_each_setting_gives(made: Path) -> None:
    corpus, hint = first(made), first(made, setting="hint")
    oracle, both = first(made, setting="oracle"), first(made, setting="oracle", search=True)
    assert len({task.digest for task in (corpus, hint, oracle, both)}) == 4
    for task in (corpus, hint, both):
        assert not task.question and task.workspace is not None
        assert task.folders == {CORPUS: (made / "shared" / "corpus").resolve()}
        assert f"`{CORPUS}`" in task.instruction
    assert oracle.question and oracle.workspace is None and not oracle.folders
    assert CORPUS not in oracle.instruction
    bulletins = ["- treasury_bulletin_1951_12.txt", "- treasury_bulletin_1951_01.txt"]
    for task in (hint, oracle, both):
        assert all(name in task.instruction for name in bulletins)
    assert "treasury_bulletin_1951_12" not in corpus.instruction
    row = "| January 1951 | 213,000 | 541,000 | 817,000 |"
    assert row in oracle.instruction and row in both.instruction
    assert row not in corpus.instruction + hint.instruction
    assert "Sources: daily statements" not in oracle.instruction, "which is on another page"
    assert corpus.agent_timeout_s == 180.0 and corpus.answers == ("213",)


def test_the_corpus_is_linked_and_what_not_all_can_read_is_copied(tmp_path: Path) -> None:
    download, file = write("officeqa", tmp_path)
    texts = sorted((download / "treasury_bulletins_parsed" / "transformed").iterdir())
    texts[0].chmod(0o600)
    for text in texts[1:]:
        text.chmod(0o644)
    splits = json.loads(file.read_text())["splits"]
    made = prepare(benchmark("officeqa"), download, tmp_path / "made", splits).folder / "shared"
    kept = [made / "corpus" / text.name for text in texts]
    assert [one.samefile(other) for one, other in zip(texts, kept, strict=True)] == [
        False, *[True] * 11
    ]  # fmt: skip
    assert texts[0].stat().st_mode & 0o777 == 0o600 and kept[0].stat().st_mode & 0o777 == 0o644
    assert [*made.iterdir()] == [made / "corpus"], "no JSON file and no table of answers"


def test_another_corpus_makes_other_tasks(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "other"):
        download, file = write("officeqa", tmp_path / name)
        text = next((download / "treasury_bulletins_parsed" / "transformed").iterdir())
        text.write_text(text.read_text() + f"{name}\n")
        splits = json.loads(file.read_text())["splits"]
        made = prepare(benchmark("officeqa"), download, tmp_path / name / "made", splits).folder
        digests.add(first(made).digest)
    assert len(digests) == 2


def test_what_the_download_lacks_is_said(tmp_path: Path) -> None:
    plain = prepared(tmp_path / "texts", "jsons")
    assert "there is no setting 'oracle'" in (plain / "benchmark.json").read_text()
    assert first(plain)
    with pytest.raises(TaskError, match="prepared without treasury_bulletins_parsed/jsons"):
        first(plain, setting="oracle")
    parsed = prepared(tmp_path / "jsons", "transformed")
    assert first(parsed, setting="oracle")
    with pytest.raises(TaskError, match="without treasury_bulletins_parsed/transformed"):
        first(parsed)


def test_the_gates_terms_are_confirmed(tmp_path: Path) -> None:
    download, splits = write("officeqa", tmp_path)
    given = ("--from", download, "--splits", splits, "--to", tmp_path / "made")
    done = skillopt("data", "prepare", "officeqa", *given)
    assert done.returncode != 0 and "Do you confirm this?" in done.stdout
    assert "forbids to use its answer keys to train models" in done.stdout
    assert not (tmp_path / "made").exists()
    assert skillopt("data", "prepare", "officeqa", *given, "--accept-terms").returncode == 0
