"""How commands in containers end, by what the engine and the kernel say; and what is kept of what
they print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from sandboxes import ending
from sandboxes.base import SandboxError
from sandboxes.output import Output


class Clock:
    """A clock that goes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ending, "time", made)
    return made


class Watch:
    """Reaches a limit when it has been asked so many times."""

    pause_s = 1.0

    def __init__(self, limit: str | None = None, after: int = 0, at_end: str | None = None) -> None:
        self._limit, self._left, self._at_end = limit, after, at_end

    def reached(self) -> str | None:
        self._left -= 1
        return self._limit if self._left < 0 else None

    def reached_at_end(self) -> str | None:
        return self._at_end


class Engine:
    """Says of a command and its container what it was made to say; the last of each stays so."""

    patience_s = 3.0

    def __init__(
        self,
        codes: tuple[int | None, ...],
        states: tuple[dict[str, Any], ...] = ({},),
        done: tuple[str, ...] = (),
    ) -> None:
        self.api = self
        self._codes, self._states, self._done = list(codes), list(states), done
        self.since: tuple[str, float] | None = None

    def exec_inspect(self, exec_id: str) -> dict[str, Any]:
        code = self.wait("", 0.0)
        return {"Running": code is None, "ExitCode": code}

    def wait(self, container: str, pause_s: float) -> int | None:
        return self._codes.pop(0) if len(self._codes) > 1 else self._codes[0]

    def inspect_container(self, container: str) -> dict[str, Any]:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return {"State": {"Running": True, "OOMKilled": False, "StartedAt": "then"} | state}

    def done_to(self, container: str, started: str, seconds: float) -> tuple[str, ...]:
        self.since = started, seconds
        return self._done


DEAD = {"Running": False}
OOM = {"Running": False, "OOMKilled": True}


@pytest.mark.parametrize(
    ("codes", "states", "watch", "ends"),
    [
        ((0,), ({},), Watch(), (0, None)),
        ((3,), (DEAD,), Watch(), (3, None)),
        ((None, None, 5), ({},), Watch(), (5, None)),
        ((None,), ({},), Watch("time", 3), (None, "time")),
        ((None, 0), ({},), Watch("time", 1), (0, None)),
        ((0,), ({},), Watch(at_end="disk"), (None, "disk")),
        ((9,), ({},), Watch(at_end="disk"), (None, "disk")),
        # What killed itself in a container that goes on, and what was killed with that.
        ((137,), ({},), Watch(), (137, None)),
        ((137,), (OOM,), Watch(), (None, "memory")),
        ((137,), ({}, {}, OOM), Watch(), (None, "memory")),
        ((137,), (OOM,), Watch(at_end="disk"), (None, "memory")),
        ((137,), ({},), Watch(at_end="disk"), (None, "disk")),
        ((136,), (OOM,), Watch(), (136, None)),
    ],
)
def test_how_a_command_beside_others_ends(
    codes: tuple[int | None, ...],
    states: tuple[dict[str, Any], ...],
    watch: Any,
    ends: tuple[int | None, str | None],
    clock: Clock,
) -> None:
    engine: Any = Engine(codes, states)
    assert ending.end_beside(engine, "c" * 64, "e", watch) == ends
    assert clock.now <= 102.1


@pytest.mark.parametrize("states", [(DEAD,), ({}, {}, DEAD)])
def test_a_container_that_somebody_took_away_is_no_end_of_its_command(
    states: tuple[dict[str, Any], ...], clock: Clock
) -> None:
    engine: Any = Engine((137,), states)
    watch: Any = Watch()
    with pytest.raises(SandboxError, match="container cccccccccccc was ended before its command"):
        ending.end_beside(engine, "c" * 64, "e", watch)


@pytest.mark.parametrize(
    ("codes", "state", "done", "watch", "ends"),
    [
        ((0,), {}, ("kill", "oom"), Watch(), (0, None)),
        ((3,), {}, (), Watch(), (3, None)),
        ((None, None, 0), {}, (), Watch(), (0, None)),
        ((None,), {}, (), Watch("disk", 2), (None, "disk")),
        ((0,), {}, (), Watch(at_end="disk"), (None, "disk")),
        ((3,), OOM, (), Watch(at_end="disk"), (None, "disk")),
        # The kernel may have killed another process than the one that ended.
        ((1,), OOM, (), Watch(), (1, "memory")),
        ((137,), OOM, (), Watch(), (137, "memory")),
        ((1,), {}, ("oom",), Watch(), (1, "memory")),
        ((137,), {}, ("kill", "oom"), Watch(), (137, "memory")),
        ((137,), {}, (), Watch(), (137, None)),
        ((137,), {}, ("die",), Watch(), (137, None)),
        ((1,), {}, ("kill",), Watch(), (1, None)),
    ],
)
def test_how_a_container_ends_that_is_its_command(
    codes: tuple[int | None, ...],
    state: dict[str, Any],
    done: tuple[str, ...],
    watch: Any,
    ends: tuple[int | None, str | None],
    clock: Clock,
) -> None:
    engine: Any = Engine(codes, (state,), done)
    assert ending.end_alone(engine, "c" * 64, watch, 97.0, 99.0) == ends


def test_a_container_that_was_killed_from_outside_is_no_end_of_its_command(clock: Clock) -> None:
    engine: Any = Engine((137,), ({},), ("kill",))
    watch: Any = Watch()
    with pytest.raises(SandboxError, match="was ended before its command"):
        ending.end_alone(engine, "c" * 64, watch, 100.0, 100.0)


