"""Judges a finished workspace: runs a task's hidden tests in a fresh sandbox and reads the reward.

A verifier that fails is never a reward of 0 by itself: :mod:`skillopt.tasks.judging` finds out who
is to blame.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

from sandboxes.base import CopyRefusedError, ExecResult, Limits, Mount, SandboxFactory, SandboxSpec
from skillopt.core.import_path import own_code, takes
from skillopt.core.types import Reward, Task
from skillopt.tasks.repositories import quiet_repositories
from skillopt.tasks.rewards import VerifierError as VerifierError
from skillopt.tasks.rewards import read_feedback, read_metrics, soft_reward
from skillopt.tasks.surroundings import Surroundings, surround
from skillopt.tasks.warm import Start, copy_home

Verify = Callable[..., Reward]
"""A user's own verifier: a function of the task, the workspace as the agent left it (hostile, but
without pipes and links out of it), the agent's final answer and, if it has a fourth parameter, the
rollout's folder, which contains ``trajectory.json``. It runs in this process, and an exception
stops the run."""

ERRORS = "test-stderr.txt"
"""File in the verifier's folder with the error output of the tests."""
ROOM_MB = 256
"""Disk space that a verifier has beyond what the agent had and what the tests take."""
SHOWN_LINES = 5
"""Lines of each output in the message about tests that gave no verdict."""

_RAISE = {
    "time": "raise verifier.timeout_sec in task.toml",
    "memory": "raise environment.memory_mb in task.toml, or sandbox.limits.memory_mb",
    "disk": "raise environment.storage_mb in task.toml, or sandbox.limits.disk_mb",
    "pids": "raise sandbox.limits.pids",
}
_MISSING = re.compile(
    r"([\w./+-]+): (?:command )?not found|\bexec (\S+) failed"
    r"|exec: \"([^\"]+)\": executable file not"
)


def verify(
    task: Task,
    workspace: Path,
    sandbox_factory: SandboxFactory,
    start: Start,
    record: Path,
    limits: Limits | None = None,
) -> Reward:
    """Run ``tests/test.sh`` on a workspace that no other process uses any more.

    The script runs in the task's working directory. ``TESTS_DIR`` and ``VERIFIER_LOGS`` name the
    folders of the tests and of its results: the first has a random name, unless the tests
    themselves name ``/tests``; the second is ``/logs/verifier`` in a container. If the task
    declares that it runs programs of the agent, ``$UNTRUSTED COMMAND`` runs them as another user,
    who can neither read the tests nor write the reward. The feedback is ``feedback.txt`` next to
    the reward, else the end of the output.

    Args:
        task: whose tests are run.
        workspace: what the agent left, as :func:`skillopt.tasks.links.clean_workspace` leaves it.
        sandbox_factory: makes the sandbox that they run in.
        start: their image, and what else they start with.
        record: host folder in which ``verifier/`` is created, with reward.json, feedback.txt,
            test-stdout.txt (all output) and test-stderr.txt.
        limits: that the agent had; by default the task's.

    Raises:
        VerifierError: the tests crashed, hung or wrote no valid reward.
        SandboxError: the sandbox failed.
    """
    folder = record / "verifier"
    folder.mkdir(parents=True)
    around = surround(task, folder)
    try:
        if not around.keeps_git_config():
            quiet_repositories(workspace)
        if start.home is not None:
            copy_home(start.home, around.home)
        reward = _verify(around, workspace, sandbox_factory, start, limits)
        if start.keep_home is not None:
            copy_home(around.home, start.keep_home)
        return reward
    finally:
        around.remove()


def verify_with(own: Verify, task: Task, workspace: Path, answer: str, folder: Path) -> Reward:
    """Judge with a user's own verifier.

    Raises:
        OwnCodeError: it raised, or returned something other than a reward in [0, 1].
        VerifierError: an infrastructure failure: the verifier raised this itself, or could not
            reach a service.
    """
    given = (task, workspace, answer, folder)
    what = f"verifier, on task {task.name}"
    try:
        with own_code(what, own, passing=(ConnectionError, TimeoutError)):
            reward = _plain(own(*given[: _parameters(own)]))
    except (ConnectionError, TimeoutError) as error:
        raise VerifierError(f"{what}: {type(error).__name__}: {error}") from error
    return reward


def _plain(reward: object) -> Reward:
    """A user's reward as plain numbers, whatever library they come from."""
    if not isinstance(reward, Reward):
        raise TypeError(f"it returned {reward!r}; return a skillopt.Reward in [0, 1]")
    soft = float(reward.soft)
    if not 0.0 <= soft <= 1.0:
        raise ValueError(f"it returned {reward!r}; return a skillopt.Reward in [0, 1]")
    metrics = {str(name): float(value) for name, value in dict(reward.metrics).items()}
    solved = None if reward.solved is None else bool(reward.solved)
    return Reward(soft, metrics, str(reward.feedback or ""), solved)


