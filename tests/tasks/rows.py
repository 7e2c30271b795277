"""Files of prompts with answers, written and read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Split, Task
from skillopt.tasks.sources import load_splits


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    match file.suffix:
        case ".json":
            file.write_text(json.dumps(rows))
        case ".parquet":
            arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            parquet.write_table(arrow.Table.from_pylist(rows), file)
        case ".csv" | ".tsv":
            with file.open("w", newline="") as table:
                delimiter = "\t" if file.suffix == ".tsv" else ","
                writer = csv.DictWriter(table, rows[0].keys(), delimiter=delimiter)
                writer.writeheader()
                writer.writerows(rows)
        case _:
            file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def splits_of(source: Path | str, made: Path, **options: Any) -> dict[Split, tuple[Task, ...]]:
    config = TasksConfig(source=str(source), options=options, duplicates="allow")
    return load_splits(config, 0, made)
