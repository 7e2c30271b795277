"""What a verifier's sandbox gets, what is kept of its run, and what finishes work before it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.base import CopyRefusedError, Limits, SandboxSpec
from sandboxes.errors import BackendError
from sandboxes.local_backend import LocalBackend
from skillopt.core.import_path import PluginError
from skillopt.core.types import Finish, Reward, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.finishing import FILES, Ending, check_images, ending, finish
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.repositories import quiet_repositories
from skillopt.tasks.surroundings import HOME, clean_env
from skillopt.tasks.verifier import VerifierError, check_verifier, verify, verify_with
from skillopt.tasks.warm import Start
from tests.helpers.scripted_sandbox import Ended, ScriptedSandboxes, place
from tests.helpers.tasks import make_task
from tests.helpers.values import a_task


class Run:
    """One run of a task's tests, which end as they are told."""

    def __init__(self, folder: Path, ended: Ended | Exception = Ended(1.0)) -> None:  # noqa: B008
        self.folder, self.ended = folder, ended
        self.task = read_task(make_task(folder / "task", "true\n"))
        self.boxes = ScriptedSandboxes(self.act)
        self.home: list[str] = []

    def act(self, spec: SandboxSpec, argv: Any) -> Ended:
        home = place(spec, HOME)
        self.home = sorted(path.name for path in home.iterdir())
        (home / "left").touch()
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended

    def verify(self, start: Start = Start("image:1"), **options: Any) -> Reward:  # noqa: B008
        (self.folder / "workspace").mkdir()
        task: Task = replace(self.task, **options.pop("task", {}))
        return verify(
            task, self.folder / "workspace", self.boxes, start, self.folder / "record", **options
        )


def test_what_the_sandbox_of_a_verifier_gets(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.verify(task={"env": (("A", "1"),), "verifier_root": True, "cpus": 3.0})
    (spec,) = run.boxes.specs
    assert (spec.image, spec.workdir, spec.keep_as) == ("image:1", "/app", "")
    assert dict(spec.env) == {"A": "1"} and spec.root and spec.single_command
    # The agent's 64 MB, one for the tests, and room.
    assert (spec.limits.disk_mb, spec.limits.memory_mb, spec.limits.cpus) == (321, 1536, 3.0)
    mounts = {mount.target: mount for mount in spec.mounts}
    workspace = mounts["/app"]
    assert (workspace.source, workspace.read_only) == (str(tmp_path / "workspace"), False)
    assert not workspace.returned and not mounts[HOME].returned and not mounts[HOME].read_only
    assert run.boxes.runs[0][1] == 30.0
    assert sorted(path.name for path in (tmp_path / "record" / "verifier").iterdir()) == [
        "feedback.txt", "reward.json", "test-stderr.txt", "test-stdout.txt",
    ]  # fmt: skip


def test_the_limits_of_the_agent_are_a_verifiers_too(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.verify(limits=Limits(memory_mb=5000, cpus=0.5, pids=77, disk_mb=100))
    limits = run.boxes.specs[0].limits
    assert limits == Limits(memory_mb=5000, cpus=1.0, pids=77, disk_mb=100 + 1 + 256)


def test_a_verifier_that_runs_the_agents_programs_needs_more_than_one_command(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path)
    run.verify(task={"untrusted_programs": True})
    assert not run.boxes.specs[0].single_command and not run.boxes.specs[0].root


def test_a_home_is_taken_along_and_kept(tmp_path: Path) -> None:
    (tmp_path / "home" / "deep").mkdir(parents=True)
    (tmp_path / "home" / "file").touch()
    run = Run(tmp_path)
    start = Start("i", tmp_path / "home", "keep:1", tmp_path / "kept")
    run.verify(start)
    assert run.home == ["deep", "file"] and run.boxes.specs[0].keep_as == "keep:1"
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["deep", "file", "left"]
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["deep", "file"]
    assert {mount.target for mount in run.boxes.specs[0].mounts if mount.returned} >= {HOME}


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (CopyRefusedError("too large"), "tests/test.sh: too large (raise environment.storage"),
        (Ended(code=3), "wrote neither reward.json nor reward.txt (exit code 3)"),
        (Ended(code=127, stderr="x: jq: command not found"), "the image has no 'jq': install it"),
        (Ended(code=127, stderr="a: not found\nb: not found"), "the image has no 'b': install"),
        (Ended(code=127, stdout="exec make failed"), "the image has no 'make': install it"),
        (Ended(code=127, stderr='exec: "rg": executable file not found'), "no 'rg': install it"),
        (Ended(code=1, stderr="x: jq: command not found"), "(exit code 1): stderr: x: jq"),
        (Ended(code=127, stderr="oh"), "(exit code 127): stderr: oh"),
        (Ended(stderr="a\nb\nc\nd\ne\nf\n", stdout=" g \nh"),
         "(exit code 0): stderr: b | c | d | e | f; stdout: g | h"),
        (Ended(stdout="x" * 300), f"(exit code 0): stdout: {'x' * 200}"),
        (Ended(), "wrote neither reward.json nor reward.txt (exit code 0)"),
        (Ended(2.0), "gave a reward of 2, which is not between 0 and 1 (exit code 0)"),
    ],
)  # fmt: skip
def test_what_is_said_of_tests_without_a_verdict(
    ended: Ended | Exception, said: str, tmp_path: Path
) -> None:
    with pytest.raises(VerifierError) as error:
        Run(tmp_path, ended).verify()
    assert said in str(error.value) and str(error.value).startswith("task: tests/test.sh")
    if said.endswith(("x", "h", "(exit code 0)")):
        assert str(error.value).endswith(said)


