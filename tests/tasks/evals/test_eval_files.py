"""Eval files of four tools, as their packages have them, read as tasks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Task, Triggers
from skillopt.tasks.evals.reading import eval_files, eval_tasks, read_cases, read_evals
from skillopt.tasks.harbor import SPLITS, Scored, TaskError, only_triggers, read_task
from skillopt.tasks.sources import load_splits

FILES = Path(__file__).parent / "files"
COMMITS = FILES / "skillevaluation" / "commit-conventions"
INBOX = FILES / "caliper" / "inbox-triage.eval.yaml"
NOTES = FILES / "agent_skill_eval"
LOTS = FILES / "skill_creator" / "lots"


@pytest.mark.parametrize(
    ("file", "cases", "checks", "statements", "triggers", "unusable"),
    [
        (COMMITS / "eval.yaml", 5, 4, 2, 0, 1),
        (FILES / "skillevaluation" / "api-error-envelope" / "eval.yaml", 5, 4, 2, 0, 1),
        (FILES / "skillevaluation" / "refund-policy" / "eval.yaml", 4, 10, 4, 0, 0),
        (INBOX, 3, 1, 1, 1, 1),
        (NOTES / "evals" / "evals.json", 2, 1, 5, 1, 1),
        (LOTS / "evals" / "evals.json", 1, 0, 2, 0, 1),
        (LOTS / "evals" / "trigger-queries.json", 2, 0, 0, 2, 0),
    ],
    ids=lambda value: f"{value.parent.name}/{value.name}" if isinstance(value, Path) else None,
)
def test_every_case_of_a_file_is_read(
    file: Path, cases: int, checks: int, statements: int, triggers: int, unusable: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    found = read_cases(file)
    assert len(found) == cases
    assert sum(len(case.checks) for case in found) == checks
    assert sum(len(case.expectations) for case in found) == statements
    assert sum(case.triggers is not None for case in found) == triggers
    tasks, refused = read_evals([file], tmp_path)
    assert (len(tasks), len(refused)) == (cases - unusable, unusable)
    judged, none = read_evals([file], tmp_path, scored=Scored(verifier=True))
    assert (len(judged), none) == (cases, {})
    for case, task in zip(found, judged, strict=True):
        assert (task.name, task.instruction) == (case.name, case.prompt.strip())
        assert task.expectations == tuple(text.strip() for text in case.expectations)
        assert task.triggers == case.triggers
        assert task.expected_output == case.expected_output


@pytest.mark.parametrize(
    "file", sorted((FILES / "skillevaluation" / "parser").iterdir()), ids=lambda file: file.stem
)
def test_the_parser_agrees_with_the_packages_own(file: Path, tmp_path: Path) -> None:
    if file.stem.startswith("rejects-"):
        with pytest.raises(TaskError, match=file.name):
            read_evals([file], tmp_path)
    else:
        assert read_evals([file], tmp_path, scored=Scored(verifier=True))[0]


def tasks_of(path: Path, made: Path, judged: bool = True) -> dict[str, Task]:
    return {
        task.name: task
        for task in read_evals(eval_files(str(path)), made, scored=Scored(verifier=judged))[0]
    }


def test_what_the_agent_finds_and_what_it_does_not(tmp_path: Path) -> None:
    notes = tasks_of(NOTES, tmp_path)["write-release-notes-explicit-invoke"]
    files = notes.folder / "environment" / "files"
    assert [file.name for file in files.iterdir()] == ["commits.txt"]
    lots = tasks_of(LOTS, tmp_path)["lots-1"]
    assert (lots.folder / "environment/files/evals/fixtures/lots.csv").is_file()
    commits = tasks_of(COMMITS, tmp_path)["commit-conventions-migration"]
    assert not (commits.folder / "environment" / "files").exists()
    assert (commits.folder / "tests/files/scripts/grade.py").is_file()
    assert commits.answer_file == "response.txt"
    assert any("scripts/" in note for note in commits.notes)


def test_the_folder_of_a_task_says_all_that_the_task_does(tmp_path: Path) -> None:
    for path in (NOTES, COMMITS, INBOX, LOTS):
        for task in tasks_of(path, tmp_path).values():
            again = read_task(task.folder, scored=Scored(verifier=True))
            assert (again.digest, again.answer_file) == (task.digest, task.answer_file)
            assert (again.expectations, again.triggers) == (task.expectations, task.triggers)


def test_triggers() -> None:
    one, other = read_cases(LOTS / "evals" / "trigger-queries.json")
    assert (one.triggers, other.triggers) == (
        Triggers(opened=("lots",)),
        Triggers(not_opened=("lots",)),
    )
    meeting = read_cases(INBOX)[2]
    assert meeting.triggers == Triggers(("calendar-scheduler",), ("caliper",), no_others=True)


def test_a_set_is_written_once_and_repaired(tmp_path: Path) -> None:
    (task, *_), _ = read_evals([COMMITS / "eval.yaml"], tmp_path)
    (again, *_), _ = read_evals([COMMITS / "eval.yaml"], tmp_path)
    assert again.folder == task.folder
    (task.folder / "tests" / "checks.json").write_text("{}")
    (repaired, *_), _ = read_evals([COMMITS / "eval.yaml"], tmp_path)
    assert (repaired.digest, repaired.folder) == (task.digest, task.folder)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (COMMITS, ["eval.yaml"]),
        (COMMITS / "eval.yaml", ["eval.yaml"]),
        (LOTS, ["evals.json", "trigger-queries.json"]),
        (FILES / "caliper", ["inbox-triage.eval.yaml"]),
        (FILES / "*" / "*" / "eval.yaml", ["eval.yaml"] * 3),
        (FILES / "skillevaluation" / "*", ["eval.yaml"] * 3),
        (COMMITS / "SKILL.md", []),
        (FILES, []),
    ],
)
def test_what_a_source_names(source: Path, names: list[str]) -> None:
    assert [file.name for file in eval_files(str(source))] == names


def test_a_folder_of_task_folders_is_no_eval_file(tmp_path: Path) -> None:
    shutil.copy(COMMITS / "eval.yaml", tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "task.toml").write_text("")
    assert eval_files(str(tmp_path)) == []


def test_cases_without_a_check_are_refused_left_out_or_judged(tmp_path: Path) -> None:
    files = eval_files(str(COMMITS))
    config = TasksConfig(source=str(COMMITS))
    with pytest.raises(TaskError, match=r"1 of 5 cases .*not-a-commit-task.*unjudged") as refused:
        eval_tasks(config, files, tmp_path, scored=Scored())
    assert "verifier" in str(refused.value)
    assert len(eval_tasks(config, files, tmp_path, scored=Scored(verifier=True))) == 5
    leave_out = config.model_copy(update={"options": {"unjudged": "leave_out"}})
    splits = load_splits(leave_out, 1, tmp_path)
    assert sum(len(splits[split]) for split in SPLITS) == 4
    wrong = config.model_copy(update={"options": {"unjugded": "leave_out"}})
    with pytest.raises(TaskError, match=r"tasks\.options\.unjugded: .*unjudged"):
        load_splits(wrong, 1, tmp_path)


EVAL: dict[str, Any] = {"id": 1, "prompt": "p", "expected_output": "o", "assertions": []}


def suite(tmp_path: Path, **changes: Any) -> Path:
    file = tmp_path / "evals.json"
    file.write_text(json.dumps({"skill_name": "s", "evals": [EVAL | changes]}))
    return file


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("The file `RELEASE_NOTES.md` exists", "file"),
        ("The file `RELEASE_NOTES.md` was created", "file"),
        ('The output contains "VERDICT"', "text"),
        ("The output contains the word `commit` or `Initial`", "text"),
        ('The output does not contain "VERDICT"', None),
        ("The file `old.md` no longer exists", None),
        ("The file `/etc/passwd` exists", None),
        ("The file `../x` exists", None),
        ('The report includes a table and "x"', None),
        ('The output contains "a" and "b"', None),
        ("A new git branch was created", None),
        ("The release notes mention the breaking change", None),
    ],
)
def test_assertions_in_words_are_checks_only_if_they_surely_mean_one(
    text: str, kind: str | None, tmp_path: Path
) -> None:
    (case,) = read_cases(suite(tmp_path, assertions=[text]))
    assert [check.kind for check in case.checks] == ([kind] if kind else [])
    assert list(case.expectations) == ([] if kind else [text])


def test_git_assertions_of_a_negative_control_are_inverted_as_there(tmp_path: Path) -> None:
    texts = ["A new git branch was created", "The answer is short"]
    (case,) = read_cases(suite(tmp_path, assertions=texts, should_trigger=False))
    assert case.expectations == [f"This is not so: {texts[0]}", texts[1]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("evals.json", "{", "evals.json: cannot be read"),
        ("evals.json", "[]", "none of the known eval files"),
        ("evals.json", '{"evals": []}', "skill_name: Field required"),
        ("evals.json", '{"skill_name": "s", "evals": [{"id": 1}]}', "evals.0.prompt"),
        ("x.eval.yaml", "tasks: 3", "tasks: Input should be a valid tuple"),
        ("x.eval.yaml", "tasks: [{name: a, prompt: b}]", "none of expect, assert, activates"),
        ("x.eval.yaml", "tasks: [{name: a, prompt: b, asert: c}]", "asert: Extra inputs"),
        ("x.eval.yaml", "tasks: [{name: a, prompt: b, assert: ' '}]", "assert: String should"),
        ("x.eval.yaml", "tasks: [{name: a, prompt: b, assert: no.py}]", "no.py: no such file"),
        ("x.eval.yaml", "tasks: []\ntasks: []", "'tasks' is there twice"),
        ("x.eval.yaml", "a: &a [*a]", "none of the known eval files"),
        ("x.eval.yaml", 'tasks: [{name: a, prompt: "\\ud83d"}]', "surrogates not allowed"),
        ("evals.json", '{"skill_name": "\\ud83d", "evals": []}', "half of a character"),
        ("evals.json", '{"evals": [], "evals": []}', "'evals' is there twice"),
        ("trigger.json", '[{"query": " ", "should_trigger": true}]', "the prompt is empty"),
        ("x.eval.yaml", 'tasks: [{name: a, prompt: "b\\0", assert: x}]', "has a zero byte"),
        ("eval.yaml", "cases: [{name: a, prompt: b}]", "none of expectations, validators"),
        (
            "eval.yaml",
            "cases: [{name: a, prompt: b, should_trigger: true, setup: {files: {../x: y}}}]",
            "'../x' must be a relative path",
        ),
    ],
)
def test_what_is_wrong_is_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(TaskError) as raised:
        read_evals([file], tmp_path / "made")
    assert message in str(raised.value) and str(file) in str(raised.value)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "", "missing.txt", "link"])
def test_files_of_a_case_stay_inside(path: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(TaskError, match="evals: 1"):
        read_evals([suite(tmp_path, files=[path])], tmp_path / "made")


@pytest.mark.parametrize(
    ("text", "handover"),
    [
        ("assert open('/tmp/log').read()", True),
        ("from pathlib import Path\nassert Path('/var/tmp/x').exists()", True),
        ("assert open('tmp/log').read()", False),
        ("assert open('a/tmp/log').read()", False),
    ],
)
def test_checks_that_look_at_scratch_files_get_the_whole_container(
    text: str, handover: bool, tmp_path: Path
) -> None:
    file = tmp_path / "x.eval.yaml"
    file.write_text(json.dumps({"tasks": [{"name": "a", "prompt": "b", "assert": text}]}))
    (task,) = read_evals([file], tmp_path / "made")[0]
    assert task.handover is handover


@pytest.mark.parametrize("text", ["history.yaml", ""])
def test_what_cannot_be_a_task_says_why(text: str, tmp_path: Path) -> None:
    case = {"name": "a", "prompt": "b", "assert": "cp $CALIPER_SPEC_DIR/x ."}
    case |= {"history": text} if text else {}
    file = tmp_path / "x.eval.yaml"
    file.write_text(json.dumps({"tasks": [case]}))
    tasks, unusable = read_evals([file], tmp_path / "made", scored=Scored(verifier=True))
    assert not tasks
    assert ("history" if text else "CALIPER_SPEC_DIR") in unusable["x-a"]


def test_a_judge_makes_tasks_of_what_is_said_in_words(tmp_path: Path) -> None:
    file = LOTS / "evals" / "evals.json"
    (task,) = read_evals([file], tmp_path, scored=Scored(judge=True))[0]
    assert task.expectations and not only_triggers(task)
    config = TasksConfig(source=str(LOTS))
    tasks = eval_tasks(config, eval_files(str(LOTS)), tmp_path, scored=Scored(judge=True))
    assert [only_triggers(task) for task in tasks] == [False, True, True]
    without = config.model_copy(update={"options": {"triggers": "leave_out"}})
    judged = eval_tasks(without, eval_files(str(LOTS)), tmp_path, scored=Scored(judge=True))
    assert [task.name for task in judged] == [tasks[0].name]
    with pytest.raises(TaskError, match=r"judge: \{upstream: …, name: …\}"):
        eval_tasks(config, [file], tmp_path)


@pytest.mark.parametrize(
    ("metadata", "tests_only", "judge"),
    [
        ('expectations = ["a"]', False, True),
        ('expected_output = "a"', False, True),
        ('opened = ["a"]', True, True),
        ('not_opened = ["a"]\nno_others_opened = true', True, True),
        ('opened = ["a"]\nexpectations = ["a"]', False, True),
        ('category = "a"', False, False),
    ],
)
def test_which_task_folders_need_no_tests(
    metadata: str, tests_only: bool, judge: bool, tmp_path: Path
) -> None:
    (tmp_path / "instruction.md").write_text("Do it.")
    (tmp_path / "task.toml").write_text(f'schema_version = "1.4"\n[metadata]\n{metadata}\n')
    for scored, allowed in ((Scored(), tests_only), (Scored(judge=True), judge)):
        if allowed:
            assert read_task(tmp_path, scored=scored).workspace is not None
        else:
            with pytest.raises(TaskError, match="missing"):
                read_task(tmp_path, scored=scored)


@pytest.mark.parametrize(
    ("file", "asking"),
    [(INBOX, [False, False, True]), (LOTS / "evals" / "trigger-queries.json", [True, True])],
)
def test_which_cases_only_ask_for_openings(file: Path, asking: list[bool]) -> None:
    assert [case.only_triggers for case in read_cases(file)] == asking
