"""How a command in a container ends: with an exit code, at a limit, or with its container."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from sandboxes.base import SandboxError
from sandboxes.docker import DockerEngine
from sandboxes.execution import Chunks, ExecStream
from sandboxes.output import Output
from sandboxes.watch import Watch

Ending = tuple[int | None, str | None]
"""An exit code and the limit that was reached; the code is None if that ended the sandbox."""

_KILLED = 137
"""The exit code of what was killed."""
_LOST = 255
"""The exit code of what the engine has lost sight of."""
_SETTLING_S = 2.0
_EXIT_POLL_S = 0.05
_EVENT_S = 0.05
_KILL_EVENT_S = 0.5
"""A busy engine tells of a kill that it was asked for some time after the end."""
_CGROUP_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def follow(stream: Chunks, output: Output, watch: Watch) -> str | None:
    """Pass output on until the command closes it; the limit that was reached, if one was."""
    while (limit := watch.reached()) is None:
        chunks = stream.read(watch.pause_s)
        if chunks is None:
            return None
        for name, chunk in chunks:
            output.add(name, chunk)
    return limit


def end_beside(engine: DockerEngine, container: str, exec_id: str, watch: Watch) -> Ending:
    """How a command ended that ran beside a container's own process, and whose output has ended.

    Raises:
        SandboxError: the container has ended before it, for another reason than a limit.
    """
    while (status := engine.api.exec_inspect(exec_id))["Running"]:
        if limit := watch.reached():
            return None, limit
        time.sleep(_EXIT_POLL_S)
    code = int(status["ExitCode"])
    # A command whose container was killed also ends with this code.
    if code == _KILLED:
        state = _settled(engine, container)
        if not state["Running"]:
            if state["OOMKilled"]:
                return None, "memory"
            raise _taken_away(container)
    limit = watch.reached_at_end()
    return (None, limit) if limit else (code, None)


def end_alone(
    engine: DockerEngine, container: str, watch: Watch, asked: float, started: float
) -> Ending:
    """How a container's own process ended, whose output has ended.

    Args:
        asked, started: when the engine was asked to start it and had done so, by the monotonic
            clock. An engine that is slow at that also reports late what has ended it.

    Raises:
        SandboxError: it was killed from outside.
    """
    while (code := engine.wait(container, watch.pause_s)) is None:
        if limit := watch.reached():
            return None, limit
    if limit := watch.reached_at_end():
        return None, limit
    if code != 0:
        state = engine.api.inspect_container(container)["State"]
        if state["OOMKilled"]:
            return code, "memory"
        least = _KILL_EVENT_S if code == _KILLED else _EVENT_S
        time.sleep(max(least, (started - asked) / 2))
        done = engine.done_to(container, state["StartedAt"], time.monotonic() - started)
        if "oom" in done:  # The engine learned of it after the end.
            return code, "memory"
        if code == _KILLED and "kill" in done:
            raise _taken_away(container)
    return code, None


def end_of_shell(
    engine: DockerEngine, container: str, watch: Watch, asked: float, started: float
) -> Ending:
    """How a shell ended that is a container's own process: one of its commands told it to, as no
    signal of theirs reaches it. For the rest see :func:`end_alone`.

    Raises:
        SandboxError: it was killed from outside, or lost with the engine.
    """
    code, limit = end_alone(engine, container, watch, asked, started)
    if limit is None and code in (_KILLED, _LOST):
        raise _taken_away(container)
    return code, limit


def kernel_kills(engine: DockerEngine, container: str) -> int:
    """Number of processes that the kernel has killed for lack of memory in a running container."""
    created = engine.api.exec_create(container, ["cat", *_CGROUP_EVENTS], stderr=False)
    raw = engine.api.exec_start(created["Id"], socket=True)
    with contextlib.closing(ExecStream(raw)) as stream:
        text = stream.rest(engine.patience_s).decode(errors="replace")
    pairs = [line.split() for line in text.splitlines()]
    return sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == "oom_kill")


def _settled(engine: DockerEngine, container: str) -> dict[str, Any]:
    """The state of a container that may be ending: the engine reports the end of a command before
    that of the container that it was killed with."""
    until = time.monotonic() + _SETTLING_S
    while True:
        state = dict(engine.api.inspect_container(container)["State"])
        if not state["Running"] or time.monotonic() >= until:
            return state
        time.sleep(_EXIT_POLL_S)


def _taken_away(container: str) -> SandboxError:
    return SandboxError(f"container {container[:12]} was ended before its command; start a new one")