@pytest.mark.parametrize(
    ("ended", "reward"), [(Ended(0.0), 0.0), (Ended(1.0), 1.0), (Ended(0.5, code=9), 0.5)]
)
def test_the_reward_counts_and_not_the_exit_code(
    ended: Ended, reward: float, tmp_path: Path
) -> None:
    run = Run(tmp_path, replace(ended, stdout="out", stderr="err"))
    found = run.verify()
    assert (found.soft, found.metrics, found.feedback) == (reward, {"reward": reward}, "out")
    kept = tmp_path / "record" / "verifier"
    assert (kept / "test-stdout.txt").read_text() == "outerr"
    assert (kept / "test-stderr.txt").read_text() == "err"


def takes_three(task: Task, workspace: Path, answer: str) -> Reward:
    return Reward(0.5, {"given": 3})


def takes_four(task: Task, workspace: Path, answer: str, rollout: Path) -> Reward:
    return Reward(0.5, {"given": 4})


def takes_any(*given: Any) -> Reward:
    return Reward(0.5, {"given": len(given)})


def takes_two(task: Task, workspace: Path) -> Reward:
    raise AssertionError


@pytest.mark.parametrize(("own", "given"), [(takes_three, 3), (takes_four, 4), (takes_any, 4)])
def test_how_many_arguments_a_users_own_verifier_gets(own: Any, given: int, tmp_path: Path) -> None:
    check_verifier(own)
    assert verify_with(own, a_task(), tmp_path, "", tmp_path).metrics == {"given": given}


def test_a_verifier_with_other_arguments_is_refused() -> None:
    with pytest.raises(PluginError, match="verifier"):
        check_verifier(takes_two)


def test_git_finds_no_settings_and_no_hooks() -> None:
    for hooks, count in ((True, "1"), (False, "2")):
        env = clean_env("/home/x", hooks=hooks)
        assert (env["HOME"], env["GIT_CONFIG_COUNT"]) == ("/home/x", count)
        assert (env["GIT_CONFIG_KEY_0"], env["GIT_CONFIG_VALUE_0"]) == ("core.fsmonitor", "false")
        assert env.get("GIT_CONFIG_KEY_1") == (None if hooks else "core.hooksPath")
        assert env.get("GIT_CONFIG_VALUE_1") == (None if hooks else "/dev/null")
        assert env["GIT_CONFIG_GLOBAL"] == "/home/x/.gitconfig"
        assert env["XDG_CONFIG_HOME"] == "/home/x/.config"
        assert env["PYTHONNOUSERSITE"] == env["PYTHONSAFEPATH"] == env["UV_NO_CONFIG"] == "1"


@pytest.mark.parametrize(
    ("config", "quiet"),
    [
        ("[core]\n\tbare = false\n\tpager = x\n", "[core]\n\tbare = false\n"),
        ("[CORE]\n  Bare=true\n", "[core]\n\tBare = true\n"),
        ("[core] bare = true\n", "[core]\n\tbare = true\n"),
        ("[core] pager = x\n", "[core]\n"),
        ("[core]\n\tbare\n", "[core]\n\tbare\n"),
        ('[remote "a b"]\n\turl = x\n\tvcs = y\n', '[remote "a b"]\n\turl = x\n'),
        ("[alias]\n\tbare = x\n[user]\n\tname = N\n", "[user]\n\tname = N\n"),
        ("[core]\n\teol = \\\n\tbare = x\n", "[core]\n\tbare = x\n"),
        ("bare = x\n[core]\n# note\n", "[core]\n"),
        ("[core]\n\tpager = x\n[alias]\n\tst = !y\n", "[core]\n"),
    ],
)
def test_settings_that_name_no_program_are_kept(config: str, quiet: str, tmp_path: Path) -> None:
    for beside in ("HEAD", "objects"):
        folder = tmp_path / beside / ".git"
        folder.mkdir(parents=True)
        (folder / beside).touch()
        for name in ("config", "config.worktree"):
            (folder / name).write_text(config)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "config").write_text(config)  # No repository's.
    quiet_repositories(tmp_path)
    for beside in ("HEAD", "objects"):
        for name in ("config", "config.worktree"):
            assert (tmp_path / beside / ".git" / name).read_text() == quiet
    assert (tmp_path / "plain" / "config").read_text() == config


