"""The program that runs the checks of an eval's task, on workspaces as agents leave them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.evals.inside import run_checks, run_program
from skillopt.tasks.evals.reading import read_evals
from tests.tasks.rows import splits_of, write

FILES = Path(__file__).parent / "files"


def run(tests: Path, workspace: Path) -> tuple[dict[str, float], str]:
    """Run the checks, in this process: the tests' copy of the program is the project's."""
    logs = workspace.with_name("logs")
    logs.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patched:
        for name, folder in (("TESTS", tests), ("WORKSPACE", workspace), ("LOGS", logs)):
            patched.setattr(run_checks, name, folder)
        run_checks.main()
    return json.loads((logs / "reward.json").read_text()), (logs / "feedback.txt").read_text()


def run_alone(tests: Path, workspace: Path) -> tuple[dict[str, float], str]:
    """The same as the program that it is."""
    logs = workspace.with_name("logs")
    logs.mkdir(exist_ok=True)
    argv = [sys.executable, "-I", str(tests / "run_checks.py")]
    env = {"PATH": os.environ["PATH"], "VERIFIER_LOGS": str(logs)}
    subprocess.run(argv, cwd=workspace, env=env, check=True)
    return json.loads((logs / "reward.json").read_text()), (logs / "feedback.txt").read_text()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("answer", "reward", "said"),
    [
        ("[PROJ-105] DATA: add a users migration", 1.0, ""),
        ("feat: add a users migration", 0.0, "exit code 1"),
        (None, 0.0, "exit code"),
    ],
)
def test_a_validator_with_the_skills_scripts(
    answer: str | None, reward: float, said: str, workspace: Path, tmp_path: Path
) -> None:
    file = FILES / "skillevaluation" / "commit-conventions" / "eval.yaml"
    task = next(t for t in read_evals([file], tmp_path / "made")[0] if "migration" in t.name)
    if answer is not None:
        (workspace / "response.txt").write_text(answer)
    # What an agent might leave to pass.
    (workspace / "scripts").mkdir()
    (workspace / "scripts" / "grade.py").write_text("raise SystemExit(0)")
    found, feedback = run(task.folder / "tests", workspace)
    assert found["reward"] == reward
    assert said in feedback


def test_a_validator_with_the_answer_in_the_environment(workspace: Path, tmp_path: Path) -> None:
    file = FILES / "skillevaluation" / "refund-policy" / "eval.yaml"
    task = read_evals([file], tmp_path / "made")[0][0]
    (workspace / "response.txt").write_text("It is non-refundable; I am sorry, it is our fault.")
    found, feedback = run(task.folder / "tests", workspace)
    assert found["reward"] == pytest.approx(2 / 3)
    assert (found, feedback) == run_alone(task.folder / "tests", workspace)
    assert feedback.startswith("no liability admission: exit code 1")


@pytest.mark.parametrize(("drafts", "reward"), [(["a"], 1.0), ([], 0.0)])
def test_an_assertion_in_python(
    drafts: list[str], reward: float, workspace: Path, tmp_path: Path
) -> None:
    file = FILES / "caliper" / "inbox-triage.eval.yaml"
    task = read_evals([file], tmp_path / "made")[0][0]
    for name in ("drafts", "outbox"):
        (workspace / name).mkdir()
    for name in drafts:
        (workspace / "drafts" / name).touch()
    found, feedback = run(task.folder / "tests", workspace)
    assert found["reward"] == reward
    assert ("no draft written" in feedback) == (not drafts)


SAME = hashlib.sha256(b"first").hexdigest()


@pytest.mark.parametrize(
    ("assertion", "passes"),
    [
        ({"type": "file_exists", "path": "a.json"}, True),
        ({"type": "file_exists", "path": "b.json"}, False),
        ({"type": "file_not_exists", "path": "b.json"}, True),
        ({"type": "file_not_exists", "path": "a.json"}, False),
        ({"type": "file_contains", "path": "a.json", "contains": "ITEMS"}, True),
        ({"type": "file_contains", "path": "b.json", "contains": "items"}, False),
        ({"type": "file_not_contains", "path": "a.json", "contains": "else"}, True),
        ({"type": "file_not_contains", "path": "b.json", "contains": "else"}, False),
        ({"type": "file_contains", "contains": "done"}, True),
        ({"type": "file_not_contains", "contains": "done"}, False),
        ({"type": "file_unchanged", "path": "kept.txt"}, True),
        ({"type": "file_unchanged", "path": "changed.txt"}, False),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n"}, True),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n", "equals": 2}, True),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n", "equals": 3}, False),
        ({"type": "json_path", "path": "a.json", "json_path": "items.1.n", "equals": True}, False),
        ({"type": "json_path", "path": "a.json", "json_path": "items.7.n"}, False),
        ({"type": "json_path", "path": "kept.txt", "json_path": "x"}, False),
        ({"type": "json_path_not_exists", "path": "a.json", "json_path": "items.7"}, True),
        ({"type": "json_path_not_exists", "path": "a.json", "json_path": "items"}, False),
        ({"type": "json_path_not_exists", "path": "b.json", "json_path": "items"}, False),
        ({"type": "git_clean"}, False),
        ("The file `a.json` exists", True),
        ("The file `deep.md` exists", True),
        ("The file `b.json` exists", False),
        ('The output contains "Done"', True),
        ('The output contains "undone" or "all"', True),
        ('The output contains "undone"', False),
    ],
    ids=str,
)
def test_assertions(assertion: Any, passes: bool, workspace: Path, tmp_path: Path) -> None:
    evals = tmp_path / "evals"
    (evals / "files").mkdir(parents=True)
    for name in ("kept.txt", "changed.txt"):
        (evals / "files" / name).write_text("first")
    one = {"id": 1, "prompt": "p", "expected_output": "", "assertions": [assertion]}
    one |= {"files": ["files/kept.txt", "files/changed.txt"]}
    (evals / "evals.json").write_text(json.dumps({"skill_name": "s", "evals": [one]}))
    (task,) = read_evals([evals / "evals.json"], tmp_path / "made")[0]
    (workspace / "a.json").write_text('{"items": [{"n": 1}, {"n": 2}]}')
    (workspace / "kept.txt").write_text("first")
    (workspace / "changed.txt").write_text("second")
    (workspace / "sub").mkdir()
    (workspace / "sub" / "deep.md").touch()
    (workspace / "response.txt").write_text("All done.")
    found, feedback = run(task.folder / "tests", workspace)
    assert (found["reward"] == 1.0) is passes
    assert bool(feedback) is not passes


@pytest.mark.parametrize(
    ("answer", "given", "metrics", "said"),
    [
        ("", None, (0.5, 4, 2), "two: b does not exist\nfour: the answer does not contain 'x'"),
        ("answer.txt", "an X", (0.75, 4, 3), "two: b does not exist"),
        ("answer.txt", None, (0.5, 4, 2), "two: b does not exist\nfour: the answer is not there"),
        ("answer.txt", "\xff", (0.5, 4, 2),
         "two: b does not exist\nfour: the answer does not contain 'x'"),
    ],
)  # fmt: skip
def test_the_reward_is_the_share_of_checks_that_pass(
    answer: str, given: str | None, metrics: tuple[float, int, int], said: str, workspace: Path
) -> None:
    file = {"kind": "file", "anywhere": False, "wanted": True}
    checks = [
        {**file, "label": "one", "path": "a"}, {**file, "label": "two", "path": "b"},
        {"kind": "command", "label": "three", "command": "true", "code": 0, "timeout_s": 5},
        {"kind": "text", "label": "four", "path": "", "texts": ["x"], "wanted": True},
    ]  # fmt: skip
    tests = workspace.with_name("tests")
    tests.mkdir()
    (tests / "checks.json").write_text(json.dumps({"answer": answer, "checks": checks}))
    (workspace / "a").touch()
    if given is not None:
        (workspace / "answer.txt").write_text(given, "latin-1")
    names = ("reward", "checks", "checks_passed")
    assert run(tests, workspace) == (dict(zip(names, metrics, strict=True)), said)


def test_so_much_of_a_file_and_of_an_answer_is_looked_at(workspace: Path) -> None:
    with (workspace / "large").open("wb") as file:
        file.truncate(20_000_001)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_checks, "WORKSPACE", workspace)
        assert len(run_checks.content("large") or "") == 20_000_000
        assert run_checks.content("a\0b") is None and run_checks.content("none") is None
    for length in (63_999, 64_000, 64_001):
        command = f"[ ${{#RESPONSE_TEXT}} = {min(length, 64_000)} ]"
        answer = "x" * length
        assert not checked("command", workspace, answer, command=command, code=0, timeout_s=5)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True), (1, True, False), (0, False, False), (True, True, True), ("1", 1, False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True), ([1, 2], [2, 1], False),
        (None, False, False), (None, None, True),
    ],
)  # fmt: skip
def test_which_values_are_the_same(one: Any, other: Any, same: bool) -> None:
    assert run_checks.equal(one, other) is run_checks.equal(other, one) is same


OUTPUTS = {"by": "output"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expected", "options", "answer", "reward", "said"),
    [
        ("assert f(1) == 2", {}, "def f(x): return x + 1", 1, ""),
        ("assert f(1) == 2", {}, "```\nx\n```\n~~~py\ndef f(x): return x + 1\n~~~", 1, ""),
        ("assert f(1) == 2", {}, "def f(x): return x", 0, "AssertionError"),
        ("assert f(1) == 2", {}, "raise SystemExit(0)", 0, "before its tests did"),
        ("assert f(1) == 2", {}, "def f(x): print(0)\n print(1)", 0, "IndentationError"),
        ("assert f(1) == 2", {}, None, 0, "there is no answer"),
        ("x = 1", {}, "print('a' * 10)", 1, ""),
        (["assert f(1)", "assert f(0)"], {}, "def f(x): return x", 0.5, "run 2"),
        ("3", OUTPUTS, "print(3)", 1, ""),
        ("3\n4", OUTPUTS, "print('3  ')\nprint('4\\n')", 1, ""),
        ("3", OUTPUTS, "print(4)", 0, "printed '4"),
        ("3", OUTPUTS, "print(3); raise KeyError('odd')", 0, "KeyError: 'odd'"),
        ([{"input": "4", "output": "8"}], OUTPUTS, "print(2 * int(input()))", 1, ""),
        (
            [{"input": "4", "output": "8"}, {"input": "x", "output": ""}], OUTPUTS,
            "print(2 * int(input()))", 0.5, "run 2",
        ),
        ("3", {"by": "output", "timeout_s": 1}, "while True: pass", 0, "took more than 1 s"),
        ("3", {"by": "output", "command": ["sh"], "suffix": ".sh"}, "echo $((1 + 2))", 1, ""),
        (
            "[ $x = 1 ]", {"command": ["sh", "-e"], "suffix": ".sh", "print": "echo {}"}, "x=1", 1,
            "",
        ),
    ],
)  # fmt: skip
def test_a_program(
    expected: Any, options: dict[str, Any], answer: str | None, reward: float, said: str,
    workspace: Path, tmp_path: Path,
) -> None:  # fmt: skip
    file = write(tmp_path / "rows.jsonl", [{"prompt": "Write it.", "answer": expected}])
    splits = splits_of(file, tmp_path / "made", scorer="program", scorer_options=options)
    (task,) = splits["test"]
    assert task.untrusted_programs
    if answer is not None:
        (workspace / task.answer_file).write_text(answer)
    found, feedback = run(task.folder / "tests", workspace)
    assert (found["reward"], said in feedback) == (reward, True)


def checked(kind: str, workspace: Path, answer: str | None = None, **values: Any) -> str:
    """What one check says of a workspace; empty if it passes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_checks, "WORKSPACE", workspace)
        patched.setattr(run_checks, "TESTS", workspace.parent)
        return run_checks.CHECKS[kind](values, answer)


