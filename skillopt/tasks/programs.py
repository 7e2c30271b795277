"""Prompts whose answer is a program: it is run in the verifier's sandbox, as another user.

Each is written as a task folder, as a case of an eval file is: the last fenced block of the agent's
answer, or all of it, is the program. See ``evals/inside/run_program.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from skillopt.core.types import BaseImage, Task
from skillopt.tasks.evals.case import Case, CommandCheck, write_cases
from skillopt.tasks.harbor import TaskError, read_task

_ANSWER = "answer.txt"
_INSIDE = Path(__file__).parent / "evals" / "inside" / "run_program.py"
_ASKED = "Answer with the whole program in one fenced code block."
_MARGIN = 20


class ProgramOptions(BaseModel):
    """``tasks.options.scorer_options`` of the scorer ``program``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["tests", "output"] = "tests"
    """Whether the expected answer is code that is appended to the program (a list of such: each is
    run alone), or what it must print: a text, or objects with ``input`` and ``output``."""
    command: tuple[str, ...] = Field(("python3",), min_length=1)
    """Program and arguments that run a file."""
    suffix: str = Field(".py", pattern=r"^\.\w+$")
    """Of that file's name."""
    print: str = Field('print("{}")', pattern=r"\{\}")
    """A line of code that prints what stands for the braces, with which tests end."""
    timeout_s: int = Field(10, ge=1, le=600)
    """Seconds that each run may take."""


@dataclass(frozen=True)
class Asked:
    """One prompt for a program.

    Args:
        name: of its task.
        place: file and line, for messages.
        prompt: what the agent is asked.
        expected: as :attr:`ProgramOptions.by` says.
        family: groups scores.
    """

    name: str
    place: str
    prompt: str
    expected: Any
    family: str


def program_tasks(
    asked: Sequence[Asked], options: ProgramOptions, made: Path, own: BaseImage | None = None
) -> list[Task]:
    """The tasks of prompts for programs, in their order.

    Args:
        asked: the prompts.
        options: of all of them.
        made: folder below which the tasks' folders are written.
        own: the image that they start from; by default the agents' base image.

    Raises:
        TaskError: an expected answer is not as the options say.
    """
    cases = [_case(one, options) for one in asked]
    folder = write_cases(cases, made, own)
    return [replace(read_task(folder / case.name), base=own) for case in cases]


def _case(one: Asked, options: ProgramOptions) -> Case:
    runs = _runs(one, options)
    given = {
        "cases": runs, "command": options.command, "suffix": options.suffix,
        "print": options.print, "timeout_s": options.timeout_s,
    }  # fmt: skip
    checks = [
        CommandCheck(
            label=f"run {number + 1}" if len(runs) > 1 else "the program",
            command=f'exec python3 -I "$CHECKS_DIR/{_INSIDE.name}" {number}',
            timeout_s=options.timeout_s + _MARGIN,
        )
        for number in range(len(runs))
    ]
    return Case(
        suite=one.family,
        id=one.name,
        where=one.place,
        prompt=f"{one.prompt.rstrip()}\n\n{_ASKED}",
        checks=checks,
        scripts={_INSIDE.name: _INSIDE.read_text("utf-8"), "cases.json": json.dumps(given)},
        answer_file=_ANSWER,
        untrusted_programs=True,
    )


def _runs(one: Asked, options: ProgramOptions) -> list[dict[str, str]]:
    """What each run of the program is given and must do."""
    listed = one.expected if isinstance(one.expected, list) else [one.expected]
    if options.by == "tests":
        if not all(isinstance(each, str) and each.strip() for each in listed):
            raise TaskError(f"{one.place}: the tests must be code, or a list of such")
        return [{"tests": each, "input": "", "output": ""} for each in listed]
    runs = []
    for each in listed:
        pair = each if isinstance(each, dict) else {"input": "", "output": each}
        texts = {name: pair.get(name, "") for name in ("input", "output")}
        if set(pair) - set(texts) or not all(isinstance(text, str) for text in texts.values()):
            raise TaskError(
                f"{one.place}: the expected output must be a text, or objects with 'input' and "
                "'output', which are texts"
            )
        runs.append({"tests": "", **texts})
    return runs
