"""Programs that complete an agent's work before it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sandboxes.backend import Traits
from sandboxes.base import Limits, SandboxSpec
from sandboxes.errors import BackendError
from sandboxes.local_backend import LocalBackend
from skillopt.config.schema import TasksConfig
from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import Finish, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.finishing import FILES, Ending, check_images, ending, finish
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.sources import load_splits
from tests.helpers.scripted_sandbox import Act, Ended, ScriptedSandboxes, place

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

    programs = (Finish("a", first), Finish("b", second), Finish("c", slow, timeout_s=0.3))
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


class Images:
    """Environments that have any image."""

    def present(self, image: str) -> str:
        return f"id of {image}"


def scripted(folder: Path, act: Act, *programs: Finish) -> ScriptedSandboxes:
    (folder / "workspace").mkdir()
    made = ScriptedSandboxes(act)
    task = Task(name="t", instruction="", digest="d", finish=programs, env=(("A", "b"),))
    limits = Limits(77, 1.0, 5, 66)
    environments = cast(Environments, Images())
    site = VerifierSite(made)
    finish(task, folder / "workspace", site, environments, "the:1", folder, limits)
    return made


def nothing(folder: Path) -> None:
    (folder / "run.py").touch()


def test_a_program_has_its_files_beside_the_workspace(tmp_path: Path) -> None:
    def act(spec: SandboxSpec, argv: Sequence[str]) -> Ended:
        assert (place(spec, FILES) / "run.py").is_file()
        (place(spec, "/app") / "link").symlink_to("/etc/passwd")
        return Ended(stdout="out", stderr="err", code=4)

    made = scripted(
        tmp_path, act, Finish("a", nothing, timeout_s=9), Finish("b", nothing, image="own:1")
    )
    first, second = made.specs
    assert (first.image, second.image) == ("the:1", "id of own:1")
    assert (first.workdir, first.env, first.limits) == ("/app", {"A": "b"}, Limits(77, 1.0, 5, 66))
    assert first.single_command and [m.read_only for m in first.mounts] == [False, True]
    argv = ["python3", "-I", "/skillopt/finish/run.py"]
    assert made.runs == [(argv, 9), (argv, 600.0)]
    assert not (tmp_path / "workspace" / "link").is_symlink()
    assert ending(tmp_path, "a") == ending(tmp_path, "b") == Ending(4, "", "outerr")
    kept = tmp_path / "verifier" / "a.json"
    assert kept.read_text() == '{"exit_code": 4, "limit": ""}\n'


@pytest.mark.parametrize(
    ("ended", "end"),
    [
        (Ended(limit="disk"), Ending(0, "disk", "")),
        (Ended(limit="disk", timed_out=True), Ending(0, "time", "")),
        (Ended(stdout="x" * 19_999 + "y"), Ending(0, "", "x" * 19_999 + "y")),
        (Ended(stdout="yx" + "z" * 19_999), Ending(0, "", "x" + "z" * 19_999)),
    ],
)
def test_how_a_program_ended_is_kept(ended: Ended, end: Ending, tmp_path: Path) -> None:
    scripted(tmp_path, lambda spec, argv: ended, Finish("a", nothing))
    assert ending(tmp_path, "a") == end


@pytest.mark.parametrize(
    ("images", "program", "fits"),
    [(True, "own:1", True), (True, None, True), (False, None, True), (False, "own:1", False)],
)
def test_programs_with_an_image_need_a_backend_that_runs_it(
    images: bool, program: str | None, fits: bool
) -> None:
    programs = (Finish("a", nothing, program), Finish("b", nothing))
    task = Task(name="t", instruction="", digest="d", finish=programs)
    backend = cast(Traits, SimpleNamespace(images=images, name="local"))
    if fits:
        check_images(task, backend)
        return
    with pytest.raises(BackendError, match="task t is judged with own:1, and 'local' sandboxes"):
        check_images(task, backend)