def check_verifier(own: Verify) -> None:
    """Refuse a verifier that cannot be called with the verifier's arguments.

    Raises:
        PluginError: it takes neither three nor four arguments.
    """
    takes(own, "verifier", *("task", "workspace", "answer", "rollout")[: _parameters(own)])


def _parameters(own: Verify) -> int:
    """How many of the four possible arguments a verifier takes."""
    try:
        inspect.signature(own).bind(*range(4))
    except (TypeError, ValueError):
        return 3
    return 4


def task_limits(task: Task, at_least: Limits | None = None) -> Limits:
    """The limits of a task's sandboxes: the larger of its own and of the given ones."""
    least = at_least or Limits(memory_mb=0, cpus=0, disk_mb=0)
    return Limits(
        max(least.memory_mb, task.memory_mb),
        max(least.cpus, task.cpus),
        least.pids,
        max(least.disk_mb, task.disk_mb),
    )


def _verify(
    around: Surroundings,
    workspace: Path,
    sandbox_factory: SandboxFactory,
    start: Start,
    limits: Limits | None,
) -> Reward:
    task, folder = around.task, around.folder
    agents = task_limits(task, limits)
    disk_mb = agents.disk_mb + around.tests_mb + ROOM_MB
    spec = SandboxSpec(
        image=start.image,
        workdir=task.workdir,
        mounts=(_judged(workspace, task), *around.mounts(start.keep_home is not None)),
        env=dict(task.env),
        limits=Limits(agents.memory_mb, agents.cpus, agents.pids, disk_mb),
        single_command=not task.untrusted_programs,
        root=task.verifier_root,
        keep_as=start.keep_as,
    )
    try:
        with sandbox_factory(spec) as box:
            env = around.env(box)
            result = box.run(around.argv(box), deadline_s=task.verifier_timeout_s, env=env)
    except CopyRefusedError as error:
        raise VerifierError(f"{task.name}: tests/test.sh: {error} ({_RAISE['disk']})") from error
    (folder / "test-stdout.txt").write_bytes(result.stdout + result.stderr)
    (folder / ERRORS).write_bytes(result.stderr)
    if attacked := around.attacked:
        return write_verdict(folder, Reward(0.0, {"reward": 0.0}, attacked))
    limit = "time" if result.timed_out else result.limit
    if limit:
        what = f"{task.verifier_timeout_s:g} s" if limit == "time" else f"its {limit} limit"
        raise VerifierError(
            f"{task.name}: tests/test.sh was stopped at {what} ({_RAISE.get(limit, 'raise it')})"
            f"{_last_lines(result)}"
        )
    try:
        metrics = read_metrics(around.logs)
        soft = soft_reward(metrics)
    except VerifierError as error:
        raise VerifierError(
            f"{task.name}: tests/test.sh {error} (exit code {result.exit_code})"
            f"{_advice(task, result)}{_last_lines(result)}"
        ) from None
    return write_verdict(folder, Reward(soft, metrics, read_feedback(around.logs, result)))


def _judged(workspace: Path, task: Task) -> Mount:
    return Mount(str(workspace), task.workdir, read_only=False, returned=False)


def write_verdict(folder: Path, reward: Reward) -> Reward:
    """Write a reward into the verifier's folder of a rollout, and return it."""
    (folder / "reward.json").write_text(json.dumps(reward.metrics) + "\n", encoding="utf-8")
    (folder / "feedback.txt").write_text(reward.feedback, encoding="utf-8")
    return reward


def _advice(task: Task, result: ExecResult) -> str:
    """What to do, if the reason is known why the tests gave no reward."""
    with (task.folder / "tests" / "test.sh").open("rb") as script:
        if script.readline().endswith(b"\r\n"):
            return "; it has CRLF line ends, with which no shell can run it: convert them to LF"
    said = (result.stderr + result.stdout).decode("utf-8", "replace")
    found = ["".join(groups) for groups in _MISSING.findall(said)]
    if result.exit_code != 127 or not found:
        return ""
    return f"; the image has no {found[-1]!r}: install it in environment/Dockerfile"


def _last_lines(result: ExecResult) -> str:
    """The end of what the tests wrote, for a message that outlives their folder; the errors first,
    which say why."""
    shown = []
    for name, output in (("stderr", result.stderr), ("stdout", result.stdout)):
        lines = output.decode("utf-8", "replace").strip().splitlines()[-SHOWN_LINES:]
        if lines:
            shown.append(f"{name}: " + " | ".join(line.strip()[:200] for line in lines))
    return f": {'; '.join(shown)}" if shown else ""
