"""ALFWorld: the public engine's own sessions, the reference's replies, and engines that fail."""

from __future__ import annotations

import json
import os
import re
import signal
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.agents.direct import Direct
from harnesses.base import Budget, ModelSpec, Outcome, Request, Status
from harnesses.protocols.base import Conversation, Reply
from sandboxes.base import Limits
from skillopt.config.schema import TasksConfig
from skillopt.core.types import Reward, Task, named_task
from skillopt.tasks.benchmarks.alfworld import engines
from skillopt.tasks.benchmarks.alfworld.benchmark import BENCHMARK, game_id
from skillopt.tasks.benchmarks.alfworld.benchmark import workspace as workspace_of
from skillopt.tasks.benchmarks.alfworld.engines import ENGINE, Engine, EngineError, EngineServer
from skillopt.tasks.benchmarks.alfworld.game import Game, Play
from skillopt.tasks.benchmarks.alfworld.score import Judge
from skillopt.tasks.benchmarks.alfworld.steps import sent
from skillopt.tasks.benchmarks.prepare import prepare
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.sources import load_splits
from tests.helpers.alfworld_games import PARITY, parity_game
from tests.helpers.benchmark_sets import write
from tests.helpers.lab import place
from tests.helpers.parity import parity
from tests.helpers.scripted_model import ScriptedAgentModel

WON = [
    "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "go to countertop 1",
    "move apple 1 to countertop 1",
]  # fmt: skip
"""Wins the game 'place'."""


@parity("alfworld-replies")
def test_replies(row: dict[str, Any]) -> None:
    found, expected = sent(row["input"]["reply"]), row["expected"]
    assert found.command == expected["sent"]
    assert found.valid == bool(expected["format_valid"])
    assert (found.fallback, found.recorded) == (expected["fallback"], expected["recorded"])


@pytest.mark.slow
@parity("alfworld-sessions")
def test_sessions(row: dict[str, Any], tmp_path: Path) -> None:
    given, expected = row["input"], row["expected"]
    start = json.loads((PARITY / given["game"] / "start.json").read_text())["start"]
    game = Play(parity_game(given["game"], tmp_path), given["max_steps"])(tmp_path)
    try:
        state = game.reply({})
        assert state["observation"] == start["obs"]
        assert state["admissible"] == [c for c in start["admissible"] if c != "help"]
        for step in expected["steps"]:
            state = game.reply({"command": step["cmd"]})
            assert state["observation"] == step["obs"]
            for key in ("score", "done", "won"):
                assert state[key] == step[key]
            assert len(state["admissible"]) == step["n_admissible"] - 1  # Without help.
        assert state["admissible"] == [c for c in expected["admissible_at_end"] if c != "help"]
    finally:
        game.close()
    record = json.loads((tmp_path / "game.json").read_text())
    assert [step["score"] for step in record["steps"]] == [s["score"] for s in expected["steps"]]
    reward = Judge()(named_task("t"), tmp_path, "", tmp_path)
    assert reward.hard == reward.soft == expected["hard"]


def judged(folder: Path) -> Reward:
    return Judge()(named_task("t"), folder, "", folder)


@contextmanager
def playing(name: str, folder: Path, max_steps: int = 50) -> Iterator[Game]:
    game = Play(parity_game(name, folder), max_steps)(folder)
    try:
        yield game
    finally:
        game.close()


@pytest.mark.slow
def test_whatever_an_agent_sends_has_an_answer(tmp_path: Path) -> None:
    with playing("place", tmp_path) as game:
        for command in (1, [], {"a": 1}, True, 0.5):
            assert "error" in game.reply({"command": command})
        for command in ("", "x" * 100_000, "look\nlook", "\ud800", "\0", "go to fridge 1\r\n  "):
            assert "observation" in game.reply({"command": command, "other": None})
        assert game.reply({})["step"] == 6 and game.reply({"command": None})["step"] == 6
        for command in WON:
            state = game.reply({"command": command})
        assert state["done"] and state["won"] and state["step"] == 11
        assert "over" in game.reply({"command": "look"})["error"]
        assert game.reply({"reply": "<action>look</action>"}) == {}
    reward = judged(tmp_path)
    assert (reward.hard, reward.metrics["steps"], reward.metrics["refused"]) == (1.0, 11, 6)
    assert not (tmp_path / "game.log").exists()


