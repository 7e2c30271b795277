"""What ``skillopt tasks from-jsonl`` reports of prompts with answers: in lines, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Split, Task
from skillopt.setup.sizes import LEAST, fitting_split
from skillopt.tasks.columns import answer_columns, prompt_columns, read
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.rows import row_files, row_options
from skillopt.tasks.sources import load_splits

FORMAT = 1
_SHOWN = 400


@dataclass(frozen=True)
class RowsReport:
    """What files of prompts with answers are read as.

    Args:
        source: that was named.
        options: ``tasks.options``.
        scorer: that judges the answers.
        prompt, answer: the columns of the first row that are used for these.
        unused: those that are used for nothing.
        split: proportions that fit their number; None if the files name splits themselves.
        splits: the tasks, split like that.
        first: prompt and expected answer of the first row.
    """

    source: str
    options: Mapping[str, Any]
    scorer: str
    prompt: Sequence[str]
    answer: Sequence[str]
    unused: Sequence[str]
    split: tuple[int, int, int] | None
    splits: Mapping[Split, Sequence[Task]]
    first: tuple[str, str]

    @classmethod
    def of(cls, source: str, options: Mapping[str, Any], made: Path) -> RowsReport:
        """Read files.

        Args:
            source: a file, a folder or a pattern, as ``tasks.source``.
            options: ``tasks.options``.
            made: folder below which tasks with tests are written.

        Raises:
            TaskError: there are no such files, or they cannot be read.
        """
        files, checked = row_files(source), row_options(options)
        if not files:
            raise TaskError(f"{source}: no file of JSON lines, JSON, CSV, TSV or Parquet")
        rows = list(read(files, checked))
        row, own_splits = rows[0], len({row.split for row in rows}) > 1
        prompt = prompt_columns(row.place, row.values, checked)
        answer = answer_columns(row.place, row.values, checked)
        used = {*prompt, *answer, checked.id or "id", checked.split or "split", checked.family}
        used |= {"choices", "options"} if row.choices else set()
        config = TasksConfig(source=source, options=dict(options), duplicates="allow")
        split = None if own_splits or len(rows) < LEAST else fitting_split(len(rows))
        if split is not None:
            config = config.model_copy(update={"split": split})
        return cls(
            source=source,
            options=options,
            scorer=checked.scorer,
            prompt=prompt,
            answer=answer,
            unused=[name for name in row.values if name not in used],
            split=split,
            splits=load_splits(config, 0, made),
            first=(row.prompt, str(row.expected)),
        )

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return sum(map(len, self.splits.values()))

    def lines(self) -> Iterator[str]:
        """The report, line by line."""
        yield f"{self.source}: {self.tasks} prompts with answers, scored by {self.scorer}"
        yield f"prompt: {', '.join(self.prompt)}"
        yield f"answer: {', '.join(self.answer)}"
        if self.unused:
            yield f"not used: {', '.join(self.unused)}"
        yield "splits: " + ", ".join(f"{name} {len(each)}" for name, each in self.splits.items())
        yield f"first prompt: {_short(self.first[0])}"
        yield f"its answer: {_short(self.first[1])}"
        yield "In a config:"
        yield from (
            yaml.safe_dump(self.config, sort_keys=False, default_flow_style=None)
            .rstrip()
            .splitlines()
        )

    @property
    def config(self) -> dict[str, Any]:
        """The section of a config that reads these files."""
        options = {"options": dict(self.options)} if self.options else {}
        split = {"split": list(self.split)} if self.split else {}
        return {"tasks": {"source": self.source, **split, **options}}

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "format": FORMAT,
            "source": self.source,
            "scorer": self.scorer,
            "prompt": list(self.prompt),
            "answer": list(self.answer),
            "unused": list(self.unused),
            "splits": {name: len(each) for name, each in self.splits.items()},
            "first": {"prompt": self.first[0], "answer": self.first[1]},
            "config": self.config,
        }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
