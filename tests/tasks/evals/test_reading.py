"""Which eval files a source names, which of their cases are tasks, and what is told of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from skillopt.config.schema import TasksConfig
from skillopt.core.types import BaseImage
from skillopt.tasks.columns import RowOptions
from skillopt.tasks.evals.case import (
    CommandCheck,
    FileCheck,
    JsonCheck,
    SameCheck,
    TextCheck,
)
from skillopt.tasks.evals.reading import (
    EvalOptions,
    eval_files,
    eval_options,
    eval_tasks,
    is_eval_file,
    read_cases,
    read_evals,
)
from skillopt.tasks.harbor import Scored, TaskError

CASES: dict[str, dict[str, Any]] = {
    "checked": {"assert": "x"},
    "words": {"expect": "It greets."},
    "both": {"assert": "x", "expect": "It greets."},
    "opens": {"activates": ["s"]},
    "opens, in words": {"activates": ["s"], "expect": "It greets."},
    "opens, checked": {"activates": ["s"], "assert": "x"},
    "history": {"assert": "x", "history": "h"},
    "history in words": {"expect": "x", "history": "h"},
}


def written(folder: Path, *names: str, file: str = "a.eval.yaml") -> Path:
    tasks = [{"name": name, "prompt": "Do it."} | CASES[name] for name in names]
    (folder / file).write_text(json.dumps({"tasks": tasks}))
    return folder / file


WORDS = "it has expectations in words and no deterministic check"
HISTORY = "history: earlier turns that the agent resumes from are not supported"


@pytest.mark.parametrize(
    ("name", "tests_only", "judge", "verifier"),
    [
        ("checked", "", "", ""),
        ("words", WORDS, "", ""),
        ("both", "", "", ""),
        ("opens", "", "", ""),
        ("opens, in words", WORDS, "", ""),
        ("opens, checked", "", "", ""),
        ("history", HISTORY, HISTORY, HISTORY),
        ("history in words", HISTORY, HISTORY, HISTORY),
    ],
)
def test_why_a_case_is_no_task(
    name: str, tests_only: str, judge: str, verifier: str, tmp_path: Path
) -> None:
    file = written(tmp_path, name)
    for scored, why in (
        (Scored(), tests_only),
        (Scored(judge=True), judge),
        (Scored(verifier=True), verifier),
        (Scored(judge=True, verifier=True), verifier),
    ):
        tasks, unusable = read_evals([file], tmp_path / "made", scored=scored)
        assert [*unusable.values()] == ([why] if why else [])
        assert len(tasks) == (0 if why else 1)


@pytest.mark.parametrize(
    ("changes", "judge", "why"),
    [
        ({}, True, "it checks nothing"),
        ({}, False, "it checks nothing"),
        ({"expected_output": "A greeting."}, True, ""),
        ({"expected_output": "A greeting."}, False, WORDS),
    ],
)
def test_a_case_that_says_nothing_of_its_result(
    changes: dict[str, Any], judge: bool, why: str, tmp_path: Path
) -> None:
    one = {"id": 1, "prompt": "Do it."} | changes
    (tmp_path / "evals.json").write_text(json.dumps({"skill_name": "s", "evals": [one]}))
    _, unusable = read_evals([tmp_path / "evals.json"], tmp_path, scored=Scored(judge=judge))
    assert [*unusable.values()] == ([why] if why else [])


JUDGED = "whether the right skills are opened is not judged"


@pytest.mark.parametrize(
    ("name", "scored", "notes"),
    [
        ("checked", Scored(), []),
        ("both", Scored(), ["is not judged, as it is in words: It greets."]),
        ("both", Scored(judge=True), []),
        ("both", Scored(verifier=True), []),
        ("words", Scored(judge=True), []),
        ("opens", Scored(), []),
        ("opens, checked", Scored(), [JUDGED]),
        ("opens, checked", Scored(verifier=True), []),
        ("opens, in words", Scored(judge=True), [JUDGED]),
    ],
)
def test_what_is_not_judged_is_noted(
    name: str, scored: Scored, notes: list[str], tmp_path: Path
) -> None:
    file = written(tmp_path, name)
    (task,) = read_evals([file], tmp_path / "made", scored=scored)[0]
    assert list(task.notes) == [f"{file}: tasks: {name}: {note}" for note in notes]


@pytest.mark.parametrize(
    ("place", "verifier", "handover"),
    [
        ("/tmp/x", False, True), ("/tmp/x", True, False), ("/etc/x", False, True),
        ("/app/x", False, False),
    ],
)  # fmt: skip
def test_a_verifier_of_ones_own_looks_at_no_scratch_files(
    place: str, verifier: bool, handover: bool, tmp_path: Path
) -> None:
    task = {"name": "a", "prompt": "b", "assert": f"open('{place}')"}
    (tmp_path / "a.eval.yaml").write_text(json.dumps({"tasks": [task]}))
    (found,) = read_evals([tmp_path / "a.eval.yaml"], tmp_path, scored=Scored(verifier=verifier))[0]
    assert found.handover is handover


def test_tasks_start_from_an_image_of_the_users_own(tmp_path: Path) -> None:
    own = BaseImage("own:1", workdir="/w")
    file = written(tmp_path, "checked", "opens")
    for tasks in (
        read_evals([file], tmp_path / "made", own=own)[0],
        eval_tasks(TasksConfig(source=str(file)), [file], tmp_path / "made", own=own),
    ):
        assert [task.base for task in tasks] == [own, own]
        text = (tasks[0].folder / "environment" / "Dockerfile").read_text()
        assert text.startswith("FROM own:1\n")
    assert [task.base for task in read_evals([file], tmp_path / "made")[0]] == [None, None]


def test_two_cases_of_one_name_are_refused_and_those_of_two_suites_are_not(tmp_path: Path) -> None:
    one, other = written(tmp_path, "both"), written(tmp_path, "both", file="b.eval.yaml")
    tasks, _ = read_evals([one, other], tmp_path / "made")
    assert [task.name for task in tasks] == ["a-both", "b-both"]
    again = written(tmp_path, "words", "both", file="a.eval.yml")
    with pytest.raises(TaskError) as raised:
        read_evals([one, again], tmp_path / "made")
    assert str(raised.value) == (
        f"{again}: tasks: both: gives the task 'a-both', as {one}: tasks: both does; rename one of "
        "them"
    )


@pytest.mark.parametrize(
    ("count", "more"), [(1, ""), (5, ""), (6, " and 1 more"), (8, " and 3 more")]
)
def test_the_first_cases_that_cannot_be_scored_are_named(
    count: int, more: str, tmp_path: Path
) -> None:
    tasks = [{"name": f"t{n}", "prompt": "p", "expect": "x"} for n in range(count)]
    tasks.append({"name": "good", "prompt": "p", "assert": "x"})
    file = tmp_path / "a.eval.yaml"
    file.write_text(json.dumps({"tasks": tasks}))
    config = TasksConfig(source="the source")
    with pytest.raises(TaskError) as raised:
        eval_tasks(config, [file], tmp_path / "made")
    shown = "; ".join(f"a-t{n}: {WORDS}" for n in range(min(count, 5)))
    said = f"the source: {count} of {count + 1} cases cannot be scored here: {shown}{more}. Add a"
    assert str(raised.value).startswith(said)
    left = config.model_copy(update={"options": {"unjudged": "leave_out"}})
    assert [task.name for task in eval_tasks(left, [file], tmp_path / "made")] == ["a-good"]


@pytest.mark.parametrize(
    ("names", "options", "found"),
    [
        (["opens", "checked"], {}, ["a-opens", "a-checked"]),
        (["opens", "checked"], {"triggers": "leave_out"}, ["a-checked"]),
        (["opens, checked"], {"triggers": "leave_out"}, ["a-opens-checked"]),
        (["opens"], {"triggers": "leave_out"}, []),
        (["words"], {"unjudged": "leave_out"}, []),
        (["words", "opens"], {"unjudged": "leave_out"}, ["a-opens"]),
    ],
)
def test_which_cases_are_left_out(
    names: list[str], options: dict[str, str], found: list[str], tmp_path: Path
) -> None:
    config = TasksConfig(source="the source", options=options)
    file = written(tmp_path, *names)
    if found:
        assert [task.name for task in eval_tasks(config, [file], tmp_path / "made")] == found
    else:
        with pytest.raises(TaskError, match=r"^the source: no case in it can be scored$"):
            eval_tasks(config, [file], tmp_path / "made")


def test_the_options_of_eval_files() -> None:
    assert eval_options({}) == EvalOptions(unjudged="refuse", triggers="ask")
    with pytest.raises(TaskError, match=r"^tasks\.options\.triggers: .*options of eval files: unj"):
        eval_options({"triggers": "maybe"})
    with pytest.raises(TaskError, match=r"^tasks\.options\.x: Extra inputs"):
        eval_options({"x": 1})


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (EvalOptions(), "unjudged"),
        (RowOptions(), "scorer"),
        (FileCheck(label="l", path="p"), "path"),
        (TextCheck(label="l", texts=()), "label"),
        (SameCheck(label="l", path="p", sha256=""), "path"),
        (JsonCheck(label="l"), "keys"),
        (CommandCheck(label="l", command="c"), "code"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_checked_stays_as_it_is(value: BaseModel, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, field, getattr(value, field))
    with pytest.raises(ValidationError, match="Extra inputs"):
        type(value).model_validate({**value.model_dump(), "other": 1})


def test_what_a_check_is_by_default() -> None:
    assert FileCheck(label="l", path="p").model_dump() == {
        "label": "l", "kind": "file", "path": "p", "anywhere": False, "wanted": True,
    }  # fmt: skip
    assert TextCheck(label="l", texts=("a",)).model_dump() == {
        "label": "l", "kind": "text", "texts": ("a",), "path": "", "wanted": True,
    }  # fmt: skip
    assert JsonCheck(label="l").model_dump() == {
        "label": "l", "kind": "json", "keys": (), "path": "", "equals": None, "wanted": True,
    }  # fmt: skip
    assert CommandCheck(label="l", command="c").model_dump() == {
        "label": "l", "kind": "command", "command": "c", "code": 0, "timeout_s": 30,
    }  # fmt: skip


PLACES = [
    "evals.json", "my-trigger-set.json", "eval.yaml", "eval.yml", "a.eval.yaml", "b.eval.yml",
    "other.json", "evals.yaml", "eval.txt", "evals/evals.json", "evals/deep/evals.json",
    "sub/eval.yaml",
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("", ["a.eval.yaml", "b.eval.yml", "eval.yaml", "eval.yml", "evals/evals.json",
              "evals.json", "my-trigger-set.json"]),
        ("sub", ["sub/eval.yaml"]),
        # A file that is named need not be named in a certain way.
        ("other.json", ["other.json"]),
        ("evals.yaml", ["evals.yaml"]),
        ("eval.txt", []),
        ("missing.json", []),
        ("*.json", ["evals.json", "my-trigger-set.json", "other.json"]),
        ("**/evals.json", ["evals/deep/evals.json", "evals/evals.json", "evals.json"]),
        ("s*", ["sub/eval.yaml"]),
        ("*.txt", []),
        ("x*", []),
    ],
)  # fmt: skip
def test_the_eval_files_of_a_source(source: str, found: list[str], tmp_path: Path) -> None:
    for name in PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.eval.yaml").mkdir()
    (tmp_path / "x[a].json").symlink_to("nowhere")  # It would be a pattern again.
    files = eval_files(str(tmp_path / source))
    assert [file.relative_to(tmp_path).as_posix() for file in files] == found


def test_a_file_that_is_there_by_two_names_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").touch()
    (tmp_path / "a.eval.yaml").symlink_to("eval.yaml")
    assert eval_files(str(tmp_path)) == [tmp_path / "eval.yaml"]
    assert eval_files(f"{tmp_path}/*") == [tmp_path / "eval.yaml"]


@pytest.mark.parametrize("place", ["one/task.toml", "train/one/task.toml", "a/b/c/task.toml"])
def test_a_folder_of_task_folders_has_no_eval_files(place: str, tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").touch()
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert bool(eval_files(str(tmp_path))) is (place == "a/b/c/task.toml")


GOOD = '{"tasks": [{"name": "a", "prompt": "b", "assert": "x"}]}'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.eval.yaml", GOOD.encode(), None),
        ("a.eval.yaml", b"\xef\xbb\xbf" + GOOD.encode(), None),
        ("evals.json", GOOD.encode(), None),
        ("evals.json", GOOD.encode().ljust(10_000_000), None),
        ("a.eval.yaml", GOOD.encode().ljust(10_000_001), ": has more than 10 MB"),
        ("a.eval.yaml", b"\xff", "can't decode byte 0xff in position 0: invalid start byte; save"),
        ("evals.json", b"[" * 100_000, "cannot be read: it is nested too deeply"),
        ("a.eval.yaml", b"[" * 700, "cannot be read: maximum recursion depth exceeded"),
        ("a.eval.yaml", b"a: [", "cannot be read: while parsing a flow node"),
        ("a.eval.yaml", b"{tasks: 1, tasks: 2}", "cannot be read: the key 'tasks' is there twice"),
        ("a.eval.yaml", b"{a: {b: 1, b: 2}}", "the key 'b' is there twice"),
        ("a.eval.yaml", b"a: !!python/none x", "could not determine a constructor"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_files_that_can_be_read_and_those_that_cannot(
    name: str, content: bytes, said: str | None, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    if said is None:
        assert is_eval_file(file) and len(read_cases(file)) == 1
    else:
        for read in (is_eval_file, read_cases):
            with pytest.raises(TaskError) as raised:
                read(file)
            assert str(raised.value).startswith(f"{file}: ") and said in str(raised.value)
            assert ("save it as UTF-8" in str(raised.value)) is (content == b"\xff")
            assert "\n" not in str(raised.value)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"gone\.json: cannot be read: .*No such file"):
        is_eval_file(tmp_path / "gone.json")


def test_what_is_merged_in_yaml_may_be_there_again(tmp_path: Path) -> None:
    file = tmp_path / "a.eval.yaml"
    file.write_text(
        "tasks:\n- &one {name: a, prompt: b, assert: x}\n- &two {<<: *one, name: \u00e4}\n"
        "- {<<: *one, <<: *two, name: c, prompt: d}\n"
    )
    assert [(case.id, case.prompt) for case in read_cases(file)] == [
        ("a", "b"), ("\u00e4", "b"), ("c", "d"),
    ]  # fmt: skip
    file.write_text("{? [a] : 1, ? [b] : 2}")
    with pytest.raises(TaskError, match="unhashable key"):
        read_cases(file)


@pytest.mark.parametrize(
    ("content", "known"),
    [(GOOD, True), ('{"evals": 1}', True), ('{"cases": 1}', True), ("[]", False), ("3", False)],
)
def test_which_files_a_format_knows(content: str, known: bool, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    assert is_eval_file(tmp_path / "a.json") is known
    if not known:
        with pytest.raises(TaskError) as raised:
            read_cases(tmp_path / "a.json")
        assert str(raised.value) == (
            f"{tmp_path / 'a.json'}: is none of the known eval files: agent-skill-eval's "
            "evals.json, skill-creator's evals.json, Caliper's eval.yaml, skillevaluation's "
            "eval.yaml"
        )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"cases": [{"name": "a", "prompt": " ", "expectations": ["x"]}]},
         "cases: a: the prompt is empty; write what is asked"),
        ({"cases": [{"name": "a", "prompt": "b\0", "expectations": ["x"]}]}, "has a zero byte"),
        ({"cases": [{"name": "a", "prompt": "b", "validators": [{"cmd": "x\0"}]}]},
         "has a zero byte"),
        ({"cases": [{"name": "a", "prompt": "b"} | {"expectations": [""]}]},
         "cases.0.expectations.0: String should have at least 1 character (skillevaluation's"),
        ({"cases": [{"name": "a", "prompt": "b", "expectations": ["x"]}], "x": 1},
         "x: Extra inputs are not permitted"),
        ({"cases": []}, "cases: Tuple should have at least 1 item"),
        # The first of several.
        ({"cases": [{"name": "", "prompt": ""}]}, "cases.0.name: String should have at least"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_case_is_named(
    content: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "eval.json"
    file.write_text(json.dumps(content))
    with pytest.raises(TaskError) as raised:
        read_cases(file)
    assert str(raised.value).startswith(f"{file}: ") and said in str(raised.value)
