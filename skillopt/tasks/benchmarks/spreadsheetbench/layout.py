"""Reads a download of SpreadsheetBench: the verified set, and the older ones."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from skillopt.tasks.benchmarks.base import Item
from skillopt.tasks.benchmarks.files import records, unpacked
from skillopt.tasks.benchmarks.limited import LimitError, limited
from skillopt.tasks.benchmarks.spreadsheetbench import reading

COLUMNS = ("id", "instruction", "answer_position")
PAIRS = {"_input.xlsx": "_answer.xlsx", "_init.xlsx": "_golden.xlsx"}
"""How inputs and golds end: the older sets', and the verified one's."""
BARE = ("initial.xlsx", "golden.xlsx")
"""Five items of the verified set have these."""
VERIFIED = "verified"
"""In the name of the archive of the verified set."""
SECONDS = 600
_UNREAD = {"preview": "", "answers": [], "problems": ["unreadable"]}


def read(download: Path) -> Iterator[Item]:
    """The items that have workbooks, each examined: that takes about a second an item."""
    with ExitStack() as stack, ThreadPoolExecutor(os.cpu_count()) as pool:
        roots = [stack.enter_context(unpacked(file)) for file in _archives(download)] or [download]
        rows = (found for root in roots for found in _rows(root))
        yield from filter(None, pool.map(lambda found: _item(*found), rows))


def _archives(download: Path) -> list[Path]:
    """The archives to unpack: in a folder without the unpacked set, as in a clone of its
    repository, those of the verified set, or else all."""
    if download.is_file():
        return [] if download.suffix.lower() in (".json", ".jsonl") else [download]
    if _data_files(download):
        return []
    found = [file for file in sorted(download.rglob("*")) if _is_archive(file)]
    return [file for file in found if VERIFIED in file.name] or found


def _is_archive(file: Path) -> bool:
    return file.is_file() and file.name.endswith((".tar", ".tar.gz", ".tgz"))


def _data_files(root: Path) -> list[Path]:
    files = [root] if root.is_file() else sorted(root.rglob("dataset.json*"))
    return [file for file in files if not file.name.startswith(".")]


def _rows(root: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """The rows, each with the folder of the file that it is from."""
    for file in _data_files(root) or [root]:
        for row in records(file, COLUMNS, (".json", ".jsonl")):
            yield row, file.parent if file.is_file() else file


def _item(row: Mapping[str, Any], base: Path) -> Item | None:
    id = str(row["id"])
    folder = _folder(row, id, base)
    cases = find_cases(folder) if folder is not None else []
    if not cases:
        return None
    position, sheet = (str(row.get(key) or "") for key in ("answer_position", "answer_sheet"))
    files = {
        f"{kind}_{number}.xlsx": path.read_bytes()
        for number, case in enumerate(cases, start=1)
        for kind, path in zip(("input", "gold"), case, strict=True)
    }
    kept = {
        "instruction": str(row["instruction"]),
        "type": str(row.get("instruction_type") or ""),
        "position": position,
        "sheet": sheet,
        "cases": len(cases),
    }
    return Item(id, kept | _examined(files, len(cases), position, sheet), files)


def _folder(row: Mapping[str, Any], id: str, base: Path) -> Path | None:
    """The folder with an item's workbooks, which a path in the row cannot lead out of."""
    for name in (str(row.get("spreadsheet_path") or ""), f"spreadsheet/{id}"):
        folder = (base / name).resolve()
        if name and folder.is_relative_to(base.resolve()) and folder.is_dir():
            return folder
    return None


def find_cases(folder: Path) -> list[tuple[Path, Path]]:
    """Input and gold of each case, by number. Item 42930 of the verified set has a gold with
    another id in its name; the number is what counts if there is only one gold of it."""
    found = []
    for start, end in PAIRS.items():
        for source in folder.glob(f"*{start}"):
            gold = source.with_name(source.name.removesuffix(start) + end)
            if not gold.is_file():
                others = [*folder.glob(f"{source.name.partition('_')[0]}_*{end}")]
                gold = others[0] if len(others) == 1 else gold
            if gold.is_file():
                found.append((source, gold))
    bare = tuple(folder / name for name in BARE)
    if not found and all(file.is_file() for file in bare):
        found = [(bare[0], bare[1])]
    return sorted(found, key=lambda case: (_number(case[0]), case[0].name))


def _number(file: Path) -> int:
    number = re.match(r"\d+", file.name)
    return int(number[0]) if number else 0


def _examined(files: Mapping[str, bytes], cases: int, position: str, sheet: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="so-") as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        pairs = [
            {kind: str(folder / f"{kind}_{number}.xlsx") for kind in ("input", "gold")}
            for number in range(1, cases + 1)
        ]
        given = {"cases": pairs, "position": position, "sheet": sheet}
        try:
            found: dict[str, Any] = limited(reading.examine, given, seconds=SECONDS)
        except LimitError:
            return _UNREAD
    return found
