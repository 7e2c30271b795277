"""Verifiers of the quickstart meet what a hostile or broken run may leave: reward 0, no crash."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from skillopt.tasks.quickstart.chore import xlsx_bytes
from skillopt.tasks.quickstart.verifiers import verify

Start = Callable[[Path], Path]
Judge = Callable[[Path, Path], tuple[float, str]]

FAMILIES = ("ledger", "logs", "migrate", "reconcile", "repair", "report")


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def zip_of_junk(path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "<junk")
    path.write_bytes(out.getvalue())


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


DEEDS: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "link": link,
    "pipe": os.mkfifo,
    "huge": content(b"0" * 3_000_000),
    "empty": content(b""),
    "binary": content(bytes(range(256)) * 10),
    "zip of junk": zip_of_junk,
    "deep": content(b"[" * 200_000),
    "odd types": content(json.dumps([1, None, {"a": [float("nan")]}]).encode()),
    "odd records": content(json.dumps([{"a": {}, "b": []}] * 30).encode()),
    "odd table": content(b"|a|\n|--|\n|--|--|\n||||||\n|\n" + b"a,b\n" * 5 + b'"'),
    "odd cells": content(xlsx_bytes({"Ledger": [["x"], [], ["Date", 1e300, "", ""]]})),
}


FEW = ("link", "odd cells")


@pytest.mark.slow
@pytest.mark.parametrize(
    "deed", [pytest.param(d, marks=[] if d in FEW else pytest.mark.slow) for d in DEEDS]
)
def test_reward_is_below_one_with_feedback(
    deed: str, tasks: list[Path], start: Start, judge: Judge
) -> None:
    for family in FAMILIES:
        task = next(path for path in tasks if path.name.startswith(family))
        target = json.loads((task / "tests" / "data.json").read_text())["target"]
        workspace = start(task)
        (workspace / target).unlink(missing_ok=True)
        DEEDS[deed](workspace / target)
        reward, feedback = judge(task, workspace)
        assert reward < 0.7, (family, feedback)
        assert len(feedback) > 10


@pytest.mark.slow
def test_a_script_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "RUN_SECONDS", 1)
    with pytest.raises(verify.UnusableError, match="not done after 1 s"):
        verify.Checks().run(["sleep", "5"])


def test_a_script_cannot_plant_a_reward(tasks: list[Path], start: Start, judge: Judge) -> None:
    task = next(path for path in tasks if path.name.startswith("repair"))
    workspace = start(task)
    target = workspace / json.loads((task / "tests" / "data.json").read_text())["target"]
    logs = workspace.parent / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    target.write_text(f"import os\nos.makedirs({str(logs / 'reward.json')!r}, exist_ok=True)\n")
    assert judge(task, workspace)[0] < 1
