"""What judges an answer: a named scorer, a user's own function, or a command."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harnesses.environment import without_keys
from skillopt.core.import_path import PATH, OwnCodeError, load, own_code
from skillopt.core.part_identity import identity_of
from skillopt.core.types import Reward, Task
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.scorers import ByScorer, make_scorer

SECONDS = 120
"""The time that a command may take for one answer."""
_SHOWN = 500
_COMMAND = "command:"


@dataclass(frozen=True)
class ByFunction:
    """A task's verifier: calls a user's function with the answer and the expected one.

    Args:
        function: returns a truth value, a number in [0, 1], or a :class:`Reward`.
        path: its import path.
        expected: its second argument; JSON.
        options: its keyword arguments.
    """

    function: Callable[..., Any]
    path: str
    expected: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> list[Any]:
        """What decides a score, as JSON."""
        shown = identity_of(self.function, "tasks.options.scorer", versioned=True)
        return ["function", shown, self.expected, dict(self.options)]

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        """Judge an answer.

        Raises:
            OwnCodeError: the function raised, or returned something else.
        """
        with own_code(f"tasks.options.scorer: {self.path}", self.function):
            found = self.function(answer, self.expected, **self.options)
            if isinstance(found, Reward):
                return found
            if not isinstance(found, bool | int | float) or not 0 <= found <= 1:
                raise ValueError(
                    f"it returned {found!r:.80}; return a truth value, a number in [0, 1] or a "
                    "skillopt.Reward"
                )
        return Reward(float(found))


@dataclass(frozen=True)
class ByCommand:
    """A task's verifier: runs a user's command on this machine, without its keys.

    It gets an object with ``prompt``, ``answer`` and ``expected`` as JSON on its standard input,
    and prints a number in [0, 1] or an object with ``score`` and perhaps ``feedback``; without
    output, its exit code says whether the answer is right (0) or wrong (1).

    Args:
        command: program and arguments, as a shell splits them; no shell runs it.
        expected: the expected answer; JSON.
    """

    command: str
    expected: Any

    @property
    def identity(self) -> list[Any]:
        """What decides a score, as JSON; the program's own content is not looked at."""
        return ["command", self.command, self.expected]

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        """Judge an answer.

        Raises:
            TimeoutError: the command took too long, which is no score.
            OwnCodeError: it cannot be run, failed, or printed something else.
        """
        given = {"prompt": task.instruction, "answer": answer, "expected": self.expected}
        try:
            done = subprocess.run(
                shlex.split(self.command), input=json.dumps(given).encode(), capture_output=True,
                timeout=SECONDS, env=without_keys(), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.command}: took more than {SECONDS} s") from error
        except (OSError, ValueError) as error:
            raise OwnCodeError(f"{self.command}: cannot be run: {error}") from error
        said = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode not in (0, 1) or (done.returncode == 1 and done.stderr and not said):
            last = " ".join(done.stderr.decode("utf-8", "replace").split())[-_SHOWN:]
            raise OwnCodeError(f"{self.command}: ended with {done.returncode}: {last}")
        return _told(self.command, said) if said else Reward(float(done.returncode == 0))


Judge = ByScorer | ByFunction | ByCommand


def judge_maker(name: str, options: Mapping[str, Any], where: str) -> Callable[[Any], Judge]:
    """What makes the judge of an answer from the expected one.

    Args:
        name: a named scorer, the import path of a function, or ``command: `` and a command.
        options: of the named scorer, or keyword arguments of the function.
        where: key or file, for messages.

    Raises:
        TaskError: there is no such scorer, or it has no such option.
        PluginError: there is no such function.
    """
    if name.startswith(_COMMAND):
        command = name.removeprefix(_COMMAND).strip()
        if not command or options:
            raise TaskError(f"{where}: '{_COMMAND} ' is followed by a command and has no options")
        return lambda expected: ByCommand(command, expected)
    if re.match(PATH, name):
        function = load(name, where)
        return lambda expected: ByFunction(function, name, expected, options)
    scorer = make_scorer(name, options, where)
    return lambda expected: ByScorer(scorer, expected)


def spoken(judge: Judge) -> tuple[str, Mapping[str, Any], Any]:
    """The name, the options and the expected answer from which a judge is made."""
    match judge:
        case ByScorer():
            options = judge.scorer.options.model_dump(mode="json", exclude_defaults=True)
            return judge.scorer.name, options, judge.expected
        case ByFunction():
            return judge.path, judge.options, judge.expected
        case _:
            return f"{_COMMAND} {judge.command}", {}, judge.expected


def _told(command: str, said: str) -> Reward:
    """The reward that a command printed."""
    try:
        found = json.loads(said.splitlines()[-1] if said[0] != "{" else said)
    except ValueError:
        found = None
    feedback = ""
    if isinstance(found, dict):
        feedback, found = str(found.get("feedback") or ""), found.get("score")
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        raise OwnCodeError(
            f"{command}: printed {said[:_SHOWN]!r}; it must print a number in [0, 1], or an object "
            "with 'score' and perhaps 'feedback'"
        )
    return Reward(float(found), feedback=feedback)
