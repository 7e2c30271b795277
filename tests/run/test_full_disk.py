"""A full disk pauses the run with a message; nothing that was finished is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skillopt.rollouts.store import MIN_FREE_BYTES
from skillopt.run.journal import LOG, Journal, JournalError, read_records
from skillopt.run.records import StageStarted
from tests.helpers.small import small_set

CAN_MOUNT = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
pytestmark = pytest.mark.skipif(
    not CAN_MOUNT and os.environ.get("SKILLOPT_REQUIRE_ENGINE") != "1",
    reason="needs the right to mount a small file system",
)

TRAIN = f"{sys.executable} -m skillopt train quickstart/local --set train.batch_size=2"


def in_small_disk(disk: Path, megabytes: float, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script where ``disk`` is a file system of that size."""
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={round(megabytes * 1024)}k tmpfs {disk}"
    return subprocess.run(
        ["unshare", "-m", "bash", "-ec", f"{mount}\n{script}"],
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.slow
def test_a_run_pauses_when_the_disk_is_nearly_full_and_goes_on_after(tmp_path: Path) -> None:
    tasks, disk = small_set(tmp_path), tmp_path / "disk"
    size = MIN_FREE_BYTES / 2**20
    train = f"{TRAIN} --set runs={disk}/runs --set tasks.source={tasks}"
    done = in_small_disk(
        disk,
        size + 40,
        f"""
        head -c 50M /dev/zero > {disk}/filler
        {train} > {tmp_path}/first.out 2> {tmp_path}/first.err && exit 9 || echo "first: $?"
        cat {disk}/runs/quickstart-local/{LOG} > {tmp_path}/paused.jsonl
        rm {disk}/filler
        {train} > {tmp_path}/second.out 2> {tmp_path}/second.err; echo "second: $?"
        """,
    )
    assert done.stdout == "first: 3\nsecond: 0\n", done.stderr
    said = (tmp_path / "first.err").read_text()
    assert "the disk is full" in said and "free some space" in said and "Traceback" not in said
    assert (tmp_path / "paused.jsonl").read_bytes().endswith(b"\n")
    assert "selection score 0.500 -> 1.000" in (tmp_path / "second.out").read_text()


def test_a_record_that_does_not_fit_leaves_the_log_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    code = f"""
import pathlib
from skillopt.run.journal import Journal, read_records
from skillopt.run.records import RunStopped
root = pathlib.Path({str(disk)!r}) / "run"
with Journal(root) as journal:
    kept = 0
    try:
        while True:
            journal.append(RunStopped(reason="x" * 3000))
            kept += 1
    except OSError as error:
        print(error.strerror)
    assert len(read_records(root)) == kept > 10
    assert (root / "events.jsonl").read_bytes().endswith(b"\\n")
    (root.parent / "filler").unlink()
    journal.append(RunStopped(reason="there is room again"))
assert read_records(root)[-1].reason == "there is room again"
"""
    (tmp_path / "fill.py").write_text(code)
    script = f"head -c 16k /dev/zero > {disk}/filler\n{sys.executable} {tmp_path}/fill.py"
    done = in_small_disk(disk, 0.125, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "No space left on device\n"


@pytest.mark.parametrize("fault", ["short", "failing", "unsynced"])
def test_a_record_that_is_not_wholly_kept_is_taken_back(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path) as journal:
        journal.append(StageStarted(stage="first", total=1))
        whole = (tmp_path / LOG).read_bytes()
        real = os.write

        def write(file: int, data: bytes) -> int:
            written = real(file, data[: len(data) // 2])
            if fault == "failing":
                raise OSError(errno.EIO, "broken")
            return written

        def sync(file: int) -> None:
            raise OSError(errno.EIO, "broken")

        with monkeypatch.context() as patched:
            if fault == "unsynced":
                patched.setattr(os, "fsync", sync)
            else:
                patched.setattr(os, "write", write)
            with pytest.raises(OSError, match="No space" if fault == "short" else "broken"):
                journal.append(StageStarted(stage="second", total=1))
        assert (tmp_path / LOG).read_bytes() == whole
        journal.append(StageStarted(stage="third", total=1))
    assert [r.stage for r in read_records(tmp_path) if isinstance(r, StageStarted)] == [
        "first",
        "third",
    ]


def test_a_log_that_cannot_be_opened_keeps_no_lock(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("no record\n{}\n")
    kept = [Journal(tmp_path), Journal(tmp_path)]
    for journal in kept:
        with pytest.raises(JournalError, match=r"events\.jsonl:1: not a record"):
            journal.__enter__()
    (tmp_path / LOG).unlink()
    with Journal(tmp_path) as journal:
        assert journal.records == []