@pytest.mark.slow
def test_feedback_names_what_was_refused_and_not_the_way(tmp_path: Path) -> None:
    assert "not begun" in judged(tmp_path).feedback
    with playing("place", tmp_path, max_steps=4) as game:
        for command in ("put apple 1 on countertop 1", "look", "put apple 1 on countertop 1", "x"):
            game.reply({"command": command})
    reward = judged(tmp_path)
    assert (reward.hard, reward.soft) == (0.0, 0.0)
    assert "all 4 steps were used" in reward.feedback
    assert "3 of 4 commands were refused" in reward.feedback
    assert "'put apple 1 on countertop 1' (2 times), 'x'" in reward.feedback
    assert "fridge" not in reward.feedback


FAILING = {
    "ends": ("raise SystemExit('no game today')", "no game today"),
    "hangs": ("import time; time.sleep(60)", "has not answered within 1 s"),
    "closes its output": (
        "import os, time; os.closerange(0, 9); time.sleep(60)",
        "closed its output",
    ),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    "takes all memory": (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28)); 'x' * 2**30",
        "MemoryError",
    ),
}
IN_A_GAME = """\
import runpy, socket, sys
engine = runpy.run_path({engine!r})
def play(file, steps, channel):
    {failing}
engine["Games"]._begin.__globals__["play"] = play
engine["Games"](socket.socket(fileno=0)).serve()
"""
"""An engine whose games fail, not its own process."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineServer]:
    """The engine's process of this test alone."""
    server = EngineServer()
    monkeypatch.setattr(engines, "SERVER", server)
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["at its start", "in a game"])
@pytest.mark.parametrize("failing", FAILING)
def test_an_engine_that_fails_is_a_failure_of_the_infrastructure(
    failing: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "REPLY_S", 1.0 if failing == "hangs" else 20.0)
    monkeypatch.setattr(engines, "_LAST_WORDS_S", 1.0)
    program, said = FAILING[failing]
    if where == "in a game":
        program = IN_A_GAME.format(engine=str(ENGINE), failing=program)
    (tmp_path / "engine.py").write_text(program)
    server = EngineServer(tmp_path / "engine.py")
    monkeypatch.setattr(engines, "SERVER", server)
    outcome = rollout(tmp_path, [])
    assert outcome.status is Status.INFRA_ERROR
    assert "companion failed: EngineError" in outcome.message and said in outcome.message
    server.close()
    left = psutil.Process().children(recursive=True)
    assert not [p for p in left if str(tmp_path) in " ".join(p.cmdline())]


def processes(server: EngineServer) -> list[psutil.Process]:
    """Those of the games."""
    assert server.pid is not None
    return psutil.Process(server.pid).children()


@pytest.mark.slow
def test_a_game_that_is_killed_fails_alone(tmp_path: Path, server: EngineServer) -> None:
    (tmp_path / "other").mkdir()
    with playing("place", tmp_path) as game, playing("place", tmp_path / "other") as other:
        game.reply({"command": "look"})
        other.reply({"command": "look"})
        first, _ = sorted(processes(server), key=psutil.Process.create_time)
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="exit code -9"):
            game.reply({"command": "look"})
        assert other.reply({"command": "look"})["step"] == 2
    assert processes(server) == []


@pytest.mark.slow
def test_an_engine_that_is_killed_is_started_anew(tmp_path: Path, server: EngineServer) -> None:
    with playing("place", tmp_path) as game:
        game.reply({"command": "look"})
        assert server.pid is not None
        (process,) = processes(server)
        os.kill(server.pid, signal.SIGKILL)
        (tmp_path / "next").mkdir()
        failed = Engine(parity_game("place", tmp_path / "next"), 5, tmp_path / "log")
        with pytest.raises(EngineError, match="the game engine ended: exit code -9"):
            failed.answer()
        failed.close()
        with playing("place", tmp_path / "next") as other:
            assert other.reply({"command": "look"})["step"] == 1
            with pytest.raises(EngineError, match="the game engine ended: exit code -9"):
                game.reply({"command": "look"})
            assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
            game.close()
            assert other.reply({"command": "look"})["step"] == 2


@pytest.mark.slow
def test_an_engine_ends_with_the_trainer_and_has_none_of_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: EngineServer
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    engine = Engine(parity_game("place", tmp_path), 5, tmp_path / "log")
    engine.answer()
    assert server.pid is not None
    process, (game,) = psutil.Process(server.pid), processes(server)
    assert "OPENAI_API_KEY" not in process.environ()
    server._control.close()  # As when the trainer is killed.
    assert process.wait(10) == 0
    assert not game.is_running()
    engine.close()


