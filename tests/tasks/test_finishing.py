"""Programs that complete an agent's work before it is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes.base import Limits
from sandboxes.local_backend import LocalBackend
from skillopt.config.schema import TasksConfig
from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import Finish, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.finishing import ending, finish
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.sources import load_splits

SOURCE = """
import hashlib
from skillopt import Finish, Reward, Task

def source(config, folder, text):
    def files(folder):
        (folder / "run.py").write_text(text)

    def judge(task, workspace, answer):
        return Reward(1.0)

    return {"train": [Task(name="t", instruction="Do it.", digest="d", verify=judge,
                           workspace=lambda folder: None, finish=(Finish("more", files),))]}
"""


def finished(task: Task, folder: Path) -> Path:
    (folder / "workspace").mkdir()
    backend = LocalBackend()
    site = VerifierSite(backend.sandbox)
    environments = Environments(backend)
    finish(task, folder / "workspace", site, environments, "", folder, Limits())
    return folder / "workspace"


def test_programs_run_in_order_and_leave_how_they_ended(tmp_path: Path) -> None:
    def first(folder: Path) -> None:
        (folder / "run.py").write_text("open('one', 'w').write('1'); print('done')")

    def second(folder: Path) -> None:
        (folder / "data").write_text("2")
        (folder / "run.py").write_text(
            "import os, pathlib, sys\n"
            "text = open('one').read() + (pathlib.Path(__file__).parent / 'data').read_text()\n"
            "open('two', 'w').write(text)\n"
            "os.symlink('/etc/passwd', 'link'); os.mkfifo('pipe')\n"
            "sys.exit('why it failed')\n"
        )

    def slow(folder: Path) -> None:
        (folder / "run.py").write_text("import time; time.sleep(60)")

    programs = (Finish("a", first), Finish("b", second), Finish("c", slow, timeout_s=0.5))
    task = Task(name="t", instruction="", digest="d", finish=programs)
    workspace = finished(task, tmp_path)
    assert {f.name: f.read_text() for f in workspace.iterdir()} == {"one": "1", "two": "12"}
    ends = [ending(tmp_path, name) for name in "abc"]
    assert [(end.exit_code, end.limit) for end in ends] == [(0, ""), (1, ""), (None, "time")]
    assert "done" in ends[0].output and "why it failed" in ends[1].output


def test_an_error_in_the_users_own_function_is_theirs(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        raise KeyError("mine")

    task = Task(name="t", instruction="", digest="d", finish=(Finish("more", broken),))
    with pytest.raises(OwnCodeError, match="finish more of task t"):
        finished(task, tmp_path)


def test_the_digest_of_a_task_covers_its_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "finishing_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)

    def digest(text: str) -> str:
        config = TasksConfig.model_validate(
            {"source": "finishing_source:source", "options": {"text": text}}
        )
        return load_splits(config, 7, tmp_path)["train"][0].digest

    assert digest("1") == digest("1") != digest("2")
