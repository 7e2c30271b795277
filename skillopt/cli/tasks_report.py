"""What ``skillopt tasks validate`` reports of a folder of tasks: in lines, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Task
from skillopt.evaluation.stats import Estimate, points, smallest_gain
from skillopt.tasks.needs import phrases
from skillopt.tasks.sources import split_tasks
from skillopt.tasks.validate import Found, Problem, Similar, TaskSet

if TYPE_CHECKING:
    from skillopt.tasks.solving import Trial

FORMAT = 1
_SHOWN = 8
"""The most names in a line about tasks that are alike."""


@dataclass(frozen=True)
class Size:
    """A split and what it can show.

    Args:
        split: its name.
        tasks: in it.
        different: contents of these; equal tasks count as one.
        gain: the smallest gain that it can tell from none.
    """

    split: str
    tasks: int
    different: int
    gain: Estimate | None


@dataclass(frozen=True)
class Report:
    """What is known of a folder of tasks.

    Args:
        tasks: as they were read.
        trials: by task, if they were tried (``--solve``).
        passed: by task, how many runs without a skill solved it (``--baseline``).
        runs: without a skill, of each task.
        untried: what ended the trial of a task before there was an answer.
    """

    tasks: TaskSet
    trials: Mapping[str, Trial] = field(default_factory=dict)
    passed: Mapping[str, int] = field(default_factory=dict)
    runs: int = 0
    untried: Sequence[Problem] = ()

    @property
    def problems(self) -> list[Problem]:
        """What is wrong, and warnings."""
        tried = [problem for trial in self.trials.values() for problem in trial.problems]
        return [*self.tasks.problems, *tried, *self.untried]

    @property
    def notes(self) -> list[Problem]:
        """What authors should know, and what is no fault."""
        tried = [note for trial in self.trials.values() for note in trial.notes]
        return [*self.tasks.notes, *tried, *self._missing(), *self._baseline(), *self._alike()]

    @property
    def sizes(self) -> list[Size]:
        """The splits, as they are or as a config would cut a flat folder by default."""
        tasks = self.tasks.tasks
        if len(self.tasks.found) == 1 and self.tasks.found[0].folder == self.tasks.folder:
            return []
        splits = self.tasks.splits or split_tasks(tasks, TasksConfig(source=".").split, 0)
        return [_size(split, found) for split, found in splits.items()]

    def lines(self) -> Iterator[str]:
        """The report in lines."""
        for found in self.tasks.found:
            if found.task is not None:
                yield f"{found.name}: {self._described(found.task)}"
        for note in self.notes:
            yield f"{_named(note)}note: {note.message}"
        for problem in self.problems:
            yield f"{_named(problem)}{'warning: ' if problem.warning else ''}{problem.message}"
        if self.tasks.tasks:
            cut = "" if self.tasks.splits else ", as tasks.split cuts them by default"
            yield from (_said_of(size) + cut for size in self.sizes)
        yield self._summary()

    def to_json(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        return {
            "format": FORMAT,
            "folder": str(self.tasks.folder),
            "tasks": [self._task_json(found) for found in self.tasks.found],
            "splits": [
                {
                    "split": size.split,
                    "tasks": size.tasks,
                    "different": size.different,
                    "smallest_gain": vars(size.gain) if size.gain else None,
                }
                for size in self.sizes
            ],
            "alike": [
                {
                    "tasks": group.names,
                    "splits": group.splits,
                    "equal": group.equal,
                    "likeness": group.likeness,
                }
                for group in self.tasks.similar
            ],
            "problems": [vars(problem) for problem in self.problems],
            "notes": [{"task": note.task, "message": note.message} for note in self.notes],
        }

    def _described(self, task: Task) -> str:
        """What a task needs, and what was measured."""
        said = []
        if task.question:
            said.append("a question, judged by its answer")
        else:
            agent, tests = task.agent_timeout_s, task.verifier_timeout_s
            said.append(f"agent at most {agent:g} s, tests {tests:g} s")
        said += phrases(task.needs)
        if trial := self.trials.get(task.name):
            said += [f"its {part} took {took:.1f} s" for part, took in trial.seconds.items()]
        if task.name in self.passed:
            said.append(f"{self.passed[task.name]} of {self.runs} runs without a skill solve it")
        return "; ".join(said)

    def _task_json(self, found: Found) -> dict[str, Any]:
        task, trial = found.task, self.trials.get(found.name)
        return {
            "task": found.name,
            "folder": str(found.folder),
            "split": found.split,
            "valid": not any(p.task == found.name and not p.warning for p in self.problems),
            "needs": vars(task.needs) if task else None,
            "limits": {
                "agent_s": task.agent_timeout_s,
                "tests_s": task.verifier_timeout_s,
                "memory_mb": task.memory_mb,
                "cpus": task.cpus,
                "disk_mb": task.disk_mb,
            }
            if task
            else None,
            "seconds": dict(trial.seconds) if trial else None,
            "missing_programs": dict(trial.missing) if trial else None,
            "solved": trial.solved if trial else None,
            "passed": self.passed.get(found.name),
            "runs": self.runs if found.name in self.passed else None,
        }

    def _missing(self) -> Iterator[Problem]:
        for name, trial in self.trials.items():
            for part, programs in trial.missing.items():
                yield Problem(
                    name,
                    f"the image lacks {', '.join(programs)}, which its {part} call by name: unless "
                    "they install that first, environment/Dockerfile has to",
                    warning=True,
                )

    def _baseline(self) -> Iterator[Problem]:
        for name, passed in self.passed.items():
            if passed == self.runs:
                said = "always solved without a skill: it can teach nothing, nor show a gain"
                yield Problem(name, said, warning=True)
            elif passed == 0:
                said = "never solved without a skill: hard or impossible; --solve tells which"
                yield Problem(name, said, warning=True)

    def _alike(self) -> Iterator[Problem]:
        return (Problem("", _said_of_alike(group), warning=True) for group in self._groups())

    def _groups(self) -> list[Similar]:
        """Without equal tasks of different splits, which are a problem."""
        return [g for g in self.tasks.similar if not g.equal or len(set(g.splits)) < 2]

    def _summary(self) -> str:
        warnings = sum(problem.warning for problem in self.problems)
        errors = len(self.problems) - warnings
        told = f"{errors} problem(s)" if errors else "all tasks are valid"
        return f"{told}, {warnings} warning(s)" if warnings else told


def _named(problem: Problem) -> str:
    return f"{problem.task}: " if problem.task else ""


def _size(split: str, tasks: Sequence[Task]) -> Size:
    different = len({task.digest for task in tasks})
    return Size(split, len(tasks), different, smallest_gain(different))


def _said_of(size: Size) -> str:
    different = "" if size.different == size.tasks else f" ({size.different} different)"
    said = f"{size.split}: {size.tasks} tasks{different}"
    if size.split == "train":
        return said
    if size.gain is None:
        return f"{said}: too few to tell a gain from chance"
    more = round(size.gain.value * size.different)
    return (
        f"{said}: the smallest gain with a 95 % interval above 0 is {more} more solved and none "
        f"lost ({points(size.gain)} points)"
    )


def _said_of_alike(group: Similar) -> str:
    apart = len(set(group.splits)) > 1
    placed = zip(group.names, group.splits, strict=True)
    shown = [f"{name} of {split}" if apart else name for name, split in placed]
    names = ", ".join(shown[:_SHOWN])
    if len(shown) > _SHOWN:
        names += f" and {len(shown) - _SHOWN} more"
    if group.equal:
        return (
            f"with the same content: {names}; in one split they are run once and count as often as "
            "they are there, in different splits they are refused"
        )
    advice = (
        "a gain may be of what they share and not of the skill: keep them in one split, or leave "
        "all but one out (tasks.exclude)"
        if apart
        else "they count as different tasks and say little more than one"
    )
    return (
        f"the same but for numbers and a few names ({100 * group.likeness:.0f} %): {names}; "
        f"{advice}"
    )