def test_the_first_megabyte_of_settings_is_kept(tmp_path: Path) -> None:
    (tmp_path / "HEAD").touch()
    end = "[core]\n\tbare = true\n"
    for more in (0, 1):
        # A byte too many, and the last value is cut.
        text = "#" * (1024 * 1024 - len(end) + more) + "\n" + end.removesuffix("\n")
        (tmp_path / "config").write_text(text)
        quiet_repositories(tmp_path)
        assert (
            tmp_path / "config"
        ).read_text() == f"[core]\n\tbare = {'tru' if more else 'true'}\n"
    (tmp_path / "config").write_bytes(b"[user]\n\tname = \xe4\n[alias]\n")
    quiet_repositories(tmp_path)
    assert (tmp_path / "config").read_text() == "[user]\n\tname = \ufffd\n"


def test_settings_that_are_quiet_are_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "HEAD").symlink_to("nowhere")
    (tmp_path / "config").write_text("[core]\n\tbare = false\n")
    before = (tmp_path / "config").stat().st_ino
    quiet_repositories(tmp_path)
    assert (tmp_path / "config").stat().st_ino == before
    (tmp_path / "real").write_text("[alias]\n")
    (tmp_path / "config").unlink()
    (tmp_path / "config").symlink_to("real")
    quiet_repositories(tmp_path)
    assert (tmp_path / "real").read_text() == "[alias]\n"
    assert not (tmp_path / "config").is_symlink() and (tmp_path / "config").read_text() == ""


class Present(Environments):
    """Environments that have every image."""

    def present(self, image: str) -> str:
        return f"id of {image}"


def a_program(folder: Path) -> None:
    (folder / "run.py").write_text("x")


def test_each_program_that_finishes_work_has_a_sandbox_of_its_own(tmp_path: Path) -> None:
    ends = [Ended(code=4, stdout="a" * 20_001, stderr="b"), Ended(limit="memory"),
            Ended(timed_out=True, limit="disk")]  # fmt: skip
    seen: list[str] = []

    def act(spec: SandboxSpec, argv: Any) -> Ended:
        seen.extend(path.name for path in place(spec, FILES).iterdir())
        (place(spec, "/app") / "link").symlink_to("/etc/passwd")
        return ends[len(seen) - 1]

    boxes = ScriptedSandboxes(act)
    programs = (Finish("one", a_program), Finish("two", a_program, image="own:1", timeout_s=7.0),
                Finish("three", a_program))  # fmt: skip
    task = replace(a_task(), workdir="/app", env=(("A", "1"),), finish=programs)
    (tmp_path / "workspace").mkdir()
    limits = Limits(memory_mb=77)
    finish(
        task, tmp_path / "workspace", VerifierSite(boxes), Present(LocalBackend()), "task:1",
        tmp_path, limits,
    )  # fmt: skip
    assert [spec.image for spec in boxes.specs] == ["task:1", "id of own:1", "task:1"]
    assert [argv for argv, _ in boxes.runs] == [["python3", "-I", f"{FILES}/run.py"]] * 3
    assert [deadline for _, deadline in boxes.runs] == [programs[0].timeout_s, 7.0,
                                                        programs[2].timeout_s]  # fmt: skip
    assert seen == ["run.py"] * 3 and not list((tmp_path / "workspace").iterdir())
    first = boxes.specs[0]
    assert (first.workdir, dict(first.env), first.limits) == ("/app", {"A": "1"}, limits)
    assert first.single_command and [mount.read_only for mount in first.mounts] == [False, True]
    assert ending(tmp_path, "one") == Ending(4, "", "a" * 19_999 + "b")
    assert ending(tmp_path, "two") == Ending(0, "memory", "")
    assert ending(tmp_path, "three") == Ending(0, "time", "")


def test_programs_with_images_need_sandboxes_that_run_some() -> None:
    backend = LocalBackend()
    check_images(replace(a_task(), finish=(Finish("one", a_program),)), backend)
    programs = tuple(Finish(name, a_program, image=f"{name}:1") for name in ("a", "b"))
    with pytest.raises(BackendError, match="task task-1 is judged with a:1, b:1, and 'local' sand"):
        check_images(replace(a_task(), finish=programs), backend)
