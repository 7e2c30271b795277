"""A sandbox for a single command keeps and reports what every other does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandboxes.base import Limits, Mount, Sandbox, SandboxError
from sandboxes.docker import ENGINE_LABEL, KIND_LABEL, SANDBOX_KIND, DockerEngine

pytestmark = pytest.mark.engine
MakeSandbox = Callable[..., Sandbox]

ABOUT = """
id -u; id -g; pwd; umask; ulimit -f -n -c
grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status
env | grep -v '^HOSTNAME=' | sort
readlink /proc/self/fd/0
head -c 17 /proc/1/cmdline
ls -la /app /tmp | awk '{print $1, $3, $9}'
"""


@pytest.fixture
def both(docker: MakeSandbox, single: MakeSandbox) -> tuple[MakeSandbox, MakeSandbox]:
    return docker, single


def kill(engine: DockerEngine, act: Callable[[str], object]) -> None:
    """Do something to the sandbox that runs, in a moment."""
    mine = [f"{ENGINE_LABEL}={engine.id}", f"{KIND_LABEL}={SANDBOX_KIND}"]

    def later() -> None:
        [found] = engine.api.containers(filters={"label": mine})
        act(found["Id"])

    threading.Timer(0.8, later).start()


def test_a_command_finds_the_same(both: tuple[MakeSandbox, MakeSandbox], writable: Path) -> None:
    mounts = (Mount(str(writable), "/app", read_only=False),)
    found = [
        make(mounts=mounts, env={"A": "1", "B": "2"}).run(
            ["bash", "-c", ABOUT], deadline_s=20, env={"B": "3"}
        )
        for make in both
    ]
    assert found[0].exit_code == 0 and found[0].stderr == b""
    assert found[0].stdout == found[1].stdout


@pytest.mark.parametrize(
    ("script", "limits", "ending"),
    [
        ("exec tail /dev/zero", Limits(memory_mb=64), (137, "memory")),
        ("tail /dev/zero; exit 3", Limits(memory_mb=64), (3, "memory")),
        ("tail /dev/zero; exit 0", Limits(memory_mb=64), (0, None)),
        ("kill -9 $$", Limits(), (137, None)),
        ("kill -9 1; kill 1; sleep 0.1; exit 4", Limits(), None),
        ("kill -TERM $$", Limits(), (143, None)),
        ("sleep 100 & exit 6", Limits(), (6, None)),
        ("exec >&- 2>&-; sleep 0.7; exit 5", Limits(), (5, None)),
        ("sleep 100", Limits(), (None, None)),
    ],
)
def test_a_command_ends_the_same(
    both: tuple[MakeSandbox, MakeSandbox],
    script: str,
    limits: Limits,
    ending: tuple[int | None, str | None] | None,
) -> None:
    results = [make(limits=limits).run(["bash", "-c", script], deadline_s=3) for make in both]
    ends = [(one.exit_code, one.limit) for one in results]
    assert [one.timed_out for one in results] == [script == "sleep 100"] * 2
    if ending is None:  # Its own init passes the signal on to it.
        assert ends[0] == (4, None) and ends[1] in ((4, None), (143, None))
    else:
        assert ends == [ending] * 2


def test_a_kill_for_memory_that_the_engine_learns_of_after_the_end_is_seen(
    engine: DockerEngine, single: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = engine.api.inspect_container

    def forgetful(container: str) -> dict[str, Any]:
        found: dict[str, Any] = inspect(container)
        found["State"]["OOMKilled"] = False
        return found

    monkeypatch.setattr(engine.api, "inspect_container", forgetful)
    script = ["bash", "-c", "tail /dev/zero; exit 3"]
    result = single(limits=Limits(memory_mb=64)).run(script, deadline_s=20)
    assert (result.exit_code, result.limit) == (3, "memory")


@pytest.mark.parametrize("how", ["kill", "stop", "remove_container"])
def test_one_that_is_taken_away_is_an_engine_failure(
    engine: DockerEngine, single: MakeSandbox, how: str
) -> None:
    sandbox = single()
    given = {"force": True} if how == "remove_container" else {}
    kill(engine, lambda found: getattr(engine.api, how)(found, **given))
    with pytest.raises(SandboxError):
        sandbox.run(["bash", "-c", "trap 'exit 0' TERM; sleep 30 & wait"], deadline_s=30)


def test_there_is_no_second_command(single: MakeSandbox, tmp_path: Path) -> None:
    sandbox = single()
    assert sandbox.run(["true"], deadline_s=10).exit_code == 0
    with pytest.raises(SandboxError, match="has run its only command"):
        sandbox.run(["true"], deadline_s=10)
    with pytest.raises(SandboxError, match="has run its only command"):
        sandbox.copy_in(tmp_path, "/x")


def test_one_that_shall_do_more_than_was_said_can(single: MakeSandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    sandbox = single()
    sandbox.copy_in(tmp_path / "file", "/work/file")
    assert sandbox.spawn(["sleep", "60"])
    for _ in range(2):
        assert sandbox.run(["cat", "/work/file"], deadline_s=10).stdout == b"here"


def test_children_that_lost_their_parents_do_not_stay(single: MakeSandbox) -> None:
    script = "for n in $(seq 40); do (sleep 0.01 &) ; done; sleep 0.5; grep -l 'State:.Z' "
    script += "/proc/[0-9]*/status 2>/dev/null | wc -l"
    result = single(limits=Limits(pids=64)).run(["bash", "-c", script], deadline_s=20)
    assert result.stdout.strip() == b"0"


def test_nothing_runs_on_in_one_that_is_stopped(single: MakeSandbox, writable: Path) -> None:
    sandbox = single(mounts=(Mount(str(writable), "/app", read_only=False),))
    script = "setsid sh -c 'sleep 1; echo late > /app/late' >/dev/null 2>&1 & exit 0"
    assert sandbox.run(["bash", "-c", script], deadline_s=10).exit_code == 0
    threading.Event().wait(1.3)
    assert list(writable.iterdir()) == []
