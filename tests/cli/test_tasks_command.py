"""``skillopt tasks`` on eval files and on prompts with answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from skillopt.cli import main
from tests.tasks.rows import write

FILES = Path(__file__).parents[1] / "tasks" / "evals" / "files"
INBOX = FILES / "caliper" / "inbox-triage.eval.yaml"
ROWS = [
    {"id": n, "question": f"{n} and {n}?", "answer": f"#### {n + n}", "note": "x"}
    for n in range(20)
]
SCORED = ("--scorer", "numeric", "--answer-pattern", "#### (.+)")


def tasks(*argv: object) -> Any:
    return CliRunner().invoke(main, ["tasks", *map(str, argv)])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write(tmp_path / "sums.jsonl", ROWS)


def test_what_is_read_of_prompts_with_answers(rows: Path, tmp_path: Path) -> None:
    done = tasks("from-jsonl", rows, *SCORED, "--out", tmp_path / "out")
    assert done.exit_code == 0
    said = " ".join(done.output.split())
    for line in (
        "20 prompts with answers, scored by numeric", "prompt: question", "answer: answer",
        "not used: note", "splits: train 8, val 12, test 0", "first prompt: 0 and 0?",
        "its answer: 0", "scorer: numeric", "wrote 20 tasks to",
    ):  # fmt: skip
        assert line in said
    shown = json.loads(tasks("from-jsonl", rows, *SCORED, "--json").stdout)
    assert shown["splits"] == {"train": 8, "val": 12, "test": 0}
    assert shown["unused"] == ["note"] and shown["format"] == 1
    found = json.loads(tasks("validate", tmp_path / "out", "--json").stdout)
    assert (len(found["tasks"]), found["problems"]) == (20, [])
    options = ("--option", "scorer=numeric", "--option", "answer_pattern='#### (.+)'")
    assert "all tasks are valid" in tasks("validate", rows, *options).output


def test_an_eval_file_as_folders(tmp_path: Path) -> None:
    done = tasks("import", INBOX, tmp_path / "out")
    assert done.exit_code == 0
    assert "wrote 3 tasks to" in done.stdout and "left out" not in done.stderr
    asked, tested, in_words = sorted((tmp_path / "out").iterdir())
    assert (tested / "tests" / "test.sh").is_file()
    assert not (asked / "tests").exists() and "opened = " in (asked / "task.toml").read_text()
    assert not (in_words / "tests").exists()
    assert "expectations = " in (in_words / "task.toml").read_text()
    for source in (INBOX, tmp_path / "out"):
        found = json.loads(tasks("validate", source, "--json").stdout)
        assert [task["valid"] for task in found["tasks"]] == [True] * 3
        notes = [note["message"] for note in found["notes"]]
        assert sum("can be run if the config names a judge" in note for note in notes) == 1


def test_cases_that_check_nothing_are_named(tmp_path: Path) -> None:
    file = tmp_path / "evals.json"
    cases = [{"id": 1, "prompt": "Sing."}, {"id": 2, "prompt": "Sum.", "expectations": ["It is 4"]}]
    file.write_text(json.dumps({"skill_name": "a", "evals": cases}))
    done = tasks("import", file, tmp_path / "out")
    assert "left out: a-1: it checks nothing" in done.stderr and "wrote 1 tasks" in done.stdout
    found = tasks("validate", file)
    assert found.exit_code == 1 and "it checks nothing" in " ".join(found.output.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("from-jsonl", "nope.jsonl"), "nope.jsonl: no file of JSON lines"),
        (("from-jsonl", FILES), "no file of JSON lines"),
        (("from-jsonl", "{rows}", "--scorer", "numeric"), "is not a number"),
        (("from-jsonl", "{rows}", "--prompt", "q"), "has no column 'q'"),
        (("from-jsonl", "{rows}", "--option", "x"), "--option x: must be KEY=VALUE"),
        (("from-jsonl", "{rows}", *SCORED, "--out", "{rows}"), "already exists"),
        (("import", "nope", "out"), "nope: no such folder or file"),
        (("import", "{rows}", "{rows}"), "already exists"),
        (("validate", "nope.json"), "nope.json: no such folder or file"),
        (("validate", FILES, "--option", "a=1"), "a folder of tasks has no options"),
        (("validate", INBOX, "--option", "unjudgd=refuse"), "tasks.options.unjudgd"),
        (("import", INBOX, "out", "--option", "a=1"), "tasks.options.a"),
    ],
)
def test_wrong_input_is_named(
    argv: tuple[object, ...], message: str, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rows.parent)
    done = tasks(*(str(each).replace("{rows}", str(rows)) for each in argv))
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
