"""What every benchmark has: a home, the paper's splits, items as they are kept, tasks made of them.

A benchmark is a package of this room with a ``BENCHMARK`` and a line in
:data:`skillopt.config.kinds.BENCHMARKS`.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from skillopt.config.schema import TasksConfig
from skillopt.core.files import digest_of
from skillopt.core.types import Split, Task
from skillopt.tasks.harbor import SPLITS, TaskError
from skillopt.tasks.tables import checked_options

PREPARED = "benchmark.json"
"""The file by which a prepared folder is known."""
FORMAT = 1
_KEYS = {"format", "benchmark", "counts", "missing", "shared"}
Row = dict[str, Any]
Splits = dict[Split, tuple[str, ...]]
"""Ids by split."""


class Options(BaseModel):
    """Keys of ``tasks.options``; each benchmark adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Home:
    """Where a benchmark is published. Nothing is ever downloaded from there.

    Args:
        url: of its page.
        get: what to download.
        size: of the download, as people write it.
        terms: the licence, and what follows from it.
        confirm: what the user has to confirm; empty if nothing.
    """

    url: str
    get: str
    size: str
    terms: str
    confirm: str = ""


@dataclass(frozen=True)
class Item:
    """One published item, with what belongs to it.

    Args:
        id: by which splits name it.
        row: what its task is made of, with the expected answers; as JSON.
        files: what lies beside it, by relative path: a file or folder, or bytes.
    """

    id: str
    row: Row
    files: Mapping[str, Path | bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """An item in a prepared folder.

    Args:
        id, row: as in :class:`Item`.
        files: folder with what lies beside it; it exists only if there is something.
        shared: folder with what all items have in common, such as a corpus.
    """

    id: str
    row: Row
    files: Path
    shared: Path


def no_notes(items: Mapping[Split, Sequence[Item]]) -> list[str]:
    """For benchmarks with nothing to report."""
    return []


def id_of(entry: Any) -> str:
    """The id that an entry of a file of splits names: a text, or an object with an ``id``."""
    return str(entry["id"] if isinstance(entry, dict) else entry)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Args:
        name: value of ``tasks.source``, and of the package.
        title: as its authors write it.
        home: where it is published.
        read: the items in a download, in any layout that its home publishes; raises TaskError.
        task: the task of an item; its digest is filled in later.
        options: the model of ``tasks.options``.
        shared: what all items have in common in a download, by relative path.
        notes: what to report of the chosen items, such as broken ones.
        entry_id: the id of an entry of a file of splits.
        version: raised when the meaning of a task or of its score changes.
    """

    name: str
    title: str
    home: Home
    read: Callable[[Path], Iterator[Item]]
    task: Callable[[Kept, Any], Task]
    options: type[Options] = Options
    shared: Callable[[Path], Mapping[str, Path]] = lambda download: {}
    notes: Callable[[Mapping[Split, Sequence[Item]]], list[str]] = no_notes
    entry_id: Callable[[Any], str] = id_of
    version: int = 1

    @cached_property
    def splits(self) -> Splits:
        """The ids of the paper's splits."""
        file = resources.files(f"skillopt.tasks.benchmarks.{self.name}") / "split.json"
        return self.split_ids(json.loads(file.read_text("utf-8")))

    def split_ids(self, values: Any) -> Splits:
        """The ids of a split file: lists of ids, or of objects with one, by split.

        Raises:
            TaskError: it has another form, or names an item twice.
        """
        try:
            lists = {split: _entries(values["splits"][split]) for split in SPLITS}
            found = {split: tuple(map(self.entry_id, lists[split])) for split in SPLITS}
        except (KeyError, TypeError) as error:
            raise TaskError(
                "a file of splits needs 'splits' with train, val and test, each a list of ids: "
                f"{type(error).__name__}: {error}"
            ) from error
        counts = Counter(id for ids in found.values() for id in ids)
        if twice := [id for id, count in counts.items() if count > 1]:
            raise TaskError(
                f"a file of splits may name an item only once; {len(twice)} are named again: "
                + ", ".join(twice[:10])
            )
        return found

    def source(
        self, config: TasksConfig, folder: Path, **options: Any
    ) -> dict[Split, tuple[Task, ...]]:
        """The tasks of a prepared folder. A :data:`skillopt.tasks.sources.TaskSource`.

        Raises:
            TaskError: there is no such folder, it was prepared for something else, or an option is
                not one of this benchmark.
        """
        chosen = self._options(options)
        if not config.path:
            raise TaskError(
                f"tasks.path: {self.name} needs a folder that 'skillopt data prepare {self.name}' "
                "has written; name it, for example by --set tasks.path=DIR"
            )
        root = Path(config.path)
        about = self.about(root)
        found: dict[Split, tuple[Task, ...]] = {}
        for split in SPLITS:
            file = root / f"{split}.jsonl"
            tasks = list[Task]()
            for number, line in enumerate(filter(None, _lines(file)), start=1):
                try:
                    tasks.append(self._task(json.loads(line), root, about, chosen))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise TaskError(
                        f"tasks.path: {file}: line {number}: is not as it was prepared: "
                        f"{type(error).__name__}: {error}; prepare it again"
                    ) from error
            found[split] = tuple(tasks)
        return found

    def about(self, root: Path) -> Row:
        """What a prepared folder says of itself; raises TaskError if it is not one of this
        benchmark."""
        file = root / PREPARED
        try:
            about: Row = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TaskError(
                f"tasks.path: {file}: {error}; make the folder with 'skillopt data prepare "
                f"{self.name}'"
            ) from error
        if not isinstance(about, dict) or not set(about) >= _KEYS:
            raise TaskError(
                f"tasks.path: {file}: lacks one of {', '.join(sorted(_KEYS))}; prepare it again"
            )
        if about["benchmark"] != self.name or about["format"] != FORMAT:
            raise TaskError(
                f"tasks.path: {root}: was prepared for {about['benchmark']}, format "
                f"{about['format']}, and not for {self.name}, format {FORMAT}; prepare it again"
            )
        return about

    def _options(self, given: Mapping[str, Any]) -> Options:
        return checked_options(self.options, given, "tasks.options.", self.name)

    def _task(self, kept: Row, root: Path, about: Row, options: Options) -> Task:
        id, row = kept["id"], kept["row"]
        files = root / "files" / safe(id)
        if kept["digest"] and not files.is_dir():
            raise TaskError(f"tasks.path: {files}: is missing; prepare {self.name} again")
        task = self.task(Kept(id, row, files, root / "shared"), options)
        parts = [self.name, self.version, row, kept["digest"], about["shared"]]
        return replace(task, digest=digest_of([*parts, options.model_dump(mode="json")]))


def _entries(ids: Any) -> list[Any]:
    """A split's entries; raises TypeError if it is not a list of texts, numbers and objects."""
    if not isinstance(ids, list | tuple):
        raise TypeError(f"expected a list and not {ids!r:.80}")
    for entry in ids:
        if not isinstance(entry, str | int | dict):
            raise TypeError(f"expected an id and not {entry!r:.80}")
    return list(ids)


def _lines(file: Path) -> list[str]:
    """The lines of a file, which end with a line feed alone: texts have other line ends in them."""
    try:
        return file.read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"tasks.path: {file}: {error}; prepare it again") from error


def safe(id: str) -> str:
    """An id as the name of a folder."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in id).lstrip(".") or "-"


def copied(source: Path) -> Callable[[Path], None]:
    """A first workspace with the content of a folder."""

    def workspace(target: Path) -> None:
        shutil.copytree(source, target, dirs_exist_ok=True)

    return workspace
