"""Prompts with answers: rows of a file as tasks, scored by a named scorer, a function or a command.

Columns are found by the names that public sets use, or named in ``tasks.options``. Each row is a
question; rows whose answer is a program are tasks with tests, see :mod:`skillopt.tasks.programs`.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skillopt.config.schema import TasksConfig
from skillopt.core.files import digest_of
from skillopt.core.types import BaseImage, Split, Task
from skillopt.tasks.answers import Judge, judge_maker
from skillopt.tasks.benchmarks.answers import TAGGED
from skillopt.tasks.columns import Row, RowOptions, read, split_of
from skillopt.tasks.harbor import SPLITS, TaskError
from skillopt.tasks.programs import Asked, ProgramOptions, program_tasks
from skillopt.tasks.records import SUFFIXES
from skillopt.tasks.scorers import AnswerScorer, ByScorer, make_scorer
from skillopt.tasks.tables import checked_options


def row_files(source: str) -> list[Path]:
    """The files of rows that ``tasks.source`` names, sorted: a file, a folder of files that are
    named after splits, or a pattern. Empty if it names something else."""
    path = Path(source)
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    if path.is_dir():
        return [file for file in _files(path.iterdir()) if split_of(file) is not None]
    return _files(map(Path, glob.glob(source, recursive=True))) if glob.has_magic(source) else []  # noqa: PTH207


def row_tasks(
    config: TasksConfig, files: Sequence[Path], made: Path, own: BaseImage | None = None
) -> tuple[list[Task], dict[Split, list[Task]]]:
    """The tasks of files of rows: all of them if they name one split or none, else by split.

    Args:
        config: whose ``options`` are those of :class:`RowOptions`.
        files: as :func:`row_files` finds them.
        made: folder below which tasks with tests are written.
        own: the image that these start from; by default the agents' base image.

    Raises:
        TaskError: a file, a row or an option cannot be used.
        PluginError: there is no such function.
    """
    options = row_options(config.options)
    rows = list(read(files, options))
    tasks = make_tasks(rows, options, made, own)
    if len({row.split for row in rows}) < 2:
        return tasks, {}
    splits: dict[Split, list[Task]] = {split: [] for split in SPLITS}
    for row, task in zip(rows, tasks, strict=True):
        if row.split is None:
            raise TaskError(
                f"{row.place}: says no split (train, val or test), and others do; name the column "
                "that says it in tasks.options.split, or take that column out"
            )
        splits[row.split].append(task)
    return [], splits


def row_options(given: Mapping[str, Any]) -> RowOptions:
    """Checked ``tasks.options``; raises TaskError with the key."""
    return checked_options(RowOptions, given, "tasks.options.", "rows")


def make_tasks(
    rows: Sequence[Row], options: RowOptions, made: Path, own: BaseImage | None = None
) -> list[Task]:
    """The tasks of rows, in their order.

    Raises:
        TaskError: the scorer cannot use an option or an expected answer.
        PluginError: there is no such function.
    """
    if options.scorer == "program":
        asked = [Asked(row.name, row.place, row.prompt, row.expected, row.family) for row in rows]
        return program_tasks(
            asked,
            checked_options(
                ProgramOptions, options.scorer_options, "tasks.options.scorer_options.", "program"
            ),
            made,
            own,
        )
    judge = _judge(options)
    return [_task(row, judge(row)) for row in rows]


def _judge(options: RowOptions) -> Callable[[Row], Judge]:
    """What makes the judge of a row."""
    if options.scorer == "choice" and not options.scorer_options:
        return lambda row: ByScorer(_choice_of(row), _label(row))
    make = judge_maker(options.scorer, options.scorer_options, "tasks.options.scorer")
    checked = set[str]()

    def judge(row: Row) -> Judge:
        made = make(row.expected)
        if isinstance(made, ByScorer) and (said := json.dumps(row.expected)) not in checked:
            _check(row, made)
            checked.add(said)
        return made

    return judge


def _choice_of(row: Row) -> AnswerScorer:
    """The scorer of a multiple choice whose options are the row's own."""
    return make_scorer("choice", {"choices": dict(row.choices)}, row.place)


def _check(row: Row, judge: ByScorer) -> None:
    """Raise TaskError if a scorer cannot use the expected answer of a row."""
    texts = row.expected if isinstance(row.expected, list) else [row.expected]
    reply = json.dumps(row.expected) if judge.scorer.name.startswith("json") else str(texts[0])
    try:
        judge.scorer(reply, judge.expected)
    except TaskError as error:
        hint = "; tasks.options.answer_pattern can take it out of a text"
        raise TaskError(f"{row.place}: {error}{hint}") from error


def _task(row: Row, judge: Judge) -> Task:
    instruction = row.prompt
    tagged = isinstance(judge, ByScorer) and judge.scorer.options.take == "tagged"
    if tagged and "<answer>" not in instruction:
        instruction = f"{instruction.rstrip()}\n\n{TAGGED}"
    return Task(
        name=row.name,
        instruction=instruction,
        digest=digest_of(["row/1", instruction, judge.identity]),
        family=row.family,
        question=True,
        answers=tuple(_texts(judge.expected)),
        verify=judge,
    )


def _texts(expected: Any) -> Iterator[str]:
    """The texts in an expected answer, which no edit may contain."""
    if isinstance(expected, list):
        for each in expected:
            yield from _texts(each)
    elif isinstance(expected, dict):
        yield json.dumps(expected, ensure_ascii=False)
    elif expected is not None:
        yield str(expected)


def _label(row: Row) -> str:
    """The label of the right choice, which a row gives by label, text or position."""
    said, labels = row.expected, list(row.choices)
    if str(said) in row.choices:  # First: labels may be numbers too.
        return str(said)
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < len(labels):
        return labels[said]
    by_text = [label for label, text in row.choices.items() if text == str(said)]
    if len(by_text) != 1:
        raise TaskError(f"{row.place}: the answer {said!r} is none of the choices")
    return by_text[0]


def _files(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())