def replies(commands: Sequence[str]) -> ScriptedAgentModel:
    """A model whose replies are of the chat protocol; then it gives none of its form."""

    @dataclass
    class Chat(ScriptedAgentModel):
        prompts: list[str] = field(default_factory=list)

        def _reply(self, shown: Conversation, turn: int) -> Reply:
            self.prompts.append(shown.messages[-1].text)
            asked = len(self.prompts) - 1
            if asked >= len(commands):
                return Reply("Well.")
            return Reply(f"<think>so</think><action>{commands[asked]}</action>")

    return Chat([])


def rollout(
    folder: Path,
    commands: Sequence[str],
    max_steps: int = 50,
    model: Any = None,
    harness: Direct | None = None,
    **fields: Any,
) -> Outcome:
    """A rollout in direct chat, by the chat protocol if nothing else is said."""
    for name in ("record", "workspace"):
        (folder / name).mkdir()
    workspace_of(folder / "workspace")
    request = Request(
        id="r1", instruction="Play.", image="", workspace=folder / "workspace", workdir="/app",
        skill=None, model=ModelSpec("up", "m"), timeout_s=60.0, limits=Limits(), budget=Budget(),
        seed=1, env={}, record=folder / "record",
        companion=Play(parity_game("place", folder), max_steps)(folder / "record"),
        **{"led": True, **fields},
    )  # fmt: skip
    with place(model or replies(commands)) as site:
        return (harness or Direct()).run(request, site)


@pytest.mark.slow
def test_the_chat_protocol(tmp_path: Path) -> None:
    model = replies(["go to cabinet 1", "look", *WON])
    outcome = rollout(tmp_path, [], model=model)
    assert (outcome.status, outcome.usage.requests) == (Status.COMPLETED, 7)
    first, second, third, fourth = model.prompts[:4]  # type: ignore[attr-defined]
    assert "Your task is to: put a apple in countertop." in first
    assert "'go to fridge 1'" in first and "'help'" not in first
    assert "[Observation 1: '-= Welcome" in second and "Action 1: 'go to cabinet 1']" in second
    assert "Observation 1" in third and "Observation 2" in third
    assert "Observation 1" not in fourth and "Action 3: " in fourth
    assert all("Your task is to: put a apple in countertop." in p for p in model.prompts)  # type: ignore[attr-defined]
    assert judged(tmp_path / "record").hard == 1.0
    assert outcome.trajectory is not None
    assert sum(step.source == "agent" for step in outcome.trajectory.steps) == 7


@pytest.mark.slow
def test_replies_without_an_action_are_looks_and_counted(tmp_path: Path) -> None:
    outcome = rollout(tmp_path, ["go to fridge 1"], max_steps=4)
    assert (outcome.status, outcome.usage.requests) == (Status.COMPLETED, 4)
    reward = judged(tmp_path / "record")
    assert (reward.hard, reward.metrics["fallbacks"], reward.metrics["steps"]) == (0.0, 3, 4)
    assert "3 replies had no action" in reward.feedback


@pytest.mark.slow
def test_direct_chat_plays_by_the_program(tmp_path: Path) -> None:
    commands = ["./step", *(f"./step '{command}'" for command in ["fly", *WON, "look"])]
    model = ScriptedAgentModel(commands)
    outcome = rollout(tmp_path, [], model=model, led=False)
    assert outcome.status is Status.COMPLETED, outcome.message
    assert "Your task is to: put a apple in countertop." in model.outputs[0]
    assert "Step 0 of 50." in model.outputs[0] and "go to fridge 1\n" in model.outputs[0]
    assert "Nothing happens." in model.outputs[1] and "Step 1 of 50." in model.outputs[1]
    assert "You have won. The game is over." in model.outputs[6]
    assert "no command counts any more" in model.outputs[7]
    assert judged(tmp_path / "record").hard == 1.0


@pytest.mark.slow
def test_a_game_may_take_more_turns_than_direct_chat_has_by_itself(tmp_path: Path) -> None:
    for turns, status in ((6, Status.COMPLETED), (5, Status.AGENT_ERROR)):
        model, folder = ScriptedAgentModel(["true"] * 5), tmp_path / str(turns)
        folder.mkdir()
        harness = Direct(max_turns=2)
        outcome = rollout(folder, [], model=model, harness=harness, led=False, max_turns=turns)
        assert outcome.status is status


def made(folder: Path, **options: object) -> dict[Any, tuple[Task, ...]]:
    download, splits = write("alfworld", folder)
    ids = BENCHMARK.split_ids(json.loads(splits.read_text()))
    target = prepare(BENCHMARK, download, folder / "made", ids).folder
    config = {"source": "alfworld", "path": str(target), "options": options}
    return load_splits(TasksConfig.model_validate(config), 7, folder)