@pytest.mark.parametrize(
    ("code", "state", "watch", "ends"),
    [
        (0, {}, Watch(), (0, None)), (5, {}, Watch(), (5, None)), (136, {}, Watch(), (136, None)),
        (254, {}, Watch(), (254, None)), (137, OOM, Watch(), (137, "memory")),
        (255, OOM, Watch(), (255, "memory")), (255, {}, Watch(at_end="disk"), (None, "disk")),
        # No command can kill the first process of its container.
        (137, {}, Watch(), None), (255, {}, Watch(), None),
    ],
)  # fmt: skip
def test_how_a_shell_ends_that_is_a_containers_first_process(
    code: int,
    state: dict[str, Any],
    watch: Any,
    ends: tuple[int | None, str | None] | None,
    clock: Clock,
) -> None:
    engine: Any = Engine((code,), (state,))
    with (
        nullcontext() if ends else pytest.raises(SandboxError, match="was ended before its command")
    ):
        assert ending.end_of_shell(engine, "c" * 64, watch, 99.0, 99.0) == ends


@pytest.mark.parametrize(
    ("code", "asked", "started", "waits"),
    [
        (1, 99.0, 99.0, 0.05), (1, 90.0, 98.0, 4.0),
        # It may have been killed from outside, of which a busy engine tells late.
        (137, 99.0, 99.0, 0.5), (137, 98.0, 99.0, 0.5), (137, 90.0, 98.0, 4.0),
    ],
)  # fmt: skip
def test_a_slow_engine_is_waited_for_as_long_as_it_was_slow(
    code: int, asked: float, started: float, waits: float, clock: Clock
) -> None:
    engine: Any = Engine((code,))
    watch: Any = Watch()
    assert ending.end_alone(engine, "c", watch, asked, started) == (code, None)
    assert clock.now == 100.0 + waits
    assert engine.since == ("then", pytest.approx(100.0 + waits - started))


@pytest.mark.parametrize(
    ("printed", "kills"),
    [
        ("low 0\nhigh 0\nmax 7\noom 5\noom_kill 3\noom_group_kill 9\n", 3),
        ("oom_kill_disable 1\nunder_oom 1\noom_kill 2\n", 2),
        ("oom_kill 1\noom_kill 4\n", 5),
        ("oom_kill\n\noom_kill 1 2\n", 0),
        ("", 0),
    ],
)
def test_what_the_kernel_killed_is_counted(
    printed: str, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = SimpleNamespace(rest=lambda seconds: printed.encode(), close=lambda: None)
    monkeypatch.setattr(ending, "ExecStream", lambda raw: stream)
    api = SimpleNamespace(
        exec_create=lambda container, command, stderr: {"Id": "e"},
        exec_start=lambda exec_id, socket: object(),
    )
    engine: Any = SimpleNamespace(api=api, patience_s=3.0)
    assert ending.kernel_kills(engine, "c") == kills


class Printed:
    def __init__(self, *chunks: list[tuple[str, bytes]] | None) -> None:
        self._chunks: Iterator[list[tuple[str, bytes]] | None] = iter(chunks)

    def read(self, seconds: float) -> list[tuple[str, bytes]] | None:
        return next(self._chunks)


@pytest.mark.parametrize(
    ("after", "limit", "out"), [(9, None, b"abc"), (2, "time", b"ab"), (0, "time", b"")]
)
def test_output_is_read_to_its_end_or_to_a_limit(after: int, limit: str | None, out: bytes) -> None:
    stream: Any = Printed(
        [("stdout", b"a"), ("stderr", b"x")], [("stdout", b"b")], [], [("stdout", b"c")], None
    )
    output, watch = Output(100), Watch("time", after)
    said: Any = watch
    assert ending.follow(stream, output, said) == limit
    assert output.result(0, limit, 0.0).stdout == out


@pytest.mark.parametrize(
    ("chunks", "most", "kept", "truncated"),
    [
        ([b""], 4, b"", False),
        ([b"abc"], 4, b"abc", False),
        ([b"abcd"], 4, b"abcd", False),
        ([b"a", b"b", b"c", b"d"], 4, b"abcd", False),
        ([b"abcde"], 4, b"abde", True),
        ([b"abc", b"de"], 4, b"abde", True),
        # Of an odd limit, the beginning has the byte more.
        ([b"abcdefg"], 5, b"abcfg", True),
        ([b"abcde"], 5, b"abcde", False),
        ([b"abc"], 1, b"a", True),
        ([b"a"], 1, b"a", False),
        ([b"a"], 0, b"", True),
        ([b"abcdefgh"] * 9, 4, b"abgh", True),
        ([bytes([n]) for n in range(97, 117)], 6, b"abcrst", True),
    ],
)
def test_the_first_and_the_last_half_of_what_is_printed_are_kept(
    chunks: list[bytes], most: int, kept: bytes, truncated: bool
) -> None:
    seen: list[tuple[str, bytes]] = []
    output = Output(most, lambda name, chunk: seen.append((name, chunk)))
    for chunk in chunks:
        output.add("stderr", chunk)
    result = output.result(0, None, 0.0)
    assert (result.stderr, result.truncated, result.stdout) == (kept, truncated, b"")
    assert seen == [("stderr", chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("limit", "timed_out", "told"),
    [
        (None, False, None),
        ("time", True, None),
        ("disk", False, "disk"),
        ("memory", False, "memory"),
    ],
)
def test_a_deadline_is_no_limit_of_resources(
    limit: str | None, timed_out: bool, told: str | None
) -> None:
    result = Output(4).result(None, limit, 0.0)
    assert (result.timed_out, result.limit, result.exit_code) == (timed_out, told, None)
