"""The game engine's process without the engine: how it is started, asked and ended."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from skillopt.tasks.benchmarks.alfworld import benchmark as alfworld
from skillopt.tasks.benchmarks.alfworld import engine as program
from skillopt.tasks.benchmarks.alfworld import engines
from skillopt.tasks.benchmarks.alfworld.benchmark import (
    AlfWorldOptions,
    entry_id,
    game_id,
    read,
    task,
)
from skillopt.tasks.benchmarks.alfworld.engines import EngineError, EngineServer
from skillopt.tasks.benchmarks.alfworld.game import Play
from skillopt.tasks.benchmarks.alfworld.score import Judge
from skillopt.tasks.benchmarks.base import Kept
from skillopt.tasks.harbor import TaskError


class Machine:
    """Starts processes that answer by a function, and ends them."""

    def __init__(self) -> None:
        self.started: list[tuple[list[str], dict[str, Any]]] = []
        self.ends: list[socket.socket] = []
        self.killed: list[tuple[int, int]] = []
        self.waited: list[float | None] = []
        self.at_exit: list[Any] = []
        self.answer: bytes | None = b'{"game": "g"}\n'
        self.error: Exception | None = None
        self.code: int | None = 3
        self.words = b""
        self.gone = False

    def start(self, argv: list[str], **options: Any) -> Any:
        self.started.append((argv, options))
        if self.error:
            raise self.error
        end = socket.socket(fileno=os.dup(options["stdin"]))
        if self.answer is not None:
            end.sendall(self.answer)
        options["stdout"].write(self.words)
        options["stdout"].flush()
        self.ends.append(end)
        return SimpleNamespace(pid=4000 + len(self.ends), wait=self.wait)

    def wait(self, patience_s: float | None = None) -> int | None:
        self.waited.append(patience_s)
        if self.code is None and patience_s is not None:
            raise subprocess.TimeoutExpired("engine", patience_s)
        return self.code

    def kill(self, group: int, number: int) -> None:
        self.killed.append((group, number))
        if self.gone:
            raise ProcessLookupError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine()
    exits = SimpleNamespace(register=made.at_exit.append, unregister=made.at_exit.remove)
    monkeypatch.setattr(subprocess, "Popen", made.start)
    monkeypatch.setattr(os, "killpg", made.kill)
    monkeypatch.setattr(engines, "atexit", exits)
    yield made
    for end in made.ends:
        end.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_engine_is_started_once_in_a_group_of_its_own(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server = EngineServer(tmp_path / "engine.py")
    assert server.pid is None and server.request({"a": 1}) == {"game": "g"}
    assert json.loads(machine.ends[0].recv(100)) == {"a": 1} and server.pid == 4001
    machine.ends[0].sendall(b'{"code": null}\n')
    assert server.request({"b": 2}) == {"code": None} and len(machine.started) == 1
    (argv, options) = machine.started[0]
    assert argv == [sys.executable, "-P", str(tmp_path / "engine.py")]
    assert options["start_new_session"] and options["stderr"] is options["stdout"]
    own = {"ALFWORLD_DATA": str(tmp_path), "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    assert own.items() <= options["env"].items() and "OPENAI_API_KEY" not in options["env"]
    assert machine.at_exit == [server.close]
    server.close()
    assert server.pid is None and machine.at_exit == []
    assert machine.killed == [(4001, signal.SIGKILL)] and machine.waited == [5.0, None]
    server.close()
    assert len(machine.killed) == 1


def test_an_engine_that_is_silent_is_ended_at_once(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "REPLY_S", 0.02)
    machine.answer, machine.code = None, None
    server = EngineServer(tmp_path / "engine.py")
    before = descriptors()
    with pytest.raises(EngineError, match=r"has not answered within 0\.02 s"):
        server.request({"a": 1})
    assert server.pid is None and machine.waited == [0.0, None]
    machine.ends[0].close()
    assert descriptors() == before


@pytest.mark.parametrize(
    ("code", "words", "gone", "said"),
    [
        (3, b"", False, "the game engine ended: exit code 3$"),
        (3, b"odd\nlast \xff words\n\n", True, "ended: exit code 3, last \ufffd words$"),
        (3, b"x" * 400, False, f"exit code 3, {'x' * 300}$"),
        (None, b"words", False, "ended: it has closed its output, words$"),
    ],
)
def test_an_engine_that_ended_says_how(
    code: int | None, words: bytes, gone: bool, said: str, machine: Machine, tmp_path: Path
) -> None:
    machine.code, machine.words, machine.gone = code, words, gone
    server = EngineServer(tmp_path / "engine.py")
    server.request({"a": 1})
    machine.ends[0].close()
    with pytest.raises(EngineError, match=said):
        server.request({"a": 1})
    assert server.pid is None and len(machine.killed) == 1
    assert server.request({"a": 1}) == {"game": "g"} and server.pid == 4002
    server.close()


def test_an_engine_that_cannot_be_started_leaves_nothing_open(
    machine: Machine, tmp_path: Path
) -> None:
    machine.error = OSError("no memory")
    server, before = EngineServer(tmp_path / "engine.py"), descriptors()
    with pytest.raises(EngineError, match="the game engine cannot be started: no memory"):
        server.request({"a": 1})
    assert descriptors() == before and server.pid is None and machine.at_exit == []
    machine.error = None
    assert server.request({"a": 1}) == {"game": "g"}
    server.close()
    machine.ends[0].close()
    assert descriptors() == before


def test_a_game_is_made_as_the_public_evaluation_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapper(name: str) -> Callable[..., Any]:
        return lambda *given, **named: SimpleNamespace(
            load=lambda file: loaded.append((name, file)), made=(name, given, named)
        )

    loaded: list[Any] = []
    modules = {
        "textworld": {"EnvInfos": lambda **named: named},
        "textworld.envs.pddl": {"PddlEnv": wrapper("pddl")},
        "textworld.envs.wrappers": {"Limit": wrapper("limit")},
        "alfworld.agents.environment.alfred_tw_env": {"AlfredDemangler": wrapper("plain")},
    }
    for parent in ("textworld.envs", "alfworld", "alfworld.agents", "alfworld.agents.environment"):
        monkeypatch.setitem(sys.modules, parent, SimpleNamespace())
    for name, values in modules.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**values))
    name, (limited,), _ = program.started("file", 7).made
    assert name == "plain" and loaded == [("plain", "file")]
    name, (game,), options = limited.made
    assert (name, options) == ("limit", {"max_episode_steps": 7})
    assert game.made == ("pddl", ({"won": True, "admissible_commands": True},), {})


def test_what_games_need_is_loaded_before_they_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(program, "import_module", done.append)
    monkeypatch.setattr(program, "gc", SimpleNamespace(freeze=lambda: done.append("freeze")))
    program.loaded()
    assert sorted(done[:2]) == ["alfworld.agents.environment.alfred_tw_env", "textworld.envs.pddl"]
    assert done[2:] == ["freeze"]


GRAMMAR = '{"task": "Your task is to: put a mug in desk."}'
ID = "valid_seen:pick_and_place_simple-Mug-None-Desk-1:trial_T1"
PLACE = "json_2.1.1/valid_seen/pick_and_place_simple-Mug-None-Desk-1/trial_T1/game.tw-pddl"


def a_game(grammar: Any = GRAMMAR, problem: Any = "problem") -> bytes:
    return json.dumps({"grammar": grammar, "pddl_problem": problem}).encode()


def archive(file: Path, *names: str, content: bytes = b"") -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            packed.writestr(name, content or a_game())
    return file


def test_games_are_found_in_folders_and_their_archives(tmp_path: Path) -> None:
    game = tmp_path / PLACE
    game.parent.mkdir(parents=True)
    game.write_bytes(a_game())
    other = PLACE.replace("valid_seen", "train").replace("Mug", "Cup")
    archive(tmp_path / "b.zip", other, "x/readme.txt", f"{other}.txt")
    archive(tmp_path / "a.zip", PLACE.replace("T1", "T2"))
    one, two, three = read(tmp_path)
    row = {"task": "put a mug in desk", "kind": "pick_and_place_simple"}
    assert (one.id, one.row, one.files) == (ID, row, {"game.tw-pddl": game})
    assert (two.id, three.id) == (ID.replace("T1", "T2"), game_id(other))
    assert three.files == {"game.tw-pddl": a_game()} and three.row == row
    assert [item.id for item in read(tmp_path / "b.zip")] == [three.id]


@pytest.mark.parametrize(
    ("grammar", "goal"),
    [
        ('"Your task is to: put a mug in desk."', "put a mug in desk"),
        ('"Your task is to: put a mug in desk"', "put a mug in desk"),
        ('x Your task is to: look. at it.\\n" "Your task is to: b"', "b"),
    ],
)
def test_a_goal_is_in_the_games_grammar(grammar: str, goal: str, tmp_path: Path) -> None:
    (item,) = read(archive(tmp_path / "a.zip", PLACE, content=a_game(grammar)))
    assert item.row["task"] == goal


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"{", "JSONDecodeError"), (b"[]", "TypeError"), (b"{}", "KeyError"),
        (a_game(7), "TypeError"), (a_game("no task"), "ValueError: it names no task"),
        (a_game(problem=None), "ValueError: it names no task"),
        (json.dumps({"grammar": GRAMMAR}).encode(), "KeyError: 'pddl_problem'"),
    ],
)  # fmt: skip
def test_what_is_no_game_is_named(content: bytes, error: str, tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.zip", PLACE, content=content)
    with pytest.raises(TaskError, match=rf"a\.zip: {PLACE}: not a game: {error}.*is the download"):
        list(read(packed))


@pytest.mark.parametrize(
    "error",
    [OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError],
)
def test_an_archive_that_cannot_be_read_is_named(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_member(self: Any, name: str) -> bytes:
        raise error("odd")

    packed = archive(tmp_path / "a.zip", PLACE)
    monkeypatch.setattr(zipfile.ZipFile, "read", read_member)
    with pytest.raises(TaskError, match=r"a\.zip: odd; is the download complete"):
        list(read(packed))


@pytest.mark.parametrize(
    ("entry", "id"),
    [
        ("train:0001", "train:0001"), (PLACE, ID), (f"/x/y/{PLACE}", ID), (7, "7"),
        ({"id": "a"}, "a"), ({"id": "a", "gamefile": ""}, "a"), ({"gamefile": PLACE}, ID),
        ({"id": "a", "gamefile": PLACE}, ID),
    ],
)  # fmt: skip
def test_an_entry_names_a_game_by_its_id_or_file(entry: Any, id: str) -> None:
    assert entry_id(entry) == id


def test_a_game_becomes_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find_spec(name: str) -> bool:
        asked.append(name)
        return True

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    kept = Kept("g", {"task": "put it", "kind": "pick"}, tmp_path / "files", tmp_path / "shared")
    made = task(kept, AlfWorldOptions())
    assert asked == ["alfworld", "textworld", "fast_downward"]
    assert (made.name, made.family, made.agent_timeout_s) == ("g", "pick", 1800.0)
    assert (made.max_turns, made.led) == (60, False) and made.workspace is alfworld.workspace
    assert made.companion == Play(tmp_path / "files" / "game.tw-pddl", 50)
    assert made.verify == Judge()
    assert "Your task is to: put it.\n" in made.instruction
    assert "You have 50 commands." in made.instruction
    steps = task(kept, AlfWorldOptions(protocol="steps", max_steps=1))
    assert steps.led and steps.max_turns == 11 and "You have 1 commands." in steps.instruction
    for most in (0, -1):
        with pytest.raises(ValidationError):
            AlfWorldOptions(max_steps=most)
    alfworld.workspace(tmp_path)
    step = tmp_path / "step"
    assert step.stat().st_mode & 0o777 == 0o755
    assert step.read_bytes() == (Path(alfworld.__file__).parent / "step").read_bytes()


@pytest.mark.parametrize("lacking", ["alfworld", "textworld", "fast_downward"])
def test_each_package_of_the_engine_is_needed(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == lacking else name)
    kept = Kept("g", {"task": "put it", "kind": "pick"}, tmp_path, tmp_path)
    with pytest.raises(TaskError, match=rf"needs the package {lacking}: pip install"):
        task(kept, AlfWorldOptions())
