"""A process's work is not destroyed, or read as one's own, by another one that cannot see it:
another container, another host, or whoever puts a file there (docs/faults, runs, kind 2)."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.helpers.tiny import Tiny, command, program, refused, tiny

__all__ = ["tiny"]
WAITING = '''
import time
from pathlib import Path


class Waiting(Writer):
    """Works until it is told to end."""

    def run(self, request, site):
        Path(f"at-work-{request.id}").touch()
        while not Path("go").exists():
            time.sleep(0.02)
        return super().run(request, site)
'''
ELSEWHERE = ["unshare", "-pf", "--mount-proc"]
"""In a process namespace of its own, as in another container that shares the folder."""


def until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


@contextmanager
def under_way(tiny: Tiny) -> Iterator[subprocess.Popen[str]]:
    """A training whose first two rollouts wait for the file ``go``."""
    tiny.own(WAITING)
    tiny.write(harness__name="own:Waiting")
    shutil.copy("tiny.yaml", "waiting.yaml")
    tiny.write(harness__name="own:Writer")
    process = program("train", "waiting.yaml")
    try:
        until(lambda: len(list(tiny.folder.glob("at-work-*"))) == 2 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def can_be_elsewhere() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*ELSEWHERE, "true"], capture_output=True).returncode == 0
    )


def elsewhere(*words: str) -> subprocess.CompletedProcess[str]:
    process = program(*words, before=ELSEWHERE)
    out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.mark.slow
@pytest.mark.skipif(not can_be_elsewhere(), reason="no process namespaces of one's own here")
def test_two_containers_share_a_folder_of_runs(tiny: Tiny) -> None:
    with under_way(tiny) as first:
        before = sorted(p.name for p in (tiny.store / "tmp").iterdir())
        assert len(before) >= 2
        done = elsewhere("eval", "my-skill", "--config", "tiny.yaml", "--split", "test")
        assert done.returncode == 0, done.stderr
        assert sorted(p.name for p in (tiny.store / "tmp").iterdir()) == before
        shown = elsewhere("show", "runs/tiny", "--json")
        assert json.loads(shown.stdout)["summary"]["state"] == "running", shown
        refused(elsewhere("train", "tiny.yaml"), "is training this run")
        tiny.put("go", "")
        _, err = first.communicate(timeout=100)
        assert first.returncode == 0, err


@pytest.mark.slow
def test_what_a_dead_process_left_is_removed_and_said(tiny: Tiny) -> None:
    """Of this machine alone it is known that it is dead."""
    with under_way(tiny) as first:
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert len(list((tiny.store / "tmp").iterdir())) >= 2
    shown = command("show", "runs/tiny", "--json")
    assert json.loads(shown.stdout)["summary"]["state"] == "killed"
    assert command("eval", "my-skill", "--config", "tiny.yaml").returncode == 0
    assert list((tiny.store / "tmp").iterdir()) == []


FOREIGN = (".nfs0001", ".DS_Store", "123abc", "lost+found", "a-b-c-d.0123456789ab", "0" * 200)


def test_what_is_not_ours_is_left_alone(tiny: Tiny) -> None:
    for name in FOREIGN:
        tiny.put(f"runs/store/tmp/{name}", "theirs")
    tiny.put("runs/store/tmp/a folder of theirs/file", "theirs")
    tiny.put("runs/.nfs0002", "theirs")
    tiny.put("runs/store/.nfs0003", "theirs")
    tiny.put("runs/theirs/notes.txt", "theirs")
    for _ in range(2):
        done = tiny.train()
        assert done.returncode == 0, done.stderr
    for words in (["runs", "list"], ["show", "tiny"], ["report", "tiny"]):
        done = command(*words)
        assert done.returncode == 0, done.stderr
    left = {path.name for path in (tiny.store / "tmp").iterdir()}
    assert left == {*FOREIGN, "a folder of theirs"}


@pytest.mark.slow
def test_two_processes_of_one_number_do_not_write_to_one_file(tiny: Tiny) -> None:
    """In containers each first process has the number 1."""
    code = (
        "import os, sys, threading; os.getpid = lambda: 1\n"
        "from tests.helpers.tiny import command\n"
        "ran = []\n"
        "def package(): ran.append(command('package', 'my-skill', '--archive', 'a.skill',\n"
        "                                  '--plugin', 'plugin').returncode)\n"
        "for _ in range(5): package()\n"
        "assert ran == [0] * 5, ran\n"
    )
    several = [subprocess.Popen([sys.executable, "-c", code], stderr=-1) for _ in range(2)]
    assert [(p.communicate()[1], p.returncode) for p in several] == [(b"", 0)] * 2
