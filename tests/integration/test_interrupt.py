"""Interrupted and killed runs: nothing is left behind that the next command does not remove."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sandboxes.docker import OWNER_LABEL, DockerEngine
from sandboxes.owner import scratch_root
from tests.helpers.command_line import SKILLOPT, skillopt
from tests.helpers.small import small_set

# They look at the whole machine, and every run begins with cleaning up.
pytestmark = [pytest.mark.engine, pytest.mark.alone]


@contextmanager
def training(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A run in Codex against a slow model, caught with its rollouts under way."""
    settings = {
        "runs": folder / "runs",
        "tasks.source": folder / "small",
        "upstreams.sim.latency_s": 2,
    }
    if not (folder / "small").is_dir():
        small_set(folder)
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [*SKILLOPT, "train", "quickstart/codex", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def containers(engine: DockerEngine, pid: int, kind: str = "") -> list[str]:
    found = engine.api.containers(all=True, filters={"label": OWNER_LABEL})
    return [
        c["Id"]
        for c in found
        if f"-{pid}-" in c["Labels"][OWNER_LABEL] and kind in c["Labels"]["skillopt.kind"]
    ]


def wait_for_agents(engine: DockerEngine, pid: int) -> None:
    deadline = time.monotonic() + 40
    while not containers(engine, pid, "sandbox"):
        assert time.monotonic() < deadline, "no agent was started"
        time.sleep(0.1)
    time.sleep(1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(
    how: signal.Signals, engine: DockerEngine, tmp_path: Path
) -> None:
    with training(tmp_path) as process:
        wait_for_agents(engine, process.pid)
        started = time.monotonic()
        os.kill(process.pid, how)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said
    assert time.monotonic() - started < 15
    assert containers(engine, process.pid) == []
    assert not list(scratch_root().glob(f"*-{process.pid}-*/**/*.sock"))
    assert not any("codex exec" in " ".join(p.info["cmdline"] or ())
                   for p in psutil.process_iter(["cmdline"]))  # fmt: skip
    assert not list((tmp_path / "runs" / "store" / "tmp").iterdir())


def test_clean_removes_what_a_killed_run_left_and_nothing_of_a_living_one(
    engine: DockerEngine, tmp_path: Path
) -> None:
    with training(tmp_path / "dead") as dead, training(tmp_path / "living") as living:
        for process in (dead, living):
            wait_for_agents(engine, process.pid)
        dead.kill()
        dead.wait()
        left = containers(engine, dead.pid)
        assert left
        kept = containers(engine, living.pid, "relay")
        done = skillopt("clean")
        assert done.returncode == 0, done.stderr
        assert all(container[:12] in done.stdout for container in left)
        assert containers(engine, dead.pid) == []
        assert set(kept) <= set(containers(engine, living.pid, "relay"))
        assert not list(scratch_root().glob(f"*-{dead.pid}-*"))
        living.send_signal(signal.SIGINT)
        living.communicate(timeout=30)
