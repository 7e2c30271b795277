"""Judges a finished workspace: runs a task's hidden tests in a fresh sandbox and reads the reward.

A verifier that fails is an infrastructure failure and never a reward of 0.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from sandboxes.base import ExecResult, Limits, Mount, Sandbox, SandboxFactory, SandboxSpec
from sandboxes.trees import remove_tree
from skillopt.core.errors import SkillOptError
from skillopt.core.import_path import own_code, takes
from skillopt.core.types import Reward, Task

Verify = Callable[..., Reward]
"""A user's own verifier: a function of the task, the workspace as the agent left it (hostile), the
agent's final answer and, if it has a fourth parameter, the rollout's folder, which contains
``trajectory.json``. It runs in this process; an exception stops the run."""

UNTRUSTED = Path(__file__).parent / "untrusted"
"""The scripts with which a verifier runs the agent's programs; their comments explain how."""
UNTRUSTED_SCRIPTS = "/opt/skillopt/untrusted"
UNTRUSTED_FOLDER = "/tmp/untrusted"
TESTS = "/tests"
LOGS = "/logs/verifier"
REWARD_BYTES = 64 * 1024
FEEDBACK_CHARS = 8_000
TAIL_CHARS = 2_000
SHOWN_LINES = 5
"""Lines of output in the message about tests that gave no verdict."""


class VerifierError(SkillOptError):
    """The verifier gave no verdict. The message describes what it did instead."""


def verify(
    task: Task, workspace: Path, sandbox_factory: SandboxFactory, image: str, record: Path
) -> Reward:
    """Run ``tests/test.sh`` on a workspace that no other process uses any more.

    The script runs in the task's working directory. ``TESTS_DIR`` and ``VERIFIER_LOGS`` name the
    folders of the tests and of its results; in a container these are ``/tests`` and
    ``/logs/verifier``. If the task declares that it runs programs of the agent, ``$UNTRUSTED
    COMMAND`` runs them as another user, who can neither read the tests nor write the reward. The
    feedback is ``feedback.txt`` next to the reward, else the end of the output.

    Args:
        task: whose tests are run.
        workspace: what the agent left.
        sandbox_factory, image: where they run.
        record: host folder in which ``verifier/`` is created, with reward.json, feedback.txt and
            test-stdout.txt.

    Raises:
        VerifierError: the tests crashed, hung or wrote no valid reward.
        SandboxError: the sandbox failed.
    """
    folder = record / "verifier"
    logs = folder / "logs"
    logs.mkdir(parents=True)
    # Mounted writable, they belong to the sandbox's user, and nobody else can read them.
    logs.chmod(0o700)
    try:
        return _verify(task, workspace, sandbox_factory, image, folder)
    finally:
        remove_tree(logs)
        remove_tree(folder / "tests")


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
    return Reward(soft, metrics, str(reward.feedback or ""))


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


def _verify(
    task: Task, workspace: Path, sandbox_factory: SandboxFactory, image: str, folder: Path
) -> Reward:
    logs = folder / "logs"
    spec = SandboxSpec(
        image=image,
        workdir=task.workdir,
        mounts=(
            Mount(str(workspace), task.workdir, read_only=False),
            *_tests(task, folder),
            Mount(str(logs), LOGS, read_only=False),
        ),
        env=dict(task.env),
        limits=Limits(memory_mb=task.memory_mb, cpus=task.cpus, disk_mb=task.disk_mb),
    )
    with sandbox_factory(spec) as box:
        env = {"TESTS_DIR": box.path(TESTS), "VERIFIER_LOGS": box.path(LOGS)}
        env |= dict(task.verifier_env) | _untrusted(task, box)
        argv = ["bash", f"{box.path(TESTS)}/test.sh"]
        result = box.run(argv, deadline_s=task.verifier_timeout_s, env=env)
    (folder / "test-stdout.txt").write_bytes(result.stdout + result.stderr)
    if result.timed_out or result.limit:
        what = f"its {result.limit} limit" if result.limit else f"{task.verifier_timeout_s:g} s"
        raise VerifierError(
            f"{task.name}: tests/test.sh was stopped at {what}{_last_lines(result)}"
        )
    try:
        metrics = _read_reward(logs)
        soft = _soft(metrics)
    except VerifierError as error:
        raise VerifierError(
            f"{task.name}: tests/test.sh {error} (exit code {result.exit_code})"
            f"{_last_lines(result)}"
        ) from None
    feedback = _feedback(logs, result)
    (folder / "reward.json").write_text(json.dumps(metrics) + "\n", encoding="utf-8")
    (folder / "feedback.txt").write_text(feedback, encoding="utf-8")
    return Reward(soft, metrics, feedback)


