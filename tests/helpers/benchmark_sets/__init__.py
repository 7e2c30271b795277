"""Task sets of our own in the benchmarks' public layouts: 4 items a split, made up.

Each module has ``write(folder)``, which writes a download and returns the ids by split.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

from tests.helpers.command_line import skillopt

SPLITS = ("train", "val", "test")
EACH = 4


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a benchmark's set to a folder; the download and a file of its splits."""
    download = folder / "download"
    download.mkdir(parents=True)
    ids = import_module(f"tests.helpers.benchmark_sets.{name}").write(download)
    assert len(ids) == len(SPLITS) * EACH
    splits = {split: ids[n * EACH : (n + 1) * EACH] for n, split in enumerate(SPLITS)}
    file = folder / "splits.json"
    file.write_text(json.dumps({"splits": splits}))
    return download, file


def prepared(name: str, folder: Path) -> Path:
    """The folder that ``skillopt data prepare`` makes of a benchmark's set."""
    download, splits = write(name, folder)
    target = folder / "prepared"
    done = skillopt(
        "data", "prepare", name, "--from", download, "--to", target, "--splits", splits,
        "--accept-terms",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"wrote {target}: {EACH} train, {EACH} val, {EACH} test tasks" in done.stdout
    return target