@pytest.mark.parametrize(
    ("path", "anywhere", "wanted", "said"),
    [
        ("a.txt", False, True, ""),
        ("a.txt", False, False, "a.txt exists"),
        ("b.txt", False, True, "b.txt does not exist"),
        ("b.txt", False, False, ""),
        ("deep.txt", False, True, "deep.txt does not exist"),
        ("deep.txt", True, True, ""),
        ("deep.txt", True, False, "deep.txt exists"),
        ("none.*", True, True, "none.* does not exist"),
    ],
)
def test_whether_a_file_is_there(
    path: str, anywhere: bool, wanted: bool, said: str, workspace: Path
) -> None:
    (workspace / "a.txt").touch()
    (workspace / "sub").mkdir()
    (workspace / "sub" / "deep.txt").touch()
    assert checked("file", workspace, path=path, anywhere=anywhere, wanted=wanted) == said


@pytest.mark.parametrize(
    ("path", "texts", "wanted", "answer", "said"),
    [
        ("a.txt", ["HELLO"], True, None, ""),
        ("a.txt", ["bye"], True, None, "a.txt does not contain 'bye'"),
        ("a.txt", ["bye", "hello"], True, None, ""),
        ("a.txt", ["bye", "no"], True, None, "a.txt does not contain 'bye' or 'no'"),
        ("a.txt", ["hello"], False, None, "a.txt contains 'hello'"),
        ("a.txt", ["bye"], False, None, ""),
        ("b.txt", ["x"], False, "x", "b.txt is not there"),
        ("", ["x"], True, "an X", ""),
        ("", ["x"], True, "none", "the answer does not contain 'x'"),
        ("", ["x"], True, None, "the answer is not there"),
        ("sub", ["x"], True, None, "sub is not there"),
    ],
)
def test_whether_a_text_occurs(
    path: str, texts: list[str], wanted: bool, answer: str | None, said: str, workspace: Path
) -> None:
    (workspace / "a.txt").write_text("Say hello.")
    (workspace / "sub").mkdir()
    assert checked("text", workspace, answer, path=path, texts=texts, wanted=wanted) == said