def test_no_file_of_the_game_is_in_the_workspace(tmp_path: Path) -> None:
    task = made(tmp_path)["train"][0]
    assert task.workspace is not None and task.companion is not None
    (tmp_path / "workspace").mkdir()
    task.workspace(tmp_path / "workspace")
    assert [file.name for file in (tmp_path / "workspace").iterdir()] == ["step"]
    assert "Your task is to: put a apple in countertop." in task.instruction
    assert task.family == "pick_and_place_simple"


def test_a_missing_engine_is_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TaskError, match=re.escape("pip install 'skillopt-harness[alfworld]'")):
        made(tmp_path)


def test_games_by_the_papers_names_their_files_or_both(tmp_path: Path) -> None:
    download, _ = write("alfworld", tmp_path)
    task = "look_at_obj_in_light-CD-None-DeskLamp-304"
    paper = f"json_2.1.1/train/{task}/trial_T20190907_185649_782438"
    (own,) = list(download.rglob("*900/*/game.tw-pddl"))
    target = download / paper
    target.mkdir(parents=True)
    (target / "game.tw-pddl").write_bytes(own.read_bytes())
    file = str(own.relative_to(download))
    splits = {
        "train": [{"id": "train:0001", "gamefile": f"{paper}/game.tw-pddl"}],
        "val": [{"id": "train:9000", "gamefile": file}],
        "test": ["json_2.1.1/valid_unseen/a-B-None-C-1/trial_T/game.tw-pddl"],
    }
    ids = BENCHMARK.split_ids({"splits": splits})
    assert ids["train"] == ("train:0001",) and ids["val"] == (game_id(file),)
    found = prepare(BENCHMARK, download, tmp_path / "made", ids)
    assert found.counts == {"train": 1, "val": 1, "test": 0}
    assert found.missing == ("valid_unseen:a-B-None-C-1:trial_T",)


def test_games_in_an_archive(tmp_path: Path) -> None:
    download, splits = write("alfworld", tmp_path)
    ids = BENCHMARK.split_ids(json.loads(splits.read_text()))
    whole = prepare(BENCHMARK, download, tmp_path / "of-folder", ids).folder
    packed = tmp_path / "json_2.1.3_tw-pddl.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in download.rglob("game.tw-pddl"):
            archive.write(file, file.relative_to(download))
    same = prepare(BENCHMARK, packed, tmp_path / "of-archive", ids).folder
    for split in ids:
        assert (whole / f"{split}.jsonl").read_text() == (same / f"{split}.jsonl").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is the download complete?"), ("{}", "KeyError: 'grammar'"),
     ('{"grammar": "x", "pddl_problem": ""}', "names no task"), ("[1]", "not a game")],
)  # fmt: skip
def test_a_game_that_cannot_be_read(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "game.tw-pddl").write_text(content)
    with pytest.raises(TaskError, match=re.escape(said)):
        list(BENCHMARK.read(tmp_path))
    (tmp_path / "a.zip").write_text("no archive")
    with pytest.raises(TaskError, match=r"a\.zip"):
        list(BENCHMARK.read(tmp_path / "a.zip"))


def test_a_damaged_archive_of_games(tmp_path: Path) -> None:
    download, _ = write("alfworld", tmp_path)
    packed = tmp_path / "games.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in download.rglob("game.tw-pddl"):
            archive.write(file, file.relative_to(download))
    content = packed.read_bytes()
    packed.write_bytes(content[:3000] + bytes(500) + content[3500:])
    with pytest.raises(TaskError, match=r"games\.zip: .*is the download complete"):
        list(BENCHMARK.read(packed))


def test_a_download_without_games(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no game\.tw-pddl"):
        list(BENCHMARK.read(tmp_path))


PIECES = st.sampled_from(
    ["<action>", "</action>", "<ACTION>", "</ACTION>", "<think>", "</think>", "look", " ", "\n",
     "Go To bed 1", "想", "İ", "K"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_reply_comes_to_one_command(reply: str) -> None:
    found = sent(reply)
    action = re.search(r"<action>(.*?)</action>", reply.strip(), re.DOTALL)
    if action is None:
        assert (found.command, found.recorded) == ("look", "look")
        assert found.fallback == ("no-action" if reply.strip() else "empty")
    else:
        assert found.fallback is None and found.recorded == action[1].strip()
        assert found.command == found.command.strip().lower()
        first, closed = reply.find("<action>"), reply.find("</action>")
        if reply.strip() == reply.strip().lower() and closed > first:
            assert found.command == found.recorded
