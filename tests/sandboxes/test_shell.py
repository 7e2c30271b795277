"""Commands that one shell of a sandbox runs one after another."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes import shell as module
from sandboxes.base import Sandbox, SandboxError
from sandboxes.shell import SHELL, Running, Shell

MARK = b"5e" * 16


class Frames:
    """Output as it comes, and its end."""

    def __init__(self, *chunks: list[tuple[str, bytes]]) -> None:
        self.chunks = [*chunks]

    def read(self, timeout_s: float) -> list[tuple[str, bytes]] | None:
        return self.chunks.pop(0) if self.chunks else None


def told(*chunks: tuple[str, bytes]) -> tuple[dict[str, bytes], int | None, int]:
    """What is told of each stream, the exit code, and how many chunks were not read."""
    frames = Frames(*([chunk] for chunk in chunks))
    running, found = Running(frames, MARK), {"stdout": b"", "stderr": b""}  # type: ignore[arg-type]
    while (new := running.read(1)) is not None:
        for name, chunk in new:
            assert chunk, "nothing is no output"
            found[name] += chunk
    return found, running.exit_code, len(frames.chunks)


OUT, ERR = ("stdout", MARK + b"7  "), ("stderr", MARK)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([OUT, ERR], (b"", b"", 7, 0)),
        ([ERR, OUT], (b"", b"", 7, 0)),
        ([("stdout", b"a"), OUT, ("stderr", b"b"), ERR], (b"a", b"b", 7, 0)),
        ([("stdout", b"a" + MARK + b"137"), ("stderr", b"b" + MARK)], (b"a", b"b", 137, 0)),
        ([OUT, ERR, ("stdout", b"later")], (b"", b"", 7, 1)),
        ([OUT, ("stdout", b"behind"), ERR], (b"behind", b"", 7, 0)),
        ([ERR, ("stderr", b"behind"), OUT], (b"", b"behind", 7, 0)),
        ([("stdout", b"a" + MARK[:9]), ("stdout", MARK[9:] + b"0  "), ERR], (b"a", b"", 0, 0)),
        ([("stdout", MARK), ("stdout", b"25"), ("stdout", b"5"), ERR], (b"", b"", 255, 0)),
        ([("stdout", MARK + b"x;y"), ERR], (b"", b"", 255, 0)),
        ([("stdout", MARK + b"-1 "), ERR], (b"", b"", 255, 0)),
        ([("stdout", MARK + "\u0663".encode() + b" "), ERR], (b"", b"", 255, 0)),
        ([("stdout", MARK[:31] + b"x"), OUT, ERR], (MARK[:31] + b"x", b"", 7, 0)),
        ([("stdout", b"a" + MARK[:9])], (b"a" + MARK[:9], b"", None, 0)),
        ([OUT, ("stderr", b"b")], (b"", b"b", None, 0)),
        ([("stderr", b"b"), ERR, ("stdout", b"a")], (b"a", b"b", None, 0)),
        ([], (b"", b"", None, 0)),
    ],
)
def test_output_ends_with_both_marks_or_with_the_shell(
    chunks: list[tuple[str, bytes]], expected: tuple[bytes, bytes, int | None, int]
) -> None:
    found, code, left = told(*chunks)
    assert (found["stdout"], found["stderr"], code, left) == expected


def test_what_cannot_be_the_mark_is_passed_on_at_once() -> None:
    frames = Frames([("stdout", b"abc" + MARK[:5])], [], [("stdout", b"d")])
    running = Running(frames, MARK)  # type: ignore[arg-type]
    assert running.read(1) == [("stdout", b"abc")]
    assert running.read(1) == []
    assert running.read(1) == [("stdout", MARK[:5] + b"d")]


@given(st.binary(max_size=80), st.integers(0, 255), st.lists(st.integers(1, 9), max_size=60))
def test_it_does_not_matter_how_output_is_cut(text: bytes, code: int, sizes: list[int]) -> None:
    whole, chunks = text + MARK + f"{code:<3d}".encode(), []
    for size in sizes:
        chunks.append(whole[:size])
        whole = whole[size:]
    pieces = [("stdout", piece) for piece in (*chunks, whole) if piece]
    assert told(ERR, *pieces) == ({"stdout": text, "stderr": b""}, code, 0)


@contextmanager
def here() -> Iterator[tuple[Shell, Any]]:
    """A shell of this machine, whose output comes in the engine's frames, and its process."""
    ours, its = socket.socketpair()
    with ours, its, subprocess.Popen(
        SHELL, stdin=its.fileno(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:  # fmt: skip
        response = SimpleNamespace(
            raw=SimpleNamespace(_fp=SimpleNamespace(fp=SimpleNamespace(peek=lambda: b""))),
            close=ours.close,
        )
        raw = SimpleNamespace(_sock=ours, _response=response)
        yield Shell(raw), process
        process.kill()


SCRIPTS = {
    "words": ["printf", "%s|", "a b", "", "c'd", 'e"f', "$HOME", "`x`", "é", "\\n", "g\nh"],
    "status": ["sh", "-c", "exit 3"],
    "input": ["cat"],
    "missing": ["/no/such"],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_command_is_run_as_it_is_written(name: str) -> None:
    argv = SCRIPTS[name]
    with here() as (shell, process):
        shell.begin(argv, {}, "/")
        words, closed = ["sh", "-c", shlex.join(argv)], subprocess.DEVNULL
        alone = subprocess.run(words, capture_output=True, stdin=closed, check=False)
        read = b""
        while b"%d" % alone.returncode not in read[-3:]:
            read += process.stdout.read1()
        assert read[:-35] == alone.stdout


def test_a_folder_that_is_not_there_and_variables() -> None:
    with here() as (shell, process):
        shell.begin(["pwd"], {}, "/no/such")
        assert process.stdout.read1()[-3:] == b"126"
        shell.begin(["sh", "-c", "echo $A $PWD"], {"A": "b  c'd"}, "/usr")
        assert process.stdout.read1().startswith(b"b c'd /usr\n")


def test_a_shell_that_takes_nothing_is_the_sandboxs_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_SEND_S", 0.01)
    with here() as (shell, process):
        process.send_signal(19)
        with pytest.raises(SandboxError, match=r"took no command for 0\.01 s"):
            shell.begin(["echo", "x" * 2_000_000], {}, "/")


def test_a_shell_that_has_ended_begins_nothing() -> None:
    with here() as (shell, process):
        process.kill()
        process.wait()
        shell._raw._sock.shutdown(socket.SHUT_RDWR)
        assert shell.begin(["echo"], {}, "/").read(0.1) is None


@pytest.mark.engine
def test_commands_share_a_sandbox_and_nothing_else(shell: Callable[..., Sandbox]) -> None:
    box = shell(workdir="/tmp")

    def run(script: str) -> tuple[int | None, bytes, bytes]:
        done = box.run(["bash", "-c", script], deadline_s=20)
        return done.exit_code, done.stdout, done.stderr

    assert run("cd /usr; X=1; echo a; echo b >&2; exit 3") == (3, b"a\n", b"b\n")
    assert run("pwd; echo $X; cat") == (0, b"/tmp\n\n", b"")
    assert run("sleep 60 & echo began") == (0, b"began\n", b""), "what runs on holds up nothing"
    assert run("kill -9 $PPID 1; kill -STOP 1; kill 1; echo after") == (0, b"after\n", b"")
    assert run("pkill -9 -u $(id -u)") == (0, b"", b""), "others are gone, and not the shell"
    # One that ends the shell harms the next at most, which is told how the shell ended.
    run("echo 'exit 5' > /proc/1/fd/0")
    assert run("sleep 5")[0] == 5
    assert run("echo again") == (0, b"again\n", b"")
    assert run("head -c 3000000 /dev/zero")[1] == bytes(3_000_000)
    assert run("kill -9 $$")[0] == 137
    late = box.run(["sleep", "60"], deadline_s=0.5)
    assert late.timed_out and late.exit_code is None
    with pytest.raises(SandboxError, match="killed at its time limit"):
        run("echo")