@pytest.mark.parametrize(
    ("text", "keys", "wanted", "equals", "said"),
    [
        ('{"a": [1, 2]}', ["a", "1"], True, 2, ""),
        ('{"a": [1, 2]}', ["a", "-1"], True, 2, ""),
        ('{"a": [1, 2]}', ["a", "-2"], True, 1, ""),
        ('{"a": [1, 2]}', ["a", "-3"], True, None, "the answer has no '-3'"),
        ('{"a": [1, 2]}', ["a", "2"], True, None, "the answer has no '2'"),
        ('{"a": [1, 2]}', ["a", "2"], False, None, ""),
        ('{"a": [1, 2]}', ["a", "0"], False, None, "the answer has a.0"),
        ('{"a": {"0": 1}}', ["a", "0"], True, 1, ""),
        ('{"a": 1}', ["b"], True, None, "the answer has no 'b'"),
        ('{"a": 1}', ["a", "b"], False, None, ""),
        ('{"a": 1}', ["a"], True, 1.0, ""),
        ('{"a": 1}', ["a"], True, True, "the answer has 1 there and not True"),
        ('{"a": true}', ["a"], True, 1, "the answer has True there and not 1"),
        ('{"a": true}', ["a"], True, True, ""),
        ('{"a": {"x": 1, "y": 2}}', ["a"], True, {"y": 2, "x": 1}, ""),
        ("[", ["a"], True, None, "the answer is not JSON"),
        ("[" * 100_000, ["a"], True, None, "the answer is not JSON"),
        (None, ["a"], True, None, "the answer is not there"),
        ("[]", [], True, [], ""),
    ],
)
def test_whether_json_has_a_value(
    text: str | None, keys: list[str], wanted: bool, equals: Any, said: str, workspace: Path
) -> None:
    found = checked("json", workspace, text, path="", keys=keys, wanted=wanted, equals=equals)
    assert found == said
    if text is not None:
        (workspace / "a.json").write_text(text)
        again = checked("json", workspace, path="a.json", keys=keys, wanted=wanted, equals=equals)
        assert again == said.replace("the answer", "a.json")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("true", 0, ""),
        ("exit 3", 3, ""),
        ("exit 3", 0, "exit code 3"),
        ("echo so; echo  why >&2; exit 1", 0, "exit code 1: so why"),
        ('[ "$RESPONSE_TEXT" = "a b" ]', 0, ""),
        ('[ -d "$CHECKS_DIR/workspace" ] && [ "$PWD" = "$CHECKS_DIR/workspace" ]', 0, ""),
        ("cat", 0, ""),
        ("exec printf 'x%.0s' $(seq 400)", 1, "exit code 0: " + "x" * 300),
    ],
)
def test_whether_a_command_ends_as_wanted(
    command: str, code: int, said: str, workspace: Path
) -> None:
    found = checked("command", workspace, "a\0 b", command=command, code=code, timeout_s=5)
    assert found == said


