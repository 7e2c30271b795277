"""What trying a task reports, for each way in which its solution, an empty run and traps end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.access import Visit
from sandboxes.base import SandboxSpec
from sandboxes.local_backend import LocalBackend
from skillopt.core.types import Task, Triggers
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.solving import Trial, try_task
from skillopt.tasks.traps import Trap
from tests.helpers.scripted_sandbox import Ended, ScriptedSandboxes, place
from tests.helpers.tasks import make_task

DONE = "done.txt"
Takes = Callable[[Path], bool]


class Tried:
    """A task that is tried in sandboxes in which nothing runs."""

    def __init__(self, folder: Path, *, solution: bool = True) -> None:
        make_task(folder / "task", "grep -q x y\n")
        if not solution:
            (folder / "task" / "solution" / "solve.sh").unlink()
        self.task = read_task(folder / "task")
        self.solves = Ended()
        """How the solution ends."""
        self.solved, self.empty = [Ended(1.0)], [Ended(0.0)]
        """How the tests end on the solution's work and on an empty run, each time."""
        self.trapped: Takes = lambda workspace: False
        """Whether traps in a workspace take the reward."""
        self.lacking = ""
        self.visits: list[Visit] = []
        self.boxes = ScriptedSandboxes(self.act)
        self.counts = {True: 0, False: 0}

    def act(self, spec: SandboxSpec, argv: Sequence[str]) -> Ended:
        if argv[0] == "sh":
            return Ended(stdout=self.lacking)
        workspace = place(spec, "/app")
        if argv[-1] == "/solution/solve.sh":
            (workspace / DONE).touch()
            return self.solves
        if any(workspace.iterdir()) and not (workspace / DONE).exists():
            return Ended(float(self.trapped(workspace)))
        done = (workspace / DONE).exists()
        (workspace / "left-by-the-tests").touch()
        ends = self.solved if done else self.empty
        self.counts[done] += 1
        return ends[min(self.counts[done], len(ends)) - 1]

    def run(self, repeat: int = 1, **changes: Any) -> Trial:
        site = VerifierSite(self.boxes, lambda: self.visits)
        task: Task = replace(self.task, **changes)
        return try_task(task, Environments(LocalBackend()), site, repeat=repeat)


def trap(name: str) -> Trap:
    return Trap(f"trap {name}", lambda task, workspace: (workspace / name).touch())


