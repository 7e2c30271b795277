"""Each field of the cases of Caliper's and agent-skill-eval's files, as the case that is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import Triggers
from skillopt.tasks.evals import agent_skill_eval, caliper
from skillopt.tasks.evals.case import (
    Case,
    CommandCheck,
    FileCheck,
    JsonCheck,
    SameCheck,
    TextCheck,
)
from skillopt.tasks.evals.reading import read_cases
from skillopt.tasks.harbor import TaskError

ASSERT = 'CALIPER_WORKDIR="$PWD" exec python3 "$CHECKS_DIR/assertion.py"'


def caliper_case(folder: Path, task: dict[str, Any], **spec: Any) -> Case:
    file = folder / "inbox.eval.yaml"
    content = {"tasks": [{"name": "one", "prompt": "Do it."} | task], **spec}
    file.write_text(json.dumps(content))
    (case,) = read_cases(file)
    return case


@pytest.mark.parametrize(
    ("task", "field", "value"),
    [
        ({"expect": "x"}, "suite", "inbox"),
        ({"expect": "x"}, "id", "one"),
        ({"expect": "x", "id": "7"}, "id", "one"),
        ({"expect": "x"}, "name", "inbox-one"),
        ({"expect": "x"}, "prompt", "Do it."),
        ({"expect": "x"}, "expectations", ["x"]),
        ({"assert": "x"}, "expectations", []),
        ({"expect": "x"}, "checks", []),
        ({"expect": "x"}, "scripts", {}),
        ({"assert": " x\n"}, "checks", [CommandCheck(label="assert", command=ASSERT)]),
        ({"assert": " x\n"}, "scripts", {"assertion.py": "x"}),
        ({"assert": "own.py"}, "scripts", {"assertion.py": "print()"}),
        ({"assert": "import x\nx.py"}, "scripts", {"assertion.py": "import x\nx.py"}),
        ({"expect": "x"}, "setup", []),
        ({"expect": "x", "setup": " "}, "setup", []),
        ({"expect": "x", "setup": "a"}, "setup", ['export CALIPER_WORKDIR="$PWD"\na']),
        ({"expect": "x", "cleanup": "a"}, "unusable", ""),
        ({"expect": "x", "history": ""}, "unusable",
         "history: earlier turns that the agent resumes from are not supported"),
        ({"expect": "x", "setup": "cp $CALIPER_SPEC_DIR/a ."}, "unusable",
         "$CALIPER_SPEC_DIR: the folder of the eval file is not in the sandbox"),
        ({"assert": "$CALIPER_SPEC_DIR"}, "unusable",
         "$CALIPER_SPEC_DIR: the folder of the eval file is not in the sandbox"),
        ({"expect": "x"}, "triggers", None),
        ({"activates": []}, "triggers", Triggers((), (), no_others=True)),
        ({"activates": ["a"]}, "triggers", Triggers(("a",), (), no_others=True)),
        ({"expect": "x"}, "notes", []),
    ],
)  # fmt: skip
def test_fields_of_calipers(task: dict[str, Any], field: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("print()")
    assert getattr(caliper_case(tmp_path, task), field) == value


@pytest.mark.parametrize(
    ("name", "suite"), [("a.eval.yaml", "a"), ("a.eval.yml", "a"), ("eval.yaml", "eval")]
)
def test_the_name_of_calipers_file_is_its_suite(name: str, suite: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(
        json.dumps({"tasks": [{"name": "b", "prompt": "c", "expect": "d"}]})
    )
    (case,) = read_cases(tmp_path / name)
    assert (case.suite, case.where) == (suite, f"{tmp_path / name}: tasks: b")


@pytest.mark.parametrize(
    ("skill", "name"),
    [
        ("SKILL.md", "told"),
        ("deep/SKILL.md", "deep"),
        ("broken/SKILL.md", "broken"),
        ("nothing/SKILL.md", "nothing"),
        ("binary/SKILL.md", "binary"),
        ("list/SKILL.md", "list"),
        ("yaml/SKILL.md", "yaml"),
        ({"repo": "https://x.org/a/mine.git"}, "mine"),
        ({"repo": "https://x.org/a/mine/"}, "mine"),
        ({"repo": "mine"}, "mine"),
        ({"repo": "https://x.org/a", "path": "skills/own/SKILL.md", "ref": "v1"}, "own"),
    ],
)
def test_the_skills_that_calipers_file_names(skill: Any, name: str, tmp_path: Path) -> None:
    for folder, text in {
        ".": b"---\nname: told\n---\nx", "deep": b"---\ntitle: x\n---\n", "broken": b"no header",
        "binary": b"\xff", "list": b"---\n- a\n---\n", "yaml": b"---\n{\n---\n",
    }.items():  # fmt: skip
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "SKILL.md").write_bytes(text)
    case = caliper_case(tmp_path, {"activates": ["a"]}, skills=[skill])
    assert case.triggers == Triggers(("a",), (name,), no_others=True)
    assert case.notes == [f"skills: {name}: name them with skill.init and skill.beside"]
    case = caliper_case(tmp_path, {"activates": [name]}, skills=[skill])
    assert case.triggers == Triggers((name,), (), no_others=True)


@pytest.mark.parametrize(
    ("spec", "notes"),
    [
        ({"mcp": {"a": {}, "b": 1}}, ["mcp: a, b: agents get no MCP server here"]),
        ({"sandbox": {}}, []),
        ({"sandbox": {"forbidden_files": ["a"]}}, ["sandbox: has no effect here; agents have"]),
        ({"sandbox": {"extra_path": ["a"]}}, ["sandbox: has no effect here; agents have"]),
        ({"user_customizations": False}, ["user_customizations: has no effect here; agents ha"]),
        ({"user_customizations": None}, []),
    ],
)
def test_what_calipers_file_says_without_effect(
    spec: dict[str, Any], notes: list[str], tmp_path: Path
) -> None:
    found = caliper_case(tmp_path, {"expect": "x"}, **spec).notes
    assert [note[: len(begin)] for note, begin in zip(found, notes, strict=True)] == notes


def test_a_program_of_calipers_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_bytes(b"\xff")
    with pytest.raises(TaskError, match=r"tasks: one: assert: own\.py: cannot be read"):
        caliper_case(tmp_path, {"assert": "own.py"})


@pytest.mark.parametrize(
    ("content", "calipers", "agent_skill_evals"),
    [
        ({"tasks": 3}, True, False),
        ({"evals": [{"assertions": []}]}, False, True),
        ({"evals": [{}, {"should_trigger": 1}]}, False, True),
        ({"evals": [{"id": 1}]}, False, False),
        ({"evals": []}, False, False),
        ({"evals": [3]}, False, False),
        ({"evals": {"assertions": []}}, False, False),
        ([{"assertions": []}], False, False),
        ("tasks", False, False),
    ],
)
def test_which_files_are_recognised(content: Any, calipers: bool, agent_skill_evals: bool) -> None:
    assert caliper.recognises(content) is calipers
    assert agent_skill_eval.recognises(content) is agent_skill_evals


def one_eval(folder: Path, **changes: Any) -> Case:
    base = {"id": 1, "prompt": "Do it.", "expected_output": "o", "assertions": []}
    file = folder / "evals.json"
    file.write_text(json.dumps({"skill_name": "mine", "evals": [base | changes]}))
    (case,) = read_cases(file)
    return case


SAID = 'The output contains "VERDICT"'


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "suite", "mine"),
        ({}, "id", "1"),
        ({"id": "a"}, "id", "a"),
        ({}, "prompt", "Do it."),
        ({}, "expected_output", "o"),
        ({}, "answer_file", ""),
        ({"assertions": [SAID]}, "answer_file", "response.txt"),
        ({"assertions": ["It is short."]}, "answer_file", ""),
        ({"assertions": [SAID, "It is short."]}, "expectations", ["It is short."]),
        ({}, "triggers", Triggers(opened=("mine",))),
        ({"should_trigger": False}, "triggers", Triggers(not_opened=("mine",))),
        ({"force_skill_invocation": True}, "triggers", None),
        ({}, "notes", []),
        ({"stage_files": True}, "notes",
         ["stage_files: the workspace is no git repository, so nothing is staged"]),
        ({"side_effect_level": "static"}, "notes", []),
        ({"side_effect_level": "live-safe"}, "notes",
         ["side_effect_level: live-safe: sandboxes reach no live service"]),
        ({"side_effect_level": "live-external"}, "notes",
         ["side_effect_level: live-external: sandboxes reach no live service"]),
        ({"side_effect_contract": {}}, "notes", ["side_effect_contract: is not checked"]),
        ({"assertions": [{"type": "tests_pass"}]}, "notes",
         ["tests_pass: is for a judge; the tests cannot tell"]),
        ({"assertions": [{"type": "tests_pass"}]}, "expectations", ["tests_pass"]),
        # A negative control's assertions about git are inverted, others are not.
        ({"assertions": ["A commit exists"], "should_trigger": False}, "expectations",
         ["This is not so: A commit exists"]),
        ({"assertions": ["The PR was created"], "should_trigger": False}, "expectations",
         ["This is not so: The PR was created"]),
        ({"assertions": ["It was pushed"], "should_trigger": False}, "expectations",
         ["This is not so: It was pushed"]),
        ({"assertions": ["A commit is fine"], "should_trigger": False}, "expectations",
         ["A commit is fine"]),
        ({"assertions": ["A commit exists"]}, "expectations", ["A commit exists"]),
    ],
)  # fmt: skip
def test_fields_of_agent_skill_evals(
    changes: dict[str, Any], field: str, value: Any, tmp_path: Path
) -> None:
    assert getattr(one_eval(tmp_path, **changes), field) == value


@pytest.mark.parametrize(
    ("assertion", "check"),
    [
        ({"type": "file_exists", "path": "./a"},
         FileCheck(label="file_exists (path='./a')", path="a", wanted=True)),
        ({"type": "file_not_exists", "path": "a", "text": "No a"},
         FileCheck(label="No a", path="a", wanted=False)),
        ({"type": "file_contains", "contains": "x", "path": "a"},
         TextCheck(label="file_contains (path='a', contains='x')", texts=("x",), path="a")),
        ({"type": "file_contains", "contains": "x"},
         TextCheck(label="file_contains (contains='x')", texts=("x",), path="")),
        ({"type": "file_not_contains", "contains": "x", "path": "a"},
         TextCheck(label="file_not_contains (path='a', contains='x')", texts=("x",), path="a",
                   wanted=False)),
        ({"type": "json_path", "json_path": "a.0.b"},
         JsonCheck(label="json_path (json_path='a.0.b')", keys=("a", "0", "b"))),
        ({"type": "json_path", "json_path": "a", "path": "f", "equals": [1]},
         JsonCheck(label="json_path (path='f', json_path='a')", keys=("a",), path="f",
                   equals=[1])),
        ({"type": "json_path_not_exists", "json_path": "a"},
         JsonCheck(label="json_path_not_exists (json_path='a')", keys=("a",), wanted=False)),
        ({"type": "git_clean"},
         CommandCheck(label="git_clean",
                      command='status=$(git status --porcelain) && test -z "$status"')),
        ({"type": "command_ran", "command": "make"}, "command_ran (command='make')"),
        ({"type": "command_not_ran", "command": "make", "text": "No make"}, "No make"),
        ({"type": "file_unchanged", "path": "missing"}, "file_unchanged (path='missing')"),
        # In words.
        ("The file `a/b.md` exists", FileCheck(label="The file `a/b.md` exists", path="a/b.md",
                                               anywhere=True)),
        ("The FILE `a` is created", FileCheck(label="The FILE `a` is created", path="a",
                                              anywhere=True)),
        ("The file `a` and `b` exists", "The file `a` and `b` exists"),
        ("The file `.` exists", "The file `.` exists"),
        ("`a` exists", "`a` exists"),
        ("The file `a` is short", "The file `a` is short"),
        ('The answer is in the file `a`, and contains "x"',
         'The answer is in the file `a`, and contains "x"'),
        ('The output names the file that exists and contains "x"',
         FileCheck(label='The output names the file that exists and contains "x"', path="x",
                   anywhere=True)),
        ("The file `a/..` exists", "The file `a/..` exists"),
        ('The answer contains "x" and "y"', 'The answer contains "x" and "y"'),
        ('The answer is short, or "x"', 'The answer is short, or "x"'),
        ('The answer contains "x for y"', TextCheck(label='The answer contains "x for y"',
                                                    texts=("x for y",))),
        ("The file exists", "The file exists"),
        ('The answer includes "x"', TextCheck(label='The answer includes "x"', texts=("x",))),
        ('The reply contains "x" or `y`', TextCheck(label='The reply contains "x" or `y`',
                                                    texts=("x", "y"))),
        ('The response contains "x", "y"', 'The response contains "x", "y"'),
        ('The response never contains "x"', 'The response never contains "x"'),
        ('The response doesn\'t contains "x"', 'The response doesn\'t contains "x"'),
        ('The reply contains "not"', TextCheck(label='The reply contains "not"', texts=("not",))),
        ('The table contains "x"', 'The table contains "x"'),
    ],
)  # fmt: skip
def test_assertions(assertion: Any, check: Any, tmp_path: Path) -> None:
    case = one_eval(tmp_path, assertions=[assertion])
    if isinstance(check, str):
        assert (list(case.checks), list(case.expectations)) == ([], [check])
    else:
        assert (list(case.checks), list(case.expectations)) == ([check], [])


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("file_exists", "path"), ("file_not_exists", "path"), ("file_unchanged", "path"),
        ("file_contains", "contains"), ("file_not_contains", "contains"),
        ("command_ran", "command"), ("command_not_ran", "command"), ("json_path", "json_path"),
        ("json_path_not_exists", "json_path"),
    ],
)  # fmt: skip
def test_what_an_assertion_needs(kind: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=rf"evals: 1: assertion 2: {kind}: needs {key}$"):
        one_eval(tmp_path, assertions=["It is short.", {"type": kind}])


@pytest.mark.parametrize(
    ("assertion", "said"),
    [
        ({"type": "file_exists", "path": "../a"}, "evals: 1: assertion 1: '../a' must be a relati"),
        ({"type": "file_contains", "path": "/a", "contains": "x"}, "assertion 1: '/a' must be a"),
        ({"type": "file_exist", "path": "a"}, "evals.0.assertions.0"),
        ({"type": "git_clean", "x": 1}, "evals.0.assertions.0"),
        (3, "evals.0.assertions.0"),
    ],
)
def test_assertions_that_cannot_be_used(assertion: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=said):
        one_eval(tmp_path, assertions=[assertion])


def test_each_assertion_is_a_check_or_an_expectation_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    given = [
        "It is short.", {"type": "git_clean"}, SAID, {"type": "command_ran", "command": "make"},
        {"type": "file_exists", "path": "a"}, "It is kind.",
    ]  # fmt: skip
    case = one_eval(tmp_path, assertions=given, stage_files=True)
    assert [check.label for check in case.checks] == ["git_clean", SAID, "file_exists (path='a')"]
    assert case.expectations == ["It is short.", "command_ran (command='make')", "It is kind."]
    assert [note.partition(":")[0] for note in case.notes] == ["stage_files", "command_ran"]
    assert case.where == f"{tmp_path / 'evals.json'}: evals: 1" and case.name == "mine-1"


HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.mark.parametrize(
    ("files", "path", "found"),
    [
        (["a.txt"], "a.txt", True),
        (["a.txt"], "b.txt", False),
        (["folder"], "folder/a.txt", True),
        (["folder"], "folder", False),
        (["folder"], "folder/none.txt", False),
        (["folder"], "folders/a.txt", False),
        (["a.txt", "folder"], "folder/a.txt", True),
    ],
)
def test_a_file_that_is_to_stay_as_it_was(
    files: list[str], path: str, found: bool, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("a.txt", "folder/a.txt"):
        (tmp_path / name).write_text("hello")
    case = one_eval(tmp_path, files=files, assertions=[{"type": "file_unchanged", "path": path}])
    check = SameCheck(label=f"file_unchanged (path={path!r})", path=path, sha256=HELLO)
    assert list(case.checks) == ([check] if found else [])
    assert bool(case.expectations) is not found


@pytest.mark.parametrize(
    ("files", "places"),
    [
        (["a.txt"], ["a.txt"]),
        (["deep/a.txt"], ["deep/a.txt"]),
        (["files/a.txt"], ["a.txt"]),
        (["files/one/a.txt"], ["a.txt"]),
        (["files/one/in/a.txt"], ["in/a.txt"]),
        (["files/one/a.txt", "files/one/b.txt"], ["a.txt", "b.txt"]),
        (["files/one/a.txt", "files/two/a.txt"], ["one/a.txt", "two/a.txt"]),
        (["files/one/a.txt", "files/b.txt"], ["a.txt", "b.txt"]),
        (["files"], ["files"]),
        (["files/one/a.txt", "other/one/a.txt"], ["a.txt", "other/one/a.txt"]),
        (["files/one/a.txt", "other/two/a.txt"], ["a.txt", "other/two/a.txt"]),
        (["other/one/a.txt", "other/two/a.txt"], ["other/one/a.txt", "other/two/a.txt"]),
        (["files/one/in/a.txt", "files/one/b.txt"], ["in/a.txt", "b.txt"]),
        (["files/a.txt", "files/b.txt"], ["a.txt", "b.txt"]),
    ],
)
def test_where_the_files_of_a_case_go(files: list[str], places: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name == "files":
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_text(name)
    found = one_eval(tmp_path, files=files).files
    assert dict(found) == {
        place: tmp_path / name for place, name in zip(places, files, strict=True)
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": ["files/a.txt", "a.txt"]}, "evals: 1: files: a.txt and .* both become 'a.txt'"),
        ({"prompt": "  "}, "evals: 1: prompt: is empty"),
        (
            {"force_skill_invocation": True, "should_trigger": False},
            "evals: 1: force_skill_invocation: cannot be set if should_trigger is false",
        ),
    ],
)
def test_cases_that_contradict_themselves(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    for name in ("files/a.txt", "a.txt"):
        (tmp_path / name).touch()
    with pytest.raises(TaskError, match=said):
        one_eval(tmp_path, **changes)


@pytest.mark.parametrize(
    ("task", "spec", "said"),
    [
        ({"name": " "}, {}, "tasks.0.name: String should match"),
        ({"prompt": " "}, {}, "tasks.0.prompt: String should match"),
        ({"expect": " "}, {}, "tasks.0.expect: String should match"),
        ({"assert": " "}, {}, "tasks.0.assert: String should match"),
        ({}, {"skill": []}, "skill: Extra inputs"),
        ({}, {"sandbox": {"x": 1}}, "sandbox.x: Extra inputs"),
        ({}, {"skills": [{"repo": "a", "x": 1}]}, "skills.0"),
        ({}, {"tasks": []}, "tasks: Tuple should have at least 1 item"),
    ],
)
def test_what_calipers_schema_refuses(
    task: dict[str, Any], spec: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match=said):
        caliper_case(tmp_path, {"activates": ["a"]} | task, **spec)