def test_a_command_that_takes_too_long_is_ended(workspace: Path) -> None:
    found = checked("command", workspace, command="exec sleep 9", code=0, timeout_s=0.02)
    assert found == "took more than 0.02 s"


def test_graders_take_the_place_of_what_the_agent_left(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, outside = tmp_path / "files", tmp_path / "outside.txt"
    for name in ("folder/in", "of-a-folder", "of-a-link", "of-a-file", "new"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"ours {name}")
    outside.write_text("untouched")
    (workspace / "folder").mkdir()
    (workspace / "folder" / "theirs").touch()
    (workspace / "of-a-folder" / "x").mkdir(parents=True)
    (workspace / "of-a-link").symlink_to(outside)
    (workspace / "of-a-file").write_text("theirs")
    (workspace / "other").write_text("theirs")
    monkeypatch.setattr(run_checks, "TESTS", tmp_path)
    monkeypatch.setattr(run_checks, "WORKSPACE", workspace)
    run_checks.place_graders()
    assert outside.read_text() == "untouched" and (workspace / "other").read_text() == "theirs"
    for file in source.rglob("*"):
        if file.is_file():
            placed = workspace / file.relative_to(source)
            assert placed.read_text() == f"ours {file.relative_to(source)}"
            assert not placed.is_symlink()
    assert not (workspace / "folder" / "theirs").exists()
    monkeypatch.setattr(run_checks, "TESTS", tmp_path / "nothing")
    run_checks.place_graders()


CASE = {"tests": "", "input": "", "output": ""}
GIVEN = {"suffix": ".sh", "print": "echo {}", "command": ["sh"], "timeout_s": 5}


@pytest.mark.parametrize(
    ("program", "case", "said"),
    [
        ("echo 3", {"output": "3"}, ""),
        ("printf '3  \\r\\n\\n\\n'", {"output": "3\n"}, ""),
        ("echo 4", {"output": "3"}, "printed '4\\n'"),
        ("cat", {"input": "a\nb", "output": "a\nb"}, ""),
        ("echo why  not >&2; exit 2", {}, "ended with 2: why not"),
        ("kill -9 $$", {}, "took more than 5 s"),
        ("x=1", {"tests": "[ $x = 1 ]"}, ""),
        ("x=2", {"tests": "[ $x = 1 ] || exit 1"}, "ended with 1: "),
        ("exit 0", {"tests": "true"}, "ended before its tests did"),
        ("echo passed; exit 0", {"tests": "true"}, "ended before its tests did"),
        ("printf 'x%.0s' $(seq 400)", {}, "printed '" + "x" * 300 + "'"),
    ],
)
def test_what_is_wrong_with_a_program(
    program: str, case: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNTRUSTED", raising=False)
    monkeypatch.setenv("SECRET", "x")
    assert run_program.problem_of({**CASE, **case}, program, GIVEN, tmp_path) == said
    assert tmp_path.stat().st_mode & 0o777 == 0o755 and (tmp_path / "program.sh").is_file()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo 3", None),
        ("So:\n```sh\necho 4\n```\nno:\n~~~~\necho 3\n~~~~\n", None),
        ("```sh\necho 3\n```\nno:\n```\necho 4\n```\n", "printed '4"),
        (None, "there is no answer"),
    ],
)
def test_the_program_is_the_last_block_of_an_answer(
    answer: str | None, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [{**CASE, "output": "9"}, {**CASE, "output": "3"}]
    (tmp_path / "cases.json").write_text(json.dumps({**GIVEN, "cases": cases}))
    monkeypatch.setattr(run_program, "__file__", str(tmp_path / "run_program.py"))
    monkeypatch.chdir(tmp_path)
    if answer is not None:
        (tmp_path / "answer.txt").write_text(answer)
    if said is None:
        run_program.main(1)
        with pytest.raises(SystemExit, match="printed"):
            run_program.main(0)
    else:
        with pytest.raises(SystemExit, match=said):
            run_program.main(1)


def test_a_program_gets_none_of_the_verifiers_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("UNTRUSTED_FOLDER", "/their/own")
    monkeypatch.delenv("UNTRUSTED", raising=False)
    code, out, _ = run_program.run(["env"], "", 5, tmp_path)
    told = dict(line.split("=", 1) for line in out.splitlines())
    assert code == 0 and told["UNTRUSTED_FOLDER"] == "/their/own" and told["PATH"]
    assert "SECRET" not in told


@pytest.mark.parametrize(
    ("code", "ended"),
    [(0, 0), (1, 1), (-15, -15), (123, 123), (125, 125), (124, None), (137, None), (-9, None)],
)
@pytest.mark.parametrize("runner", ["/opt/run", None])
def test_how_a_program_is_run_and_which_codes_say_that_it_was_ended(
    code: int, ended: int | None, runner: str | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    called = list[tuple[list[str], dict[str, Any]]]()

    def call(argv: list[str], **options: Any) -> int:
        called.append((argv, options))
        options["stdout"].write(b"out \xff")
        options["stderr"].write(b"err")
        options["given"] = options["stdin"].read()
        return code

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.delenv("UNTRUSTED", raising=False)
    monkeypatch.delenv("UNTRUSTED_FOLDER", raising=False)
    if runner:
        monkeypatch.setenv("UNTRUSTED", runner)
    found = run_program.run(["sh", "a b"], "in\u00e4", 7, tmp_path)
    assert found == (ended, "out \ufffd", "err")
    ((argv, options),) = called
    limited = ["timeout", "-s", "KILL", "7", "bash", "-c", 'ulimit -f 16384; exec "$@"', "-"]
    assert argv == [runner or "env", *limited, "sh", "a b"]
    assert options["cwd"] == str(tmp_path) and options["given"] == "in\u00e4".encode()
    assert options["env"] == {"PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb", ["a", "b"]), ("a \t\n b\r\n", ["a", " b"]), ("\n\na\n\n \n", ["", "", "a"]),
        ("", []), ("\n \n", []), ("a\rb", ["a\rb"]),
    ],
)  # fmt: skip
def test_the_lines_of_an_output(text: str, lines: list[str]) -> None:
    assert run_program.lines(text) == lines