def _last_lines(result: ExecResult) -> str:
    """The end of what the tests wrote, for a message that outlives their folder."""
    written = (result.stdout + result.stderr).decode("utf-8", "replace").strip()
    lines = written.splitlines()[-SHOWN_LINES:]
    return ": " + " | ".join(line.strip()[:200] for line in lines) if lines else ""


def _tests(task: Task, folder: Path) -> tuple[Mount, ...]:
    """The tests as they are; or, if another user's programs run next to them, a copy that only the
    verifier's user can read, and the scripts that run those programs."""
    if not task.untrusted_programs:
        return (Mount(str(task.folder / "tests"), TESTS),)
    shutil.copytree(task.folder / "tests", folder / "tests")
    (folder / "tests").chmod(0o700)
    private = Mount(str(folder / "tests"), TESTS, read_only=False)
    return private, Mount(str(UNTRUSTED), UNTRUSTED_SCRIPTS)


def _untrusted(task: Task, box: Sandbox) -> dict[str, str]:
    """Let the verifier run the agent's programs as another user; returns the variables for that."""
    if not task.untrusted_programs:
        return {}
    if not box.spawn(["bash", f"{UNTRUSTED_SCRIPTS}/serve", UNTRUSTED_FOLDER]):
        return {"UNTRUSTED": "env"}  # env runs a command as it is.
    return {"UNTRUSTED": f"{UNTRUSTED_SCRIPTS}/run", "UNTRUSTED_FOLDER": UNTRUSTED_FOLDER}


def _read_reward(logs: Path) -> dict[str, float]:
    """``reward.json``, a flat object of finite numbers, else ``reward.txt``, a single one."""
    content = _read(logs / "reward.json", REWARD_BYTES)
    if content is None:
        content = _read(logs / "reward.txt", REWARD_BYTES)
        if content is None:
            raise VerifierError("wrote neither reward.json nor reward.txt")
        try:
            return {"reward": _finite("reward.txt", float(content))}
        except ValueError:
            raise VerifierError(f"wrote no number into reward.txt: {content[:80]!r}") from None
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise VerifierError(f"wrote no valid JSON into reward.json: {content[:80]!r}") from None
    if not isinstance(values, dict) or not values:
        raise VerifierError("wrote no object of numbers into reward.json")
    return {key: _finite(f"reward.json: {key}", value) for key, value in values.items()}


def _finite(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VerifierError(f"wrote something other than a number into {where[:80]}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise VerifierError(f"wrote {number} into {where[:80]}")
    return number


def _soft(metrics: dict[str, float]) -> float:
    """``reward`` if there is one; else the mean, which for a single number is that number."""
    soft = metrics.get("reward", sum(metrics.values()) / len(metrics))
    if not 0.0 <= soft <= 1.0:
        raise VerifierError(f"gave a reward of {soft:g}, which is not between 0 and 1")
    return soft


def _feedback(logs: Path, result: ExecResult) -> str:
    content = _read(logs / "feedback.txt", 4 * FEEDBACK_CHARS)
    if content is not None:
        return content.decode("utf-8", "replace")[:FEEDBACK_CHARS].strip()
    return result.stdout.decode("utf-8", "replace").strip()[-TAIL_CHARS:]


def _read(path: Path, limit: int) -> bytes | None:
    """At most ``limit`` bytes of a regular file; None if there is none, or a link or device."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(limit)
