"""From a public download to a prepared folder: the chosen items by split, with their files.

A prepared folder has ``benchmark.json``, ``train.jsonl``, ``val.jsonl``, ``test.jsonl``, a folder
in ``files/`` for each item that needs one, and ``shared/``.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skillopt.config.kinds import BENCHMARKS
from skillopt.core.files import to_json
from skillopt.core.import_path import load
from skillopt.core.types import Split
from skillopt.tasks.benchmarks.base import FORMAT, PREPARED, Benchmark, Item, Splits, safe
from skillopt.tasks.benchmarks.files import check_complete
from skillopt.tasks.harbor import SPLITS, TaskError, folder_digest


@dataclass(frozen=True)
class Prepared:
    """What was found in a download.

    Args:
        counts: items by split.
        missing: ids of the splits that the download does not have.
        notes: what the user should know of the items.
    """

    folder: Path
    counts: Mapping[Split, int]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def benchmark(name: str) -> Benchmark:
    """A benchmark by name; raises TaskError if there is none."""
    if name not in BENCHMARKS:
        raise TaskError(f"no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}")
    found: Benchmark = load(f"{BENCHMARKS[name]}:BENCHMARK", "benchmark")
    return found


def read_splits(benchmark: Benchmark, path: Path) -> Splits:
    """The ids by split in a JSON file, or in a folder of the reference's form: SPLIT/items.json.

    Raises:
        TaskError: there is none, or it has another form; see :meth:`Benchmark.split_ids`.
    """
    try:
        if path.is_dir():
            lists = {split: path / split / "items.json" for split in SPLITS}
            values = {"splits": {s: json.loads(f.read_text("utf-8")) for s, f in lists.items()}}
        else:
            values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError(f"{path}: {error}") from error
    try:
        return benchmark.split_ids(values)
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error


def prepare(
    benchmark: Benchmark, download: Path, target: Path, splits: Splits | None = None
) -> Prepared:
    """Write the tasks of a download to a folder, which must not exist.

    Args:
        benchmark: whose items they are.
        download: file or folder, as its home publishes it.
        target: the folder to write.
        splits: ids by split; by default the paper's.

    Raises:
        TaskError: the target exists, the download cannot be read, or it has none of the ids.
    """
    if target.exists():
        raise TaskError(f"{target}: already exists; name another folder with --to, or remove it")
    if not download.exists():
        raise TaskError(f"{download}: no such file or folder; give the download with --from")
    check_complete(download)
    wanted = splits or benchmark.splits
    places = {id: split for split in SPLITS for id in wanted[split]}
    found = {item.id: item for item in benchmark.read(download) if item.id in places}
    if not found:
        raise TaskError(
            f"{download}: has none of the {len(places)} items; is it {benchmark.home.get}?"
        )
    items: dict[Split, list[Item]] = {
        split: [found[id] for id in wanted[split] if id in found] for split in SPLITS
    }
    notes = benchmark.notes(items)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    missing = tuple(id for id in places if id not in found)
    counts = {split: len(items[split]) for split in SPLITS}
    try:
        fresh.mkdir()
        shared = _shared(benchmark.shared(download), fresh / "shared")
        for split in SPLITS:
            _write(items[split], fresh, split)
        about = {
            "format": FORMAT,
            "benchmark": benchmark.name,
            "counts": counts,
            "missing": missing,
            "notes": notes,
            "shared": shared,
        }
        (fresh / PREPARED).write_text(to_json(about), "utf-8")
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Prepared(target, counts, missing, tuple(notes))


def _write(items: Sequence[Item], root: Path, split: Split) -> None:
    with (root / f"{split}.jsonl").open("x", encoding="utf-8") as lines:
        for item in items:
            folder = root / "files" / safe(item.id)
            for name, content in sorted(item.files.items()):
                _put(content, folder / name)
            digest = folder_digest(folder) if item.files else ""
            kept = {"id": item.id, "row": item.row, "digest": digest}
            lines.write(json.dumps(kept, ensure_ascii=False) + "\n")


def _put(content: Path | bytes, target: Path) -> None:
    """Write a file or folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    elif content.is_dir():
        shutil.copytree(content, target)
    else:
        shutil.copyfile(content, target)


def _shared(parts: Mapping[str, Path], folder: Path) -> str:
    """Link what all items have in common, which may be large, or copy it to another disk. Agents
    may be another user, who has to be able to read it.

    Returns:
        Its digest; empty if there is nothing.
    """
    for name, source in parts.items():
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        for file in files:
            if file.is_file():
                # Of a file itself the relative path is a dot, which leaves the name as it is.
                target = folder / name / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(file.resolve(), target)
    for made in (folder, *folder.rglob("*")):
        if made.is_dir():
            made.chmod(0o755)
    return folder_digest(folder) if parts else ""


def _link(file: Path, target: Path) -> None:
    """Link a file, or copy it if it cannot be linked or not all can read it."""
    if file.stat().st_mode & 0o444 == 0o444:
        with suppress(OSError):  # Another disk, or one without links.
            os.link(file, target)
            return
    shutil.copyfile(file, target)
    target.chmod(0o644)
