"""Answers that a user's own function or command judges, and question folders that name a scorer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.core.import_path import OwnCodeError, PluginError
from skillopt.core.types import Reward, Task, named_task
from skillopt.tasks.answers import ByCommand, judge_maker
from skillopt.tasks.generated import whole_folder
from skillopt.tasks.harbor import TaskError, read_task, read_tasks
from skillopt.tasks.importing import write_folders
from skillopt.tasks.rewards import VerifierError
from skillopt.tasks.verifier import verify_with
from tests.tasks.rows import splits_of, write

TASK = Task(name="t", instruction="2+2?", digest="d")
MODULE = """
from skillopt import Reward

def length(reply, expected, *, wanted=1):
    return len(reply) == wanted

def share(reply, expected):
    return reply.count(expected) / len(reply)

def told(reply, expected):
    return Reward(0.5, feedback="half")

def text(reply, expected):
    return "good"

def raises(reply, expected):
    raise KeyError(reply)
"""


def judged(name: str, answer: str, expected: Any = "4", **options: Any) -> Reward:
    judge = judge_maker(name, options, "here")(expected)
    return verify_with(judge, TASK, Path(), answer, Path())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_scores.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_scores", raising=False)
    return "own_scores"


@pytest.mark.parametrize(
    ("name", "options", "answer", "soft"),
    [
        ("length", {}, "4", 1), ("length", {"wanted": 2}, "4", 0), ("share", {}, "44 4", 0.75),
        ("told", {}, "x", 0.5),
    ],
)  # fmt: skip
def test_a_function(own: str, name: str, options: dict[str, Any], answer: str, soft: float) -> None:
    assert judged(f"{own}:{name}", answer, **options).soft == soft


@pytest.mark.parametrize(
    ("name", "message"), [("text", "it returned 'good'; return a truth"), ("raises", "KeyError")]
)
def test_a_function_that_fails_is_an_error_of_the_users(own: str, name: str, message: str) -> None:
    with pytest.raises(OwnCodeError, match=message):
        judged(f"{own}:{name}", "x")


def test_a_function_that_is_not_there(own: str) -> None:
    with pytest.raises(PluginError, match=r"here: .*nothing"):
        judge_maker(f"{own}:nothing", {}, "here")
    changed = judge_maker(f"{own}:share", {}, "here")("4").identity
    assert changed != judge_maker(f"{own}:length", {}, "here")("4").identity


def program(tmp_path: Path, body: str) -> str:
    file = tmp_path / "score.py"
    file.write_text(f"import json, os, sys, time\ngiven = json.load(sys.stdin)\n{body}\n")
    return f"command: {sys.executable} {file}"


@pytest.mark.parametrize(
    ("body", "soft", "feedback"),
    [
        ("print(0.25)", 0.25, ""),
        ("print('noise'); print(1)", 1, ""),
        ("print(json.dumps({'score': 0.5, 'feedback': 'half'}))", 0.5, "half"),
        ("sys.exit(given['answer'] != given['expected'])", 1, ""),
        ("sys.exit(1)", 0, ""),
        ("print(0); sys.exit(1)", 0, ""),
        ("assert given['prompt'] == '2+2?'", 1, ""),
        ("print(int('OPENAI_API_KEY' in os.environ))", 0, ""),
    ],
)
def test_a_command(
    body: str, soft: float, feedback: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    reward = judged(program(tmp_path, body), "4")
    assert (reward.soft, reward.feedback) == (soft, feedback)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('broken')", "ended with 1: broken"),
        ("raise KeyError('x')", "ended with 1: .*KeyError"),
        ("sys.exit(3)", "ended with 3"),
        ("print('good')", "printed 'good'; it must print a number"),
        ("print('NaN')", "it must print a number"),
        ("print('{\"score\": true}')", "it must print a number"),
        ("print(2)", "it must print a number"),
    ],
)
def test_a_command_that_fails_is_no_score(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OwnCodeError, match=message):
        judged(program(tmp_path, body), "4")


def test_a_command_that_does_not_end_is_a_failure_of_infrastructure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skillopt.tasks.answers.SECONDS", 0.2)
    with pytest.raises(VerifierError, match=r"took more than 0.2 s"):
        judged(program(tmp_path, "time.sleep(60)"), "4")


@pytest.mark.parametrize(
    ("command", "message"),
    [("no-such-program", "'no-such-program' is no program"), ("sh 'x", "No closing quotation")],
)
def test_a_command_that_cannot_be_run_is_said_before_any_rollout(
    command: str, message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        judge_maker(f"command: {command}", {}, "here")


ROWS = [
    ({"prompt": "n?", "answer": 3}, {"scorer": "numeric", "scorer_options": {"absolute": 1}}),
    ({"prompt": "c?", "choices": ["x", "y"], "answer": 1}, {"scorer": "choice"}),
    ({"prompt": "t?", "answer": ["a\nb", 'say "c"\x7f']}, {"scorer": "exact"}),
    ({"prompt": "j?", "answer": {"a": None, "b": [1.5, True]}}, {"scorer": "json"}),
    ({"prompt": "e?", "answer": "x"}, {"scorer": "command: grep -q x"}),
]


@pytest.mark.parametrize(("row", "options"), ROWS, ids=lambda value: value.get("scorer"))
def test_an_imported_row_is_judged_in_the_same_way(
    row: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    splits = splits_of(write(tmp_path / "rows.jsonl", [row]), tmp_path, **options)
    assert write_folders({None: splits["test"]}, tmp_path / "out") == 1
    (before,), (after,) = splits["test"], read_tasks(tmp_path / "out")
    assert after.question and after.instruction == before.instruction
    assert after.verify == before.verify


@pytest.mark.parametrize(
    ("metadata", "answer", "message"),
    [
        ('scorer = "numeric"', ("answer.json", "{"), "answer.json: not valid JSON"),
        ('scorer = "nope"', ("answer.txt", "4"), r"task.toml: metadata.scorer: 'nope' is not one"),
        ("", ("answer.json", "4"), r"task.toml: metadata.scorer: missing; it says how answer.json"),
        ("scorer_options = { absolute = 1 }", ("answer.txt", "4"), "metadata.scorer: missing"),
        ("scorer = 3", ("answer.txt", "4"), "metadata.scorer: expected str"),
    ],
)
def test_a_question_folder_that_cannot_be_judged(
    metadata: str, answer: tuple[str, str], message: str, tmp_path: Path
) -> None:
    folder = question(tmp_path, metadata, answer)
    with pytest.raises(TaskError, match=message):
        read_task(folder)


def test_a_question_folder_with_a_scorer(tmp_path: Path) -> None:
    task = read_task(question(tmp_path, 'scorer = "numeric"', ("answer.txt", "1000\n")))
    assert task.verify is not None and task.verify(task, Path(), "1,000").hard == 1
    plain = read_task(question(tmp_path / "plain", "", ("answer.txt", "1000\n")))
    assert plain.verify is None and plain.question


def question(tmp_path: Path, metadata: str, answer: tuple[str, str]) -> Path:
    folder = tmp_path / "how-many"
    (folder / "tests").mkdir(parents=True)
    (folder / "instruction.md").write_text("How many?\n")
    (folder / "task.toml").write_text(f"[metadata]\n{metadata}\n")
    (folder / "tests" / answer[0]).write_text(answer[1])
    return folder


def test_folders_are_written_all_or_none(tmp_path: Path) -> None:
    own = Task(name="own", instruction="", digest="d", verify=lambda *given: Reward(1))
    file = write(tmp_path / "rows.jsonl", [{"prompt": "p", "answer": "a"}])
    (task,) = splits_of(file, tmp_path)["test"]
    with pytest.raises(TaskError, match="task own: comes from a source of your own"):
        write_folders({"train": [task], "test": [own]}, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl"}
    (tmp_path / "out").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for there in ("out", "dangling"):
        with pytest.raises(TaskError, match=f"{there}: already exists"):
            write_folders({"train": [task]}, tmp_path / there)
    assert not [*(tmp_path / "out").iterdir()]
    assert write_folders({"train": []}, tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_appears_whole_or_not_at_all(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)), whole_folder(tmp_path / "out") as fresh:
        (fresh / "train").mkdir(parents=True)
        raise error
    assert not [*tmp_path.iterdir()]


class Command:
    """A command that ends as it is told."""

    def __init__(self, code: int = 0, said: bytes = b"", error: bytes = b"") -> None:
        self.end = SimpleNamespace(returncode=code, stdout=said, stderr=error)
        self.asked: list[tuple[list[str], dict[str, Any]]] = []

    def __call__(self, argv: list[str], **options: Any) -> Any:
        self.asked.append((argv, options))
        return self.end


def by_command(command: Any, monkeypatch: pytest.MonkeyPatch) -> Reward:
    monkeypatch.setattr(subprocess, "run", command)
    judge = ByCommand("score 'a b'", {"x": "\u00fc"})
    return judge(named_task("t"), Path(), "4")


@pytest.mark.parametrize(
    ("code", "said", "error", "soft", "feedback"),
    [
        (0, b"", b"odd", 1.0, ""), (1, b"", b"", 0.0, ""), (1, b"0.5", b"odd", 0.5, ""),
        (0, b" 0.25 \n", b"", 0.25, ""), (0, b"so\n1", b"", 1.0, ""), (0, b"0", b"", 0.0, ""),
        (0, b'{"score": 1, "feedback": "well"}', b"", 1.0, "well"),
        (0, b'{"score": 0.5,\n "feedback": null}', b"", 0.5, ""),
        (0, b'so\n{"score": 0.5, "feedback": 7}', b"", 0.5, "7"),
    ],
)  # fmt: skip
def test_what_a_command_says_is_the_reward(
    code: int, said: bytes, error: bytes, soft: float, feedback: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command = Command(code, said, error)
    reward = by_command(command, monkeypatch)
    assert (reward.soft, reward.feedback) == (soft, feedback)
    ((argv, options),) = command.asked
    assert argv == ["score", "a b"] and options["timeout"] == 120
    asked = {"prompt": named_task("t").instruction, "answer": "4", "expected": {"x": "\u00fc"}}
    assert json.loads(options["input"]) == asked
    assert options["capture_output"] and not options["check"] and "env" in options


@pytest.mark.parametrize(
    ("code", "said", "error", "message"),
    [
        (2, b"1", b"", "score 'a b': ended with 2: $"), (-1, b"", b"", "ended with -1"),
        (1, b"", b"so\n  odd\xff", "ended with 1: so odd\ufffd$"),
        (3, b"", b"y" + b"x" * 500, f": {'x' * 500}$"),
        (0, b"good", b"", "printed 'good'; it must print a number"),
        (0, b"z" * 600, b"", f"printed '{'z' * 500}'; it"),
        *((0, said, b"", "it must print a number")
          for said in (b"true", b"1.01", b"-0.01", b"NaN", b'"1"', b"[1]", b"{}",
                       b'{"score": "1"}', b'{"score": false}', b"1\nso")),
    ],
)  # fmt: skip
def test_what_is_no_reward_is_the_users_error(
    code: int, said: bytes, error: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OwnCodeError, match=message):
        by_command(Command(code, said, error), monkeypatch)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd")])
def test_a_command_that_does_not_start_is_the_users_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: list[str], **options: Any) -> Any:
        raise error

    with pytest.raises(OwnCodeError, match=f"score 'a b': cannot be run: {error}"):
        by_command(run, monkeypatch)
