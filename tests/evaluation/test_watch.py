"""Watching: every save is scored once it is quiet, and only the last of many."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skillopt.core.skill import Skill, write_skill
from skillopt.deploy.actions import Standing, deploy
from skillopt.deploy.drift import watch_deployed
from skillopt.deploy.ledger import Ledger
from skillopt.deploy.places import place_of
from skillopt.evaluation.watch import Cancelled, Scored, Unscorable, subset, watch
from skillopt.rollouts.prepare import prepare
from tests.helpers.command_line import SKILLOPT, small_options
from tests.helpers.small import small_config

RULE = "- When matching ids between files, ignore leading zeros and letter case."


def version(text: str) -> Skill:
    return Skill("mine", "Use it for office chores.", f"# Mine\n\n{text}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    small_config(folder)
    return folder


@contextmanager
def running(target: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=target, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@pytest.mark.slow
def test_saves_are_scored_and_compared_with_the_version_before(
    folder: Path, tmp_path: Path
) -> None:
    path, seen = tmp_path / "mine", []
    write_skill(version("- nothing"), path)
    with running(lambda stop: watch(path, small_config(folder), seen.append, stop)):
        wait_for(lambda: len(seen) == 1)
        write_skill(version(RULE), path)
        wait_for(lambda: len(seen) == 2)
        (path / "SKILL.md").write_text("---\nname: [\n---\n")
        wait_for(lambda: len(seen) == 3)
        write_skill(version(RULE), path)  # The same as the last that was scored: nothing to do.
        time.sleep(1)
    first, second, third = seen
    assert isinstance(first, Scored) and first.row.gain is None
    assert isinstance(second, Scored) and second.row.gain is not None
    assert second.row.gain.value > 0 and len(second.row.fixed) == 1
    assert isinstance(third, Unscorable) and "front matter is not YAML" in third.message


@pytest.mark.slow
def test_a_hundred_rapid_saves_end_with_one_evaluation_of_the_last(
    folder: Path, tmp_path: Path
) -> None:
    path, seen = tmp_path / "mine", []
    write_skill(version("- start"), path)
    with running(lambda stop: watch(path, small_config(folder), seen.append, stop)):
        wait_for(lambda: len(seen) == 1)
        for number in range(100):
            write_skill(version(f"- save {number}"), path)
        wait_for(lambda: len(seen) == 2)
        time.sleep(1)
    assert len(seen) == 2 and isinstance(seen[1], Scored)
    assert "save 99" in seen[1].skill.body


@pytest.mark.slow
def test_a_save_cancels_the_evaluation_under_way(folder: Path, tmp_path: Path) -> None:
    path, seen = tmp_path / "mine", []
    config = small_config(folder, runs=str(tmp_path), **{"upstreams.sim.latency_s": 1})
    write_skill(version("- slow one"), path)
    with running(lambda stop: watch(path, config, seen.append, stop)):
        wait_for(lambda: any(tmp_path.glob("store/tmp/*")))
        started = time.monotonic()
        write_skill(version("- slow two"), path)
        wait_for(lambda: bool(seen))
        assert isinstance(seen[0], Cancelled) and "slow one" in seen[0].skill.body
        assert time.monotonic() - started < 8
        wait_for(lambda: len(seen) == 2)
    assert isinstance(seen[1], Scored) and "slow two" in seen[1].skill.body


def test_the_subset_is_always_the_same(folder: Path) -> None:
    prepared = prepare(small_config(folder))
    assert subset(prepared, "val", 1) == subset(prepared, "val", 1)
    assert len(subset(prepared, "val", 99)) == 2


@pytest.mark.slow
def test_drift_of_what_is_deployed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CODEX_HOME", raising=False)
    seen: list[Standing] = []
    root = tmp_path / "ledger"
    with Ledger(root) as ledger:
        entry = deploy(version("- one"), place_of("codex", "user"), ledger, {})
    file = Path(entry.target) / "SKILL.md"
    text = file.read_text()
    with running(lambda stop: watch_deployed(seen.append, stop, root)):
        time.sleep(0.8)
        assert seen == []
        file.write_text(text + "more")
        wait_for(lambda: len(seen) == 1)
        file.write_text(text)
        wait_for(lambda: len(seen) == 2)
    assert [standing.state for standing in seen] == ["changed", "unchanged"]


@pytest.mark.slow
def test_the_command_scores_and_ends_with_an_interrupt(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    write_skill(version("- nothing"), path)
    command = [*SKILLOPT, "watch", str(path), "--config", "quickstart/local"]
    options = [str(option) for option in small_options(folder)]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "% [" in line and "of 2 tasks" in line
        write_skill(version(RULE), path)
        line = process.stdout.readline()
        assert "+50 [" in line and "points against the previous version; fixed: reconcile-" in line
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said