@pytest.fixture(autouse=True)
def few_traps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real ones are hundreds of files."""
    monkeypatch.setattr("skillopt.tasks.solving.TRAPS", (trap("a"), trap("b"), trap("c")))


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    return Tried(tmp_path)


@pytest.mark.parametrize(
    ("solved", "empty", "repeat", "problems", "solves"),
    [
        ([Ended(1.0)], [Ended(0.0)], 1, [], True),
        ([Ended(1.0)], [Ended(0.5)], 1, [], True),
        ([Ended(1.0)], [Ended(1.0)], 1, ["an empty run gets the full reward"], True),
        ([Ended(0.5, "bad", "yes")], [Ended(0.0)], 1,
         ["its solution gets 0.5, not 1: yes; stderr of its tests: bad"], False),
        ([Ended(0.5, "bad")], [Ended(0.0)], 1, ["its solution gets 0.5, not 1: bad"], False),
        ([Ended(0.5)], [Ended(0.0)], 1, ["its solution gets 0.5, not 1: "], False),
        # The tests say different things of the same work.
        ([Ended(1.0), Ended(0.5)], [Ended(0.0)], 2,
         ["its tests are flaky: on the same work, its solution's: 1, 0.5"], None),
        ([Ended(1.0), Ended()], [Ended(0.0)], 2,
         ["its tests are flaky: on the same work, its solution's: 1, no verdict"], None),
        ([Ended(1.0)], [Ended(0.0), Ended(0.0), Ended(0.25)], 3,
         ["its tests are flaky: on the same work, an empty run's: 0, 0, 0.25"], True),
        ([Ended(1.0), Ended(0.5)], [Ended(0.0)], 1, [], True),
        # No verdict: the same reason is not told twice.
        ([Ended()], [Ended()], 1, ["task: tests/test.sh wrote neither reward.json nor reward.txt"],
         None),
        ([Ended(1.0)], [Ended()], 1,
         ["task: tests/test.sh wrote neither reward.json nor reward.txt"], True),
        ([Ended()], [Ended(), Ended(1.0)], 2,
         ["task: tests/test.sh wrote neither reward.json nor reward.txt",
          "its tests are flaky: on the same work, an empty run's: no verdict, 1"], None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_task(
    tried: Tried,
    solved: list[Ended],
    empty: list[Ended],
    repeat: int,
    problems: list[str],
    solves: bool | None,
) -> None:
    tried.solved, tried.empty = solved, empty
    trial = tried.run(repeat)
    found = [problem.message for problem in trial.problems]
    # What ends in another way than the row says is the end of a message of several lines.
    assert [text[: len(begin)] for text, begin in zip(found, problems, strict=True)] == problems
    assert {problem.task for problem in trial.problems} <= {"task"}
    assert (trial.solved, trial.notes) == (solves, ())
    assert {*trial.seconds} == {"solution", "tests"}


@pytest.mark.parametrize(
    ("ends", "reward", "said"),
    [
        (Ended(), 1.0, None),
        (Ended(code=4, stderr=" oh "), 1.0, None),
        (Ended(code=4, stderr=" oh "), 0.5, "solve.sh: ended with exit code 4: oh"),
        (Ended(timed_out=True), 0.5, "solve.sh: was stopped after 60 s (agent.timeout_sec in task"),
        (Ended(code=4, stderr="x" * 600), 0.5, f"ended with exit code 4: {'x' * 500}"),
        (Ended(), 0.5, ""),
    ],
)
def test_how_a_solution_ended_is_told_if_it_does_not_solve_the_task(
    tried: Tried, ends: Ended, reward: float, said: str | None
) -> None:
    tried.solves, tried.solved = ends, [Ended(reward)]
    problems = tried.run().problems
    if said is None:
        assert not problems
    else:
        assert said in problems[0].message and ("solve.sh" in problems[0].message) is bool(said)


def test_tests_that_judge_no_solution_say_nothing_of_traps(tried: Tried) -> None:
    tried.solved, tried.trapped = [Ended()], lambda workspace: True
    (problem,) = tried.run().problems
    assert "wrote neither" in problem.message and not problem.warning


def test_tests_judge_a_work_once_unless_more_is_asked_for(tried: Tried) -> None:
    site = VerifierSite(tried.boxes, lambda: tried.visits)
    try_task(tried.task, Environments(LocalBackend()), site)
    assert tried.counts == {True: 1, False: 1}


def test_what_the_tests_wanted_is_told(tried: Tried) -> None:
    tried.visits = [Visit("a.org", 80, refused="not listed")]
    tried.solved = [Ended(0.5)]
    (problem,) = tried.run().problems
    assert (
        "its solution gets 0.5, not 1: ; the tests wanted a.org:80 (not listed)" in problem.message
    )
    tried.solved, tried.empty = [Ended(1.0)], [Ended()]
    (problem,) = tried.run().problems
    assert "reward.txt" in problem.message and "wanted a.org:80" in problem.message
    tried.solved = [Ended()]
    (problem,) = tried.run().problems
    assert "reward.txt" in problem.message and "wanted a.org:80" in problem.message


def test_a_task_without_a_solution_is_noted(tmp_path: Path) -> None:
    tried = Tried(tmp_path, solution=False)
    trial = tried.run()
    assert [note.message for note in trial.notes] == [
        "no solution/solve.sh, so nothing shows that it can be solved"
    ]
    assert trial.notes[0].warning and trial.notes[0].task == "task"
    assert (trial.problems, trial.solved, {*trial.seconds}) == ((), None, {"tests"})
    tried.empty = [Ended()]
    assert len(tried.run().problems) == 1


@pytest.mark.parametrize(
    ("takes", "said"),
    [
        (lambda workspace: False, None),
        (lambda workspace: (workspace / "b").exists(), "trap b"),
        (lambda workspace: not (workspace / "b").exists() or (workspace / "a").exists(),
         "trap a; trap c"),
        (lambda workspace: (workspace / "a").exists() and (workspace / "b").exists(),
         "several traps together"),
    ],
)  # fmt: skip
def test_traps_that_take_the_reward_are_named(tried: Tried, takes: Takes, said: str | None) -> None:
    tried.trapped = takes
    problems = tried.run().problems
    if said is None:
        assert not problems
    else:
        (problem,) = problems
        assert problem.warning and problem.task == "task"
        assert problem.message.startswith(
            f"a run that only leaves traps gets the full reward: {said}. See"
        )
    # Where doing nothing is enough, or nothing is judged, traps say nothing.
    tried.counts = {True: 0, False: 0}
    before = len(tried.boxes.runs)
    tried.empty = [Ended(1.0)]
    assert len(tried.run().problems) == 1 and len(tried.boxes.runs) - before == 5


@pytest.mark.parametrize(
    ("changes", "trial"),
    [
        ({"question": True}, Trial(solved=True)),
        (
            {"folder": Path("/nowhere"), "triggers": Triggers(opened=("a",))},
            "only asks which skill",
        ),
        (
            {"folder": Path("/nowhere"), "expectations": ("It greets.",)},
            "is judged by a model alone",
        ),
    ],
)
def test_tasks_without_tests_are_not_tried(
    tried: Tried, changes: dict[str, Any], trial: Trial | str
) -> None:
    found = tried.run(**changes)
    if isinstance(trial, Trial):
        assert found == trial
    else:
        assert found.notes[0].message.startswith(trial) and found.solved is None
        assert len(found.notes) == 1 and not found.problems
    assert not tried.boxes.specs


def test_programs_that_an_image_lacks(tried: Tried) -> None:
    tried.lacking = "grep\njq\n"
    trial = tried.run()
    assert trial.missing == {"tests": ("grep", "jq"), "solution": ("grep", "jq")}
    asked = [argv for argv, _ in tried.boxes.runs if argv[0] == "sh"]
    assert [argv[3:] for argv in asked] == [["sh", "grep"], ["sh", "echo"]]
    tried.lacking = ""
    assert tried.run().missing == {}
    (tried.task.folder / "tests" / "test.sh").write_text("# nothing\n")
    tried.lacking = "jq"
    assert tried.run().missing == {"solution": ("jq",)}


def test_what_each_sandbox_gets(tried: Tried) -> None:
    tried.run(root=True, env=(("A", "task"), ("B", "task")), solution_env=(("B", "solution"),))
    asked, also, solving, judging, *_ = tried.boxes.specs
    assert [spec.root for spec in (asked, also, solving, judging)] == [False, True, True, False]
    assert all(spec.single_command for spec in (asked, also, solving, judging))
    assert dict(asked.env) == dict(also.env) == dict(judging.env) == {"A": "task", "B": "task"}
    assert dict(solving.env) == {"A": "task", "B": "solution"}
    assert solving.workdir == judging.workdir == "/app" and solving.keep_as == ""
    assert solving.limits.memory_mb == 1536
    workspace, solution = solving.mounts
    assert (workspace.target, workspace.read_only) == ("/app", False)
    assert (solution.source, solution.target) == (str(tried.task.folder / "solution"), "/solution")
    assert solution.read_only
    deadlines = [deadline for _, deadline in tried.boxes.runs]
    assert deadlines[:4] == [60.0, 60.0, 60.0, 30.0]


def test_the_tests_judge_a_copy_each_time_but_the_last(tried: Tried) -> None:
    seen: list[set[str]] = []
    act = tried.boxes.act

    def watching(spec: SandboxSpec, argv: Sequence[str]) -> Ended:
        if argv[-1].endswith("/test.sh"):
            seen.append({path.name for path in place(spec, "/app").iterdir()})
        return act(spec, argv)

    tried.boxes.act = watching
    tried.run(3)
    assert seen[:6] == [{DONE}] * 3 + [set[str]()] * 3


class Keeping(Environments):
    """Environments whose backend can make images of containers."""

    def __init__(self) -> None:
        super().__init__(LocalBackend())
        self.discarded: list[str] = []

    @property
    def keeps(self) -> bool:
        return True

    def discard(self, image: str) -> None:
        self.discarded.append(image)


def test_the_container_of_a_solution_is_handed_over_and_discarded(tried: Tried) -> None:
    (tried.task.folder / "tests" / "test.sh").write_text("cat /etc/x\n")
    environments = Keeping()
    task = read_task(tried.task.folder)
    assert task.handover
    try_task(task, environments, VerifierSite(tried.boxes))
    (handed,) = environments.discarded
    assert handed.startswith("skillopt/handed:task-")
    images = [(spec.keep_as, spec.image) for spec in tried.boxes.specs]
    base = "skillopt/agent-base:1"
    assert images[2:5] == [(handed, base), ("", handed), ("", base)]
