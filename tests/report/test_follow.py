"""Following a rollout: live from the wire and the agent's own transcript, or whole afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harnesses.protocols.base import Reply, ToolCall
from harnesses.protocols.registry import CODECS
from skillopt import evaluate
from skillopt.config.schema import Config
from skillopt.report.follow import Followed, Happening, find_rollout, follow
from skillopt.rollouts.store import RolloutStore
from skillopt.run.journal import read_records
from skillopt.run.records import RolloutRan
from tests.helpers.command_line import skillopt
from tests.helpers.small import small_config, trained
from tests.helpers.synthetic_run import synthetic_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("follow")).folder


def happenings(*arguments: Any) -> list[dict[str, Any]]:
    done = skillopt("show", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_finished_rollout_is_shown_whole_by_task_or_key(run: Path) -> None:
    ran = [r for r in read_records(run) if isinstance(r, RolloutRan)]
    told = happenings(run, "--follow", ran[-1].task)
    kinds = [one["kind"] for one in told]
    assert kinds[:2] == ["message", "message"] and kinds[-1] == "end"
    assert kinds.count("call") == kinds.count("result") >= 2
    assert told[-1]["who"] == "completed" and told[-1]["text"].startswith("reward ")
    assert happenings(run, "--follow", ran[-1].key[:16]) == told
    shown = skillopt("show", run, "--follow", ran[-1].task).stdout
    assert "→ shell: " in shown and "■ completed: reward " in shown


@pytest.mark.slow
def test_what_is_not_there_is_said(run: Path, tmp_path: Path) -> None:
    done = skillopt("show", run, "--follow", "no-such-task")
    assert done.returncode == 2
    assert "no-such-task: no such rollout" in done.stderr and "running: none" in done.stderr
    done = skillopt("show", tmp_path / "runs/x", "--follow", "y")
    assert done.returncode == 2 and "is a run?" not in done.stdout
    assert not (tmp_path / "runs").exists()


class Following:
    """The command on a rollout that runs; lines with the time at which they came."""

    def __init__(self, run: Path, rollout: str) -> None:
        self.lines: list[tuple[float, dict[str, Any]]] = []
        command = [sys.executable, "-m", "skillopt", "show", str(run), "--follow", rollout]
        self.process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), json.loads(line)))

    def end(self) -> list[tuple[float, dict[str, Any]]]:
        self.reader.join(30)
        assert self.process.wait(10) == 0
        return self.lines


def under_way(config: Config, task: str) -> None:
    store = RolloutStore(config.runs / "store")
    end = time.monotonic() + 60
    while not [one for one in store.under_way() if one.task == task]:
        assert time.monotonic() < end, "no rollout began"
        time.sleep(0.02)


@pytest.mark.engine
@pytest.mark.parametrize("harness", ["codex", "claude-code"])
def test_steps_come_while_the_rollout_runs(harness: str, tmp_path: Path) -> None:
    config = small_config(tmp_path, harness, **{"upstreams.sim.latency_s": 1.0})
    tasks = {path.name for path in (tmp_path / "small" / "test").iterdir()}
    task = next(name for name in sorted(tasks) if name.startswith("logs"))
    ended: list[float] = []

    def evaluated() -> None:
        evaluate(config, {"none": None}, split="test")
        ended.append(time.monotonic())

    synthetic_run(config.runs / "any", steps=1, train=1, val=1, test=1, batch=1)
    worker = threading.Thread(target=evaluated)
    worker.start()
    under_way(config, task)
    lines = Following(config.runs / "any", task).end()
    worker.join()
    kinds = [one["kind"] for _, one in lines]
    assert kinds[-1] == "end" and lines[-1][1]["who"] == "completed"
    calls = [at for at, one in lines if one["kind"] == "call"]
    assert len(calls) >= 2
    # The first call is told more than a model's reply before all is over.
    assert calls[0] < lines[-1][0] - 1
    results = [one for _, one in lines if one["kind"] == "result"]
    assert len(results) == len(calls)
    # The program writes a result down before it shows it to the model, which takes a second.
    assert {one["source"] for one in results} == {"transcript"}
    assert not list((config.runs / "store").glob("*/*/under_way.json"))


def exchange(messages: list[dict[str, Any]], reply: Reply) -> str:
    body = {"model": "m", "messages": messages, "tools": [{"function": {"name": "shell"}}]}
    said = CODECS["chat"].write_response(reply, "m", "1")
    return json.dumps(
        {"protocol": "chat", "request": body, "response": said, "status": 200, "error": "",
         "started": 1.0, "ended": 2.0}
    )  # fmt: skip


def test_links_and_pipes_in_the_agents_home_are_not_followed(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path / "store")
    sessions = {"function_call_output": "yes", "other": "no"}
    secret = tmp_path / "secret"
    secret.mkdir()
    output = {"payload": {"type": "function_call_output", "call_id": "c1", "output": "private"}}
    (secret / "s.jsonl").write_text(json.dumps(output) + "\n")
    seen: list[Happening] = []
    with store.begin("ab" * 32) as folder:
        store.announce(folder, "ab" * 32, "task")
        home = folder / "home" / "sessions"
        home.mkdir(parents=True)
        (home / "link.jsonl").symlink_to(secret / "s.jsonl")
        (home / "folder").symlink_to(secret)
        os.mkfifo(home / "pipe.jsonl")
        (home / "odd.jsonl").write_text(
            "[]\nnull\n{\n" + "[" * 100_000 + "\n" + json.dumps(sessions)
        )
        call = Reply("\x1b[31mred", (ToolCall("c1", "shell", {"command": "ls"}),))
        (folder / "wire.jsonl").write_text(
            exchange([{"role": "user", "content": "go"}], call) + "\n"
        )
        found = find_rollout(tmp_path / "run", "abab")
        assert found == Followed("ab" * 32, folder, running=True)

        def end() -> None:
            while len(seen) < 3:
                time.sleep(0.01)
            shutil.rmtree(folder)

        threading.Thread(target=end, daemon=True).start()
        for one in bounded(follow(found)):
            seen.append(one)
    assert [one.kind for one in seen] == ["message", "message", "call", "end"]
    assert seen[-1].text == "it was cancelled"


def bounded(found: Iterator[Happening]) -> Iterator[Happening]:
    started = time.monotonic()
    for one in found:
        assert time.monotonic() - started < 20
        yield one


def test_what_agents_write_cannot_steer_the_terminal(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path / "store")
    folder = store.folder("cd" * 32)
    folder.mkdir(parents=True)
    reply = Reply("\x1b[31mred\x07")
    (folder / "wire.jsonl").write_text(exchange([{"role": "user", "content": "go"}], reply) + "\n")
    synthetic_run(tmp_path / "run", steps=1, train=2, val=2, test=1, batch=2)
    done = skillopt("show", tmp_path / "run", "--follow", "cdcd")
    assert "red" in done.stdout and "\x1b" not in done.stdout and "\x07" not in done.stdout
