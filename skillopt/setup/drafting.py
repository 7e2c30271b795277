"""Writes the config of a training with each key explained, and the files beside it: all or none."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from skillopt.core.text import printable
from skillopt.setup.services import SIM, Service
from skillopt.setup.sizes import fitting_training
from skillopt.setup.tasks import SetupError, TaskChoice
from skillopt.tasks.sources import cut

_WIDTH = 94
"""The most characters of a line of a comment."""


@dataclass(frozen=True)
class Choices:
    """What a config is written from.

    Args:
        config: the file.
        name: of the run.
        skill: ``skill.init``.
        tasks: where they are.
        agent: ``harness.name``.
        service: of both models.
        environment: ``tasks.environment``; empty for the project's own image.
        other_environments: that were found and are not used.
        test_command: of the project; empty if it is not known.
    """

    config: Path
    name: str
    skill: str
    tasks: TaskChoice
    agent: str
    service: Service
    environment: str = ""
    other_environments: tuple[str, ...] = ()
    test_command: str = ""

    @property
    def baseline(self) -> list[str]:
        """The command that scores no skill and the first version, as words."""
        command = ["skillopt", "eval", "none", self.skill, "--config", str(self.config)]
        return [*command, "--split", "val"]

    @property
    def training(self) -> list[str]:
        """The command that trains, as words."""
        return ["skillopt", "train", str(self.config)]


def config_text(choices: Choices) -> str:
    """The config as a file, each key below a line that explains it."""
    tasks, service = choices.tasks, choices.service
    parts = [
        _comment(
            f"Trains the skill in {choices.skill}. Written by 'skillopt init'; yours to change."
        ),
        _comment("docs/configuration.md has all keys; a key that is missing has its default."),
        "",
        _comment("Name of the run; what it writes is in runs/ below this folder."),
        _line({"name": choices.name}),
        _comment("The first version of the skill. Training never changes it."),
        _line({"skill": {"init": choices.skill}}),
        _comment(f"The tasks: {tasks.said}."),
        "tasks:",
        *_indented(_tasks(choices)),
        _comment("The agent that uses the skill: codex, claude-code, opencode or direct (a chat)."),
        _line({"harness": {"name": choices.agent}}),
        _comment(
            "Agents and tests run in containers without a network; sandbox.network opens hosts."
        ),
        _line({"sandbox": {"kind": "docker"}}),
        _comment("The model that the agent runs on."),
        _line({"target": {"upstream": service.name, "name": service.target}}),
        _comment("The model that reads what went wrong and proposes edits to the skill."),
        _line({"optimizer": {"upstream": service.name, "name": service.optimizer}}),
        *_judge(choices),
        *_upstreams(service),
        *_train(tasks),
        _comment(
            "Limits: remove the # to stop at a cost, or after some rollouts, and resume later."
        ),
        "# limits: {usd: 20, rollouts: 500}",
    ]
    return "\n".join(parts) + "\n"


def _tasks(choices: Choices) -> Iterator[str]:
    tasks = choices.tasks
    yield _comment("A folder of tasks, or eval files; docs/your-tasks.md has the other forms.")
    yield _line({"source": tasks.source})
    if tasks.split is not None:
        train, val, test = cut(tasks.tasks, tasks.split)
        yield _comment(
            f"Shares to learn from, to choose by, and to test with at the end: {train}, {val} and "
            f"{test} of {tasks.tasks} tasks."
        )
        if tasks.files:
            yield _comment("Once you have more, [2, 3, 0] fits: most of few tasks choose.")
        elif not test:
            yield _comment(
                "Of 18 and more to choose by, a third is kept for the test: final.held_out."
            )
        yield _line({"split": list(tasks.split)})
    if tasks.options:
        yield _comment(
            f"{tasks.left_out} cases have nothing that can score them here; the others are used."
        )
        yield _line({"options": dict(tasks.options)})
    if choices.environment:
        yield _comment("What tasks without an environment of their own start from.")
        yield _line({"environment": choices.environment})
    for other in choices.other_environments:
        yield _comment("Found, and not used: what tasks without an environment could start from.")
        yield f"# {_line({'environment': other})}"
    if choices.test_command:
        yield _comment(f"This project's own tests: {choices.test_command}")


def _judge(choices: Choices) -> Iterator[str]:
    if choices.tasks.judged:
        yield _comment(
            "The model that judges what tasks say in words about their results. 'skillopt tasks "
            "judge' compares it with verdicts of yours."
        )
        service = choices.service
        yield _line({"judge": {"upstream": service.name, "name": service.optimizer}})


def _upstreams(service: Service) -> Iterator[str]:
    if service.name == SIM:
        yield _comment(
            "The simulated model: no key, no network, no cost. It knows nothing of your tasks:"
        )
        yield _comment("it shows that all works. For a real one: docs/models.md.")
    else:
        yield _comment(
            f"The model service; its key is read from {service.key_env} and written nowhere."
        )
    yield "upstreams:"
    yield f"  {service.name}: {service.block}"


def _train(tasks: TaskChoice) -> Iterator[str]:
    if tasks.split is None:
        return
    values = fitting_training(cut(tasks.tasks, tasks.split)[0])
    yield _comment(
        "How often all training tasks are used, how many in a step, and in a reflection."
    )
    yield "train:"
    yield from _indented(_line({key: value}) for key, value in values.items())


def _comment(text: str) -> str:
    lines = textwrap.wrap(printable(" ".join(text.split())), _WIDTH, break_long_words=False)
    return "\n".join(f"# {line}" for line in lines)


def _line(value: Mapping[str, Any]) -> str:
    """A key with its value on one line, whatever is in its texts."""
    text = _dumped(value, None)
    return text if "\n" not in text else _dumped(value, '"')


def _dumped(value: Mapping[str, Any], style: str | None) -> str:
    text = yaml.safe_dump(
        dict(value),
        default_flow_style=True,
        default_style=style,
        sort_keys=False,
        width=math.inf,
        allow_unicode=style is None,
    )
    return str(text).strip().removeprefix("{").removesuffix("}")


def _indented(parts: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for part in parts for line in part.split("\n"))


@contextmanager
def placed(files: Mapping[Path, str]) -> Iterator[None]:
    """Write new files, and remove them again if the block raises.

    Args:
        files: texts by path. None of them is there yet; folders are made.

    Raises:
        SetupError: one of them is there, which nothing overwrites.
        OSError: one cannot be written.
    """
    made: list[Path] = []
    try:
        for path, text in files.items():
            made += _made_folders(path.parent)
            try:
                with path.open("x", encoding="utf-8") as opened:
                    made.append(path)
                    opened.write(text)
            except FileExistsError as error:
                raise taken(path) from error
        yield
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # Somebody else's file may be in a folder by now.
                path.rmdir() if path.is_dir() else path.unlink()
        raise


def taken(path: Path) -> SetupError:
    """The error for a file that is there already."""
    if path.suffix in (".yaml", ".yml"):
        return SetupError(
            f"{path}: is there already and is not touched: 'skillopt train {path} --dry-run' shows "
            "what it does; for another one, name it with --output"
        )
    return SetupError(f"{path}: is there already and is not touched: move it away")


def _made_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; those that were missing, from above."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir()
    return missing[::-1]
