"""Tries tasks for their authors: whether the solution solves them, whether doing nothing fails,
whether the reward can be taken without work, and whether the tests always say the same."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandboxes.base import Mount, SandboxSpec
from sandboxes.owner import scratch_dir
from sandboxes.trees import remove_tree
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments, handed_image
from skillopt.tasks.harbor import has_tests, only_triggers
from skillopt.tasks.judging import VerifierSite, run_tests
from skillopt.tasks.links import clean_workspace
from skillopt.tasks.needs import programs_of
from skillopt.tasks.traps import TRAPS, Trap
from skillopt.tasks.validate import Problem
from skillopt.tasks.verifier import ERRORS, task_limits
from skillopt.tasks.warm import Start

SOLUTION = "/solution"
_SAID = 500
"""Characters of an output's end in a message."""
_ASK_S = 60.0
_WHICH = """\
command -v bash > /dev/null || { echo bash; exit; }
exec bash -c 'for p; do command -v -- "$p" > /dev/null || echo "$p"; done' bash "$@"
"""
"""Prints those of its arguments that are neither programs nor parts of bash."""


@dataclass(frozen=True)
class Trial:
    """What came of trying a task.

    Args:
        problems: what is wrong with it.
        notes: what its author should know.
        seconds: of the ``solution`` and of the ``tests`` on its work, as far as they were run, with
            the start of their containers.
        missing: programs that scripts call and that the image lacks, of ``tests`` and ``solution``.
        solved: whether the solution gets the full reward; None without one, or if the tests gave
            no verdict or differing ones.
    """

    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    solved: bool | None = None


@dataclass(frozen=True)
class _Judged:
    """The verdicts of a task's tests on one work.

    Args:
        rewards: that they gave, one for each time they were run; None for no verdict.
        problem: why there was none, the first time.
        wanted: what they wanted and did not get, as the end of a message.
        printed: the end of their error output.
        work: what went wrong in the work itself, in words.
        seconds: by part, as for :class:`Trial`.
    """

    rewards: tuple[Reward | None, ...]
    problem: str
    wanted: str
    printed: str
    work: str
    seconds: Mapping[str, float]

    @property
    def flaky(self) -> bool:
        """Whether the verdicts differ."""
        return len({(r.soft, r.hard) if r else None for r in self.rewards}) > 1

    @property
    def hard(self) -> bool:
        """Whether the first verdict is the full reward."""
        return self.rewards[0] is not None and bool(self.rewards[0].hard)

    @property
    def verdicts(self) -> str:
        """All of them, in words."""
        return ", ".join("no verdict" if r is None else f"{r.soft:g}" for r in self.rewards)


def try_task(
    task: Task, environments: Environments, site: VerifierSite, *, repeat: int = 1
) -> Trial:
    """Run the task's solution, which must get the full reward; an empty run, which must not; and
    one that only leaves traps (see :mod:`skillopt.tasks.traps`), which should not.

    Args:
        task: whose ``solution/solve.sh``, if there is one, runs in the working directory.
        environments: provides its image and workspaces.
        site: makes the sandboxes of solution and verifier.
        repeat: how often the tests judge the solution's work, and the empty one.

    Raises:
        SandboxError: a sandbox failed, which says nothing about the task.
    """
    if task.question:
        return Trial(solved=True)  # Its answer is its solution.
    if only_triggers(task):
        said = "only asks which skills are opened: there is nothing to try without an agent"
        return Trial(notes=(Problem(task.name, said),))
    if not has_tests(task):
        said = "is judged by a model alone: there is nothing to try without one"
        return Trial(notes=(Problem(task.name, said),))
    task = environments.settled(task)
    missing = _missing(task, environments, site)
    notes, problems, solved = [], [], None
    if (task.folder / "solution" / "solve.sh").is_file():
        solved = _attempt(task, environments, site, _solution, repeat)
        problems += _unsolved(task, solved)
    else:
        notes.append("no solution/solve.sh, so nothing shows that it can be solved")
    empty = _attempt(task, environments, site, None, repeat)
    # The same reason twice says no more than once.
    again = solved is not None and solved.rewards[0] is None
    problems += [] if again and not empty.flaky else _passing(empty)
    found = [Problem(task.name, problem) for problem in problems]
    if not empty.hard and not again:
        found += _taken(task, environments, site)
    return Trial(
        problems=tuple(found),
        notes=tuple(Problem(task.name, note, warning=True) for note in notes),
        seconds=solved.seconds if solved else {"tests": empty.seconds["tests"]},
        missing=missing,
        solved=None if solved is None or solved.flaky or solved.rewards[0] is None else solved.hard,
    )


def _unsolved(task: Task, solved: _Judged) -> list[str]:
    """What is wrong if the solution's work does not always get the full reward."""
    if solved.flaky:
        return [f"its tests are flaky: on the same work, its solution's: {solved.verdicts}"]
    reward = solved.rewards[0]
    if solved.hard or reward is None:
        return [f"{solved.problem}{solved.wanted}"] if reward is None else []
    what = f"its solution gets {reward.soft:g}, not 1: {reward.feedback[:_SAID]}"
    if solved.printed and solved.printed not in what:
        what += f"; stderr of its tests: {solved.printed}"
    return [f"{what}{solved.wanted}{f'; {solved.work}' if solved.work else ''}"]


