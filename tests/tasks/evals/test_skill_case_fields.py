"""Each field of skill-creator's and skillevaluation's cases, and the folder of a case."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import BaseImage, Triggers
from skillopt.tasks.evals import skill_creator, skillevaluation
from skillopt.tasks.evals.case import (
    Case,
    CommandCheck,
    TextCheck,
    fixture,
    inside,
    slug,
    toml,
    write_case,
    write_cases,
)
from skillopt.tasks.evals.reading import read_cases
from skillopt.tasks.harbor import TaskError, read_task


def written(folder: Path, name: str, content: Any) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def one_eval(folder: Path, **changes: Any) -> Case:
    base = {"id": 1, "prompt": "Do it."}
    content = {"skill_name": "mine", "other": 1, "evals": [base | changes]}
    (case,) = read_cases(written(folder, "mine/evals/evals.json", content))
    return case


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "suite", "mine"),
        ({"id": "a"}, "id", "a"),
        ({}, "id", "1"),
        ({}, "prompt", "Do it."),
        ({}, "expected_output", ""),
        ({"expected_output": "o"}, "expected_output", "o"),
        ({"expectations": ["a", "b"]}, "expectations", ("a", "b")),
        ({}, "files", {}),
        ({}, "triggers", None),
        ({}, "checks", ()),
        ({"eval_name": "x", "name": "x", "description": "x"}, "notes", []),
        ({"zeta": 1, "alpha": 2}, "notes",
         ["alpha: has no effect here", "zeta: has no effect here"]),
    ],
)  # fmt: skip
def test_fields_of_skill_creators(
    changes: dict[str, Any], field: str, value: Any, tmp_path: Path
) -> None:
    assert getattr(one_eval(tmp_path, **changes), field) == value


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["mine/in.txt"], "mine/in.txt"),
        (["mine/evals/in.txt"], "mine/evals/in.txt"),
        (["mine/in.txt", "mine/evals/in.txt"], "mine/in.txt"),
        ([], None),
    ],
)
def test_files_are_the_skills_or_beside_the_evals(
    there: list[str], found: str | None, tmp_path: Path
) -> None:
    for name in there:
        written(tmp_path, name, 1)
    if found is None:
        with pytest.raises(TaskError, match=r"evals: 1: .*mine/in\.txt: no such file"):
            one_eval(tmp_path, files=["in.txt"])
    else:
        assert one_eval(tmp_path, files=["./in.txt"]).files == {"in.txt": tmp_path / found}


def test_an_empty_prompt_of_skill_creators(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="evals: 1: prompt: is empty"):
        one_eval(tmp_path, prompt=" ")


@pytest.mark.parametrize(
    ("name", "skill"),
    [("mine/evals/t-trigger.json", "mine"), ("mine/t-trigger.json", "mine")],
)
def test_queries_ask_for_the_skill_of_their_folder(name: str, skill: str, tmp_path: Path) -> None:
    content = [{"query": "q", "should_trigger": True}, {"query": "r", "should_trigger": False}]
    file = written(tmp_path, name, content)
    first, second = read_cases(file)
    assert (first.suite, first.id, first.prompt) == (f"{skill}-t-trigger", "001", "q")
    assert (second.id, second.where) == ("002", f"{file}: query 2")
    assert first.triggers == Triggers(opened=(skill,))
    assert second.triggers == Triggers(not_opened=(skill,))


@pytest.mark.parametrize(
    ("content", "creators", "evaluations"),
    [
        ([{"query": "q"}], True, False), ([], False, False), ([{"query": 1}, {}], False, False),
        ([1], False, False), ({"evals": 1}, True, False), ({"cases": 1}, False, True),
        ({"case": 1}, False, False), ("evals", False, False), ("cases", False, False),
    ],
)  # fmt: skip
def test_which_files_are_recognised(content: Any, creators: bool, evaluations: bool) -> None:
    assert skill_creator.recognises(content) is creators
    assert skillevaluation.recognises(content) is evaluations


CHECK = {"cmd": "grep a response.txt"}


def evaluation(folder: Path, scripts: bool = False, **changes: Any) -> Case:
    case = {"name": "one", "prompt": "Do it.", "expectations": ["x"]} | changes
    if scripts:
        written(folder, "mine/scripts/a.py", 1)
    (found,) = read_cases(written(folder, "mine/eval.yaml", {"cases": [case]}))
    return found


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "suite", "mine"),
        ({}, "id", "one"),
        ({}, "prompt", "Do it."),
        ({}, "expectations", ("x",)),
        ({}, "answer_file", ""),
        ({"validators": [CHECK]}, "answer_file", "response.txt"),
        ({"validators": [CHECK]}, "checks",
         [CommandCheck(label="grep a response.txt", command="grep a response.txt", code=0)]),
        ({"validators": [{"cmd": "c" * 90, "expect_exit_code": 3}]}, "checks",
         [CommandCheck(label="c" * 80, command="c" * 90, code=3)]),
        ({"validators": [CHECK | {"label": "l"}]}, "checks",
         [CommandCheck(label="l", command="grep a response.txt")]),
        ({}, "checks", []),
        ({"setup": {"files": {"./a/b": "t"}, "commands": ["c"]}}, "files", {"a/b": "t"}),
        ({"setup": {"files": {"a": "t"}, "commands": ["c"]}}, "setup", ("c",)),
        ({"setup": ["c", "d"]}, "setup", ("c", "d")),
        ({}, "setup", ()),
        ({}, "triggers", None),
        ({"should_trigger": True}, "triggers", Triggers(opened=("mine",))),
        ({"should_trigger": False, "expectations": []}, "triggers",
         Triggers(not_opened=("mine",))),
        ({}, "notes", []),
        ({"max_turns": 1}, "notes", ["max_turns: is no limit here; set budget in the config"]),
        ({}, "graders", {}),
        ({"validators": [CHECK]}, "graders", {}),
        ({"validators": [CHECK]}, "notes", []),
    ],
)  # fmt: skip
def test_fields_of_skillevaluations(
    changes: dict[str, Any], field: str, value: Any, tmp_path: Path
) -> None:
    assert getattr(evaluation(tmp_path, **changes), field) == value


def test_scripts_are_for_validators_alone(tmp_path: Path) -> None:
    case = evaluation(tmp_path, scripts=True, validators=[CHECK])
    assert case.graders == {"scripts": tmp_path / "mine" / "scripts"}
    assert case.notes == [
        "scripts/: the workspace gets it for the validators alone, not for the agent"
    ]
    case = evaluation(tmp_path, scripts=True)
    assert (case.graders, case.notes) == ({}, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"expectations": []}, {"name": ""}, {"prompt": ""}, {"expectations": [""]}, {"x": 1},
        {"validators": [{"cmd": ""}]}, {"validators": [CHECK | {"x": 1}]}, {"max_turns": 0},
        {"validators": [CHECK | {"expect_exit_code": "0"}]}, {"setup": {"x": 1}},
    ],
)  # fmt: skip
def test_what_skillevaluations_schema_refuses(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="cases"):
        evaluation(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A b/C", "a-b-c"),
        ("a.b_c", "a.b_c"),
        ("-.a.-", "a"),
        ("\u00e4", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_a_text_as_a_part_of_a_name(text: str, name: str) -> None:
    assert slug(text) == name


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/b", "a/b"), ("./a//b/", "a/b"), ("a\\b", "a/b"), ("..a", "..a"), ("a:b/c", None),
        ("a/b:c", "a/b:c"), ("", None), (".", None), ("/a", None), ("a/../b", None),
        ("C:\\a", None),
    ],
)  # fmt: skip
def test_paths_that_stay_inside(path: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(TaskError, match=r"here: .* must be a relative path"):
            inside(path, "here")
    else:
        assert inside(path, "here") == found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\x7f\x9f\"", '"a\\u007f\\u009f\\""'), ([1, "\u00e4", True], '[1, "\u00e4", true]'),
        ({"a b": 1, "c": None, "d": {}}, '{ "a b" = 1, "d" = {  } }'), (1.5, "1.5"),
    ],
)  # fmt: skip
def test_values_in_toml(value: Any, text: str) -> None:
    assert toml(value) == text


def a_case(**changes: Any) -> Case:
    return Case(**{"suite": "s", "id": "i", "where": "w", "prompt": " p \n"} | changes)


LOOKS = TextCheck(label="l", texts=("x",))
SETUP = 'RUN ["/bin/sh", "-ec", "make"]\n'
ENTER = 'if [ \\"$PWD\\" = / ]; then mkdir -p /app; cd /app; fi'


@pytest.mark.parametrize(
    ("changes", "own", "dockerfile"),
    [
        ({}, None, "FROM skillopt/agent-base:1\nWORKDIR /app\n"),
        ({"files": {"a": "t"}, "setup": ["make"]}, None,
         f"FROM skillopt/agent-base:1\nWORKDIR /app\nCOPY files /app/\n{SETUP}"),
        ({}, BaseImage("o", workdir="/w"), "FROM o\nWORKDIR /w\n"),
        ({"setup": ["make"]}, BaseImage("o", workdir="/w"),
         f"FROM o\nUSER root\nWORKDIR /w\n{SETUP}"),
        ({"files": {"a": "t"}}, BaseImage("o", workdir="/w"),
         "FROM o\nWORKDIR /w\nCOPY files /w/\n"),
        ({}, BaseImage("o"), "FROM o\n"),
        ({"files": {"a": "t"}}, BaseImage("o"),
         "FROM o\nUSER root\nCOPY files /.skillopt-files/\n"
         f'RUN ["/bin/sh", "-ec", "{ENTER}; cp -R /.skillopt-files/. .; '
         'rm -rf /.skillopt-files"]\n'),
        ({"setup": ["make"]}, BaseImage("o"),
         f'FROM o\nUSER root\nRUN ["/bin/sh", "-ec", "{ENTER}\\nmake"]\n'),
    ],
)  # fmt: skip
def test_the_dockerfile_of_a_case(
    changes: dict[str, Any], own: BaseImage | None, dockerfile: str, tmp_path: Path
) -> None:
    write_case(a_case(**changes), tmp_path / "t", own)
    assert (tmp_path / "t" / "environment" / "Dockerfile").read_text() == dockerfile
    assert (tmp_path / "t" / "instruction.md").read_text() == "p\n"
    assert not (tmp_path / "t" / "tests").exists()


def test_the_folder_of_a_case_with_everything(tmp_path: Path) -> None:
    written(tmp_path, "given/deep/a", 1)
    write_case(
        a_case(
            files={"one": "t", "two/b": tmp_path / "given/deep/a", "three": tmp_path / "given"},
            checks=[LOOKS], scripts={"s.py": "x"}, graders={"g": tmp_path / "given"},
            answer_file="answer.txt", expectations=["e"], expected_output="o",
            triggers=Triggers(("a",), ("b",), True), untrusted_programs=True,
        ),
        tmp_path / "t",
    )  # fmt: skip
    root = tmp_path / "t"
    files = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert files == {
        "task.toml", "instruction.md", "environment/Dockerfile", "environment/files/one",
        "environment/files/two/b", "environment/files/three/deep/a", "tests/checks.json",
        "tests/test.sh", "tests/run_checks.py", "tests/s.py", "tests/files/g/deep/a",
    }  # fmt: skip
    checks = json.loads((root / "tests/checks.json").read_text())
    assert checks == {"answer": "answer.txt", "checks": [LOOKS.model_dump(mode="json")]}
    # The digest of a task is that of its files.
    assert (root / "task.toml").read_text() == (
        'schema_version = "1.4"\n\n[metadata]\ncategory = "s"\nuntrusted_programs = true\n'
        'answer_file = "answer.txt"\nexpectations = ["e"]\nexpected_output = "o"\n'
        'opened = ["a"]\nnot_opened = ["b"]\nno_others_opened = true\n'
    )
    assert (root / "tests/checks.json").read_text() == json.dumps(checks, indent=1) + "\n"
    assert (root / "tests/test.sh").read_text().endswith('"$TESTS_DIR/run_checks.py"\n')
    task = read_task(root)
    assert (task.family, task.answer_file, task.untrusted_programs) == ("s", "answer.txt", True)
    assert (task.expectations, task.expected_output) == (("e",), "o")
    assert task.triggers == Triggers(("a",), ("b",), True)


@pytest.mark.parametrize(
    ("changes", "name", "only_triggers", "outside"),
    [
        ({}, "s-i", False, False),
        ({"suite": ""}, "i", False, False),
        ({"triggers": Triggers()}, "s-i", True, False),
        ({"triggers": Triggers(), "checks": [LOOKS]}, "s-i", False, False),
        ({"triggers": Triggers(), "expectations": ["e"]}, "s-i", False, False),
        ({"triggers": Triggers(), "expected_output": "o"}, "s-i", False, False),
        ({"checks": [CommandCheck(label="l", command="cat /tmp/x")]}, "s-i", False, True),
        ({"checks": [CommandCheck(label="l", command="cat /var/tmp/x")]}, "s-i", False, True),
        ({"checks": [CommandCheck(label="l", command="cat tmp/x ./tmp/y /tmp")]}, "s-i", False,
         False),
        ({"scripts": {"a": "open('/tmp/x')"}}, "s-i", False, True),
    ],
)  # fmt: skip
def test_what_a_case_says_of_itself(
    changes: dict[str, Any], name: str, only_triggers: bool, outside: bool
) -> None:
    case = a_case(**changes)
    assert (case.name, case.only_triggers, case.outside) == (name, only_triggers, outside)


def test_what_cannot_be_copied_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="w: a: cannot be copied"):
        write_case(a_case(files={"a": tmp_path / "missing"}), tmp_path / "t")


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({"given/in": "deep"}, None),
        ({"given/up": "../given/deep"}, None),
        ({"given/out": "../../outside"}, r"given/out: a link that leads out of .*; copy the file"),
        ({"given/deep/out": "/etc"}, r"given/deep/out: a link that leads out"),
        ({"given": "../outside"}, r"outside: a link that leads out"),
    ],
)
def test_what_a_case_brings_along_has_no_links_that_lead_out(
    links: dict[str, str], said: str | None, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    if "given" not in links:
        (root / "given" / "deep").mkdir(parents=True)
    for name, target in links.items():
        (root / name).symlink_to(target)
    if said is None:
        assert fixture(root, "given/", "w") == root / "given"
    else:
        with pytest.raises(TaskError, match=f"^w: .*{said}"):
            fixture(root, "given", "w")
    with pytest.raises(TaskError, match=r"^w: .*root/none: no such file; add it or take it out$"):
        fixture(root, "none", "w")


def test_cases_are_written_into_a_folder_that_is_named_by_their_content(tmp_path: Path) -> None:
    made = tmp_path / "deep" / "made"
    first = write_cases([a_case(), a_case(id="j")], made)
    assert first.parent == made and re.fullmatch("evals-[0-9a-f]{16}", first.name)
    assert sorted(path.name for path in first.iterdir()) == ["s-i", "s-j"]
    assert write_cases([a_case(), a_case(id="j")], made) == first
    others = [
        write_cases([a_case()], made),
        write_cases([a_case(), a_case(id="j")], made, BaseImage("own:1")),
    ]
    assert len({first, *others}) == 3 == len(list(made.iterdir()))
    assert "FROM own:1" in (others[1] / "s-j" / "environment" / "Dockerfile").read_text()


def test_files_of_a_case_are_placed_beside_each_other(tmp_path: Path) -> None:
    written(tmp_path, "one/a", 1)
    written(tmp_path, "two/b", 2)
    files = {"deep/x": "t", "deep": tmp_path / "one", "./deep/": tmp_path / "two"}
    write_case(a_case(files=files), tmp_path / "t")
    placed = tmp_path / "t" / "environment" / "files" / "deep"
    assert {path.name: path.read_text() for path in placed.iterdir()} == {
        "x": "t", "a": "1", "b": "2",
    }  # fmt: skip
    with pytest.raises(TaskError, match=r"^w: '\.\./x' must be a relative path"):
        write_case(a_case(files={"../x": "t"}), tmp_path / "u")
