"""ALFWorld as published, and its tasks."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from skillopt.core.types import Task
from skillopt.tasks.benchmarks.alfworld.game import Play
from skillopt.tasks.benchmarks.alfworld.score import Judge
from skillopt.tasks.benchmarks.base import Benchmark, Home, Item, Kept, Options, Row
from skillopt.tasks.harbor import TaskError

HOME = Home(
    url="https://github.com/alfworld/alfworld",
    get=(
        "the folder json_2.1.1 that 'alfworld-download' makes, or the ZIP file of its game.tw-pddl "
        "files"
    ),
    size="about 2 GB with all that the download has, for 3,827 games, of which 191 are used",
    terms="MIT",
)
MAX_STEPS = 50
TIMEOUT_S = 1800.0
CLOSING_TURNS = 10
"""The turns of direct chat beyond the game's steps: to look, and to close."""
PACKAGES = ("alfworld", "textworld", "fast_downward")
INSTALL = "pip install 'skillopt-harness[alfworld]'"
GAME = "game.tw-pddl"
_GOAL = re.compile(r'Your task is to: ([^"\\]+?)\.?"')
_STEP = Path(__file__).with_name("step")


class AlfWorldOptions(Options):
    """``tasks.options`` of ALFWorld."""

    max_steps: int = Field(MAX_STEPS, ge=1)
    """The commands after which a game is over."""
    protocol: Literal["tool", "steps"] = "tool"
    """``steps`` is the reference's, for direct chat: each step is a fresh prompt, and no tool is
    used. Other agents play by the tool."""


@cache
def _manifest() -> dict[str, str]:
    """The ids of the paper's games by their own."""
    file = resources.files("skillopt.tasks.benchmarks.alfworld") / "split.json"
    splits = json.loads(file.read_text("utf-8"))["splits"].values()
    return {_own_id(one["gamefile"]): str(one["id"]) for entries in splits for one in entries}


def _own_id(gamefile: str) -> str:
    """A game's split, task and trial, by the path of its file: ``train:TASK:trial_ID``."""
    return ":".join(PurePosixPath(gamefile).parts[-4:-1])


def game_id(gamefile: str) -> str:
    """The id of a game: the paper's if it has one."""
    return _manifest().get(_own_id(gamefile), _own_id(gamefile))


def entry_id(entry: Any) -> str:
    """The id of a game in a file of splits: of an object with a ``gamefile``, by that."""
    if isinstance(entry, dict):
        return game_id(entry["gamefile"]) if entry.get("gamefile") else str(entry["id"])
    return game_id(entry) if str(entry).endswith(GAME) else str(entry)


def read(download: Path) -> Iterator[Item]:
    """The games in a folder and its ZIP files, wherever ``json_2.1.1`` is in it.

    Raises:
        TaskError: there is none, or one cannot be read.
    """
    found = False
    for where, name, content in _games(download):
        found = True
        id, kind = game_id(name), PurePosixPath(name).parts[-3].partition("-")[0]
        raw = content if isinstance(content, bytes) else content.read_bytes()
        yield Item(id, {"task": _goal(raw, where), "kind": kind}, {GAME: content})
    if not found:
        raise TaskError(f"{download}: no {GAME} is in it, nor in a ZIP file; give {HOME.get}")


def _games(download: Path) -> Iterator[tuple[str, str, Path | bytes]]:
    """Where each game is, its path, and its file or content."""
    if download.is_dir():
        for file in sorted(download.rglob(GAME)):
            yield str(file), file.absolute().as_posix(), file
    archives = sorted(download.rglob("*.zip")) if download.is_dir() else [download]
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as packed:
                for name in sorted(packed.namelist()):
                    if PurePosixPath(name).name == GAME:
                        yield f"{archive}: {name}", name, packed.read(name)
        except (
            OSError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:  # What is raised for damaged, foreign and encrypted members.
            raise TaskError(f"{archive}: {error}; is the download complete?") from error


def _goal(raw: bytes, where: str) -> str:
    try:
        game = json.loads(raw)
        goal = _GOAL.search(game["grammar"])
        if goal is None or not isinstance(game["pddl_problem"], str):
            raise ValueError("it names no task")
    except (ValueError, KeyError, TypeError) as error:
        raise TaskError(
            f"{where}: not a game: {type(error).__name__}: {error}; is the download complete?"
        ) from error
    return goal[1]


def workspace(folder: Path) -> None:
    """The program by which an agent plays; all else of the game is outside of its sandbox."""
    shutil.copyfile(_STEP, folder / "step")
    (folder / "step").chmod(0o755)


def task(item: Kept, options: AlfWorldOptions) -> Task:
    """One game, played by a program in the workspace, or by chat.

    Raises:
        TaskError: the engine is not installed.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise TaskError(f"tasks.source: alfworld needs the package {package}: {INSTALL}")
    row: Row = item.row
    return Task(
        name=item.id,
        instruction=_INSTRUCTION.format(task=row["task"], max_steps=options.max_steps),
        digest="",
        family=row["kind"],
        agent_timeout_s=TIMEOUT_S,
        max_turns=options.max_steps + CLOSING_TURNS,
        led=options.protocol == "steps",
        workspace=workspace,
        companion=Play(item.files.absolute() / GAME, options.max_steps),
        verify=Judge(),
    )


_INSTRUCTION = """\
You are in a household, which is a text game. Your task is to: {task}.

Play with the program `./step` in the working directory:

- `./step` shows what you see and which commands are possible now.
- `./step "go to fridge 1"` gives a command, and shows what follows and what is possible then.

You have {max_steps} commands. One that is not possible is answered with "Nothing happens.", and
counts.
The commands have these forms, with things and furniture by name and number:

- `go to F`, `open F`, `close F`
- `take T from F`, `move T to F`
- `clean T with F`, `heat T with F`, `cool T with F`, `slice T with T`
- `use T`, `examine T`, `examine F`, `look`, `inventory`

You have one hand: carry one thing at a time. The program says when the game is won: then you are
done.
"""

BENCHMARK = Benchmark(
    name="alfworld", title="ALFWorld", home=HOME, read=read, task=task, options=AlfWorldOptions,
    entry_id=entry_id,
)  # fmt: skip