def _passing(empty: _Judged) -> list[str]:
    """What is wrong with the verdicts on an empty run."""
    if empty.flaky:
        return [f"its tests are flaky: on the same work, an empty run's: {empty.verdicts}"]
    if empty.rewards[0] is None:
        return [f"{empty.problem}{empty.wanted}"]
    return ["an empty run gets the full reward"] if empty.hard else []


def _taken(task: Task, environments: Environments, site: VerifierSite) -> list[Problem]:
    """A warning for each kind of trap that takes the reward."""
    if not _takes(task, environments, site, TRAPS):
        return []
    taken = [trap.name for trap in TRAPS if _takes(task, environments, site, (trap,))]
    what = "; ".join(taken) or "several traps together"
    return [
        Problem(
            task.name,
            f"a run that only leaves traps gets the full reward: {what}. See 'What a verifier must "
            "not trust' in docs/add-a-benchmark.md",
            warning=True,
        )
    ]


def _takes(
    task: Task, environments: Environments, site: VerifierSite, traps: Sequence[Trap]
) -> bool:
    def plant(task: Task, image: str, workspace: Path, site: VerifierSite, handed: str) -> str:
        for trap in traps:
            trap.plant(task, workspace)
        return ""

    return _attempt(task, environments, site, plant).hard  # No verdict is scored 0.


_Work = Callable[[Task, str, Path, VerifierSite, str], str]
"""What an attempt does, from the task, its image, the workspace, the site, and the name under which
its container is to be kept for the verifier, if it is. Returns what went wrong, in words."""


def _attempt(
    task: Task,
    environments: Environments,
    site: VerifierSite,
    work: _Work | None = None,
    repeat: int = 1,
) -> _Judged:
    """Do a work, and let the tests judge it as often as asked."""
    with tempfile.TemporaryDirectory(dir=scratch_dir()) as name:
        scratch = Path(name)
        workspace = scratch / "workspace"
        image = environments.prepare(task, workspace)
        handed, wrong = "", ""
        try:
            if work is _solution and task.handover:
                handed = handed_image(task.name)
            began = time.monotonic()
            if work is not None:
                wrong = work(task, image, workspace, site, handed)
            seconds = {"solution": time.monotonic() - began} if work is _solution else {}
            clean_workspace(workspace, task.workdir, programs=True)
            start = Start(handed or environments.verifier_image(task, image))
            return _judge(task, workspace, site, start, scratch, repeat, wrong, seconds)
        finally:
            if handed:
                environments.discard(handed)
            remove_tree(workspace)


def _judge(
    task: Task,
    workspace: Path,
    site: VerifierSite,
    start: Start,
    scratch: Path,
    repeat: int,
    wrong: str,
    seconds: Mapping[str, float],
) -> _Judged:
    attempts, began = [], time.monotonic()
    for number in range(repeat):
        last = number + 1 == repeat
        judged = workspace if last else scratch / f"workspace-{number}"
        if not last:  # The tests may change what they judge.
            shutil.copytree(workspace, judged, symlinks=True)
        attempts.append(run_tests(task, judged, site, start, scratch / str(number)))
        if not last:
            remove_tree(judged)
    errors = scratch / "0" / "verifier" / ERRORS
    return _Judged(
        rewards=tuple(attempt.reward for attempt in attempts),
        problem=attempts[0].problem,
        wanted=attempts[0].wanted(frozenset()),
        printed=_end(errors.read_bytes()) if errors.is_file() else "",
        work=wrong,
        seconds={**seconds, "tests": (time.monotonic() - began) / repeat},
    )


def _solution(task: Task, image: str, workspace: Path, site: VerifierSite, handed: str) -> str:
    """Run the task's solution. It may fail and have solved the task: the tests decide."""
    mounts = (
        Mount(str(workspace), task.workdir, read_only=False),
        Mount(str(task.folder / "solution"), SOLUTION),
    )
    spec = SandboxSpec(
        image,
        task.workdir,
        mounts,
        dict(task.env) | dict(task.solution_env),
        task_limits(task),
        single_command=True,
        root=task.root,
        keep_as=handed,
    )
    with site.sandbox(spec) as box:
        argv = ["bash", f"{box.path(SOLUTION)}/solve.sh"]
        result = box.run(argv, deadline_s=task.agent_timeout_s)
    if result.exit_code == 0 and not result.timed_out:
        return ""
    how = (
        f"was stopped after {task.agent_timeout_s:g} s (agent.timeout_sec in task.toml)"
        if result.timed_out
        else f"ended with exit code {result.exit_code}"
    )
    return f"{task.folder / 'solution' / 'solve.sh'}: {how}: {_end(result.stderr)}"


def _missing(
    task: Task, environments: Environments, site: VerifierSite
) -> dict[str, tuple[str, ...]]:
    """The programs that the scripts of a task call and that its images lack, by part."""
    image = environments.image(task)
    images = {"tests": environments.verifier_image(task, image), "solution": image}
    rights = {"tests": task.verifier_root, "solution": task.root}
    found = {}
    for part, of_part in images.items():
        if called := programs_of(task.folder / part):
            spec = SandboxSpec(
                of_part, task.workdir, env=dict(task.env), single_command=True, root=rights[part]
            )
            with site.sandbox(spec) as box:
                said = box.run(["sh", "-c", _WHICH, "sh", *called], deadline_s=_ASK_S)
            if names := tuple(said.stdout.decode("utf-8", "replace").split()):
                found[part] = names
    return found


def _end(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()[-_SAID:]
