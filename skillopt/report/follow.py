"""Following a rollout while it runs: its steps on the wire, and as its program logs them. A
finished one is shown whole.

The program's home belongs to the agent, so links that lead out of it are not followed.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harnesses.base import Usage
from harnesses.gateway.wire import WIRE
from harnesses.json_values import loads
from harnesses.trajectories.threads import Turns
from harnesses.trajectories.trajectory import build_trajectory
from skillopt.core.changes import watching
from skillopt.core.errors import SkillOptError
from skillopt.core.packed import is_packed
from skillopt.core.types import Rollout
from skillopt.report.trajectory import recorded_turns
from skillopt.rollouts.store import RolloutStore
from skillopt.run.records import RolloutRan

POLL_S = 0.5
"""Polling interval in seconds, for changes that the system does not report."""
MAX_BYTES = 32 * 1024 * 1024
"""The most bytes that are read of one transcript."""
DEPTH = 8
"""How many levels of folders are searched for transcripts."""
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FollowError(SkillOptError):
    """There is no such rollout. The message lists those that there are."""


@dataclass(frozen=True)
class Followed:
    """A rollout to follow. ``folder`` is its folder, or was while it ran."""

    key: str
    folder: Path
    running: bool


@dataclass(frozen=True)
class Happening:
    """Something that happened in a rollout.

    Args:
        kind: a message, a tool call, a tool's result, a side request, or the end.
        thread: a sub-agent's; empty for the main conversation.
        source: where it was seen first, ``wire`` or ``transcript``.
        who: user, system or agent; the tool's name; the purpose of a side request; the status.
        text: the content.
    """

    kind: Literal["message", "call", "result", "side", "end"]
    thread: str
    source: Literal["wire", "transcript"]
    who: str
    text: str


def find_rollout(run: Path, wanted: str) -> Followed:
    """The rollout in a run's store with a task's name or the beginning of a key.

    Running rollouts come before finished ones. A task's name means its last rollout.

    Raises:
        FollowError: there is none, or the beginning of a key matches several.
    """
    root = run.resolve().parent / "store"
    if not root.is_dir():
        raise FollowError(f"{root}: no such folder; is {run} a run?")
    store = RolloutStore(root)
    running = sorted(store.under_way(), key=lambda one: one.started, reverse=True)
    for one in running:
        if one.task == wanted or one.key.startswith(wanted):
            return Followed(one.key, one.folder, running=True)
    ran = _ran(run)
    keys = [key for key, task in ran if task == wanted][-1:]
    # Rollouts that failed for infrastructure are not among the store's keys.
    named = {key for key, _ in ran if len(wanted) >= 4 and key.startswith(wanted)}
    keys = keys or sorted(named.union(store.keys(wanted)))
    if len(keys) > 1:
        raise FollowError(f"{wanted}: matches {len(keys)} rollouts; give more of the key")
    for key in keys:
        for folder in _resting_places(store, key):
            return Followed(key, folder, running=False)
    listed = ", ".join(f"{one.task} ({one.key[:12]})" for one in running) or "none"
    raise FollowError(f"{wanted}: no such rollout in {root}; running: {listed}")


def follow(rollout: Followed) -> Iterator[Happening]:
    """What happens in a rollout, from its beginning to its end."""
    seen = _Seen()
    changed = threading.Event()
    if not rollout.running:
        yield from seen.on_the_wire(rollout.folder)
        yield _ending(rollout.folder)
        return
    with watching([rollout.folder], changed):
        while rollout.folder.is_dir():
            changed.clear()
            yield from seen.on_the_wire(rollout.folder)
            yield from seen.in_transcripts(rollout.folder / "home")
            changed.wait(POLL_S)
    store = RolloutStore(rollout.folder.parent.parent)
    for folder in _resting_places(store, rollout.key):
        yield from seen.on_the_wire(folder)
        yield _ending(folder)
        return
    yield Happening("end", "", "wire", "gone", "it was cancelled")


def _resting_places(store: RolloutStore, key: str) -> list[Path]:
    """The folders in which an ended rollout may be: scored, or failed for infrastructure."""
    return [place for place in (store.folder(key), store.failed(key)) if place.is_dir()]


def _ran(run: Path) -> list[tuple[str, str]]:
    """Keys and tasks of the rollouts that a run has run, in order."""
    from skillopt.run.journal import LogReader

    return [(r.key, r.task) for r in LogReader(run).new() if isinstance(r, RolloutRan)]


def _ending(folder: Path) -> Happening:
    if not (folder / "result.json").is_file():
        return Happening("end", "", "wire", "infra_error", "it failed and is not scored")
    rollout = Rollout.read(folder)
    text = f"reward {rollout.reward.soft:.2f}" if rollout.status.scored else "not scored"
    text += f" · {rollout.duration_s - rollout.service_s:.1f} s of the agent's time"
    if rollout.service_s >= 0.05:
        text += f" and {rollout.service_s:.1f} s of the model service's"
    text += f": {rollout.message}" if rollout.message else ""
    return Happening("end", "", "wire", rollout.status.value, text)


@dataclass
class _Seen:
    """What has been reported already."""

    steps: set[tuple[str, int]] = field(default_factory=set)
    results: set[tuple[str, str]] = field(default_factory=set)
    sides: int = 0
    calls: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tool names by a call's id and thread, as ids repeat between threads."""
    records: dict[Path, Turns] = field(default_factory=dict)
    """By the folder of the rollout, which is moved at its end."""
    read: dict[str, int] = field(default_factory=dict)
    """How many bytes of each transcript have been read."""

    def on_the_wire(self, folder: Path) -> Iterator[Happening]:
        if is_packed(folder):
            found = recorded_turns(folder)
        else:
            record = self.records.setdefault(folder, Turns(folder / WIRE))
            found = record.so_far()
        whole = build_trajectory(
            found, agent="", version="", model="", session_id="", usage=Usage()
        )
        if whole is None:
            return
        document = whole.to_json_dict()
        for thread, step in sorted(_steps(document), key=lambda one: one[1]["timestamp"]):
            yield from self._step(thread, step)
        sides = document["extra"].get("side", [])
        for side in sides[self.sides :]:
            yield Happening("side", "", "wire", side["for"], side["reply"])
        self.sides = len(sides)

    def _step(self, thread: str, step: dict[str, Any]) -> Iterator[Happening]:
        if (thread, step["step_id"]) not in self.steps:
            self.steps.add((thread, step["step_id"]))
            joins = (step.get("extra") or {}).get("joins", [])
            who = " after ".join([step["source"], *joins])
            if step["message"]:
                yield Happening("message", thread, "wire", who, step["message"])
            for call in step.get("tool_calls", []):
                name = call["function_name"]
                self.calls.setdefault(call["tool_call_id"], {})[thread] = name
                text = json.dumps(call["arguments"], ensure_ascii=False)
                yield Happening("call", thread, "wire", name, text)
        for result in (step.get("observation") or {}).get("results", []):
            call = result["source_call_id"]
            if (thread, call) not in self.results:
                self.results.add((thread, call))
                name = self.calls[call][thread]
                yield Happening("result", thread, "wire", name, result.get("content", ""))

    def _written(self, call: Any, content: Any) -> Iterator[Happening]:
        """A result that the program has logged before the model is shown it."""
        threads = self.calls.get(call, {}) if isinstance(call, str) else {}
        for thread, name in threads.items():
            if (thread, call) not in self.results:
                self.results.add((thread, call))
                yield Happening("result", thread, "transcript", name, _plain(content))
                return

    def in_transcripts(self, home: Path) -> Iterator[Happening]:
        for name, text in _new_lines(home, self.read):
            self.read[name] = self.read.get(name, 0) + len(text)
            for line in text.split(b"\n"):
                for call, content in _results_in(line):
                    yield from self._written(call, content)


def _steps(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All steps with their threads, including those of sub-agents."""
    for step in document["steps"]:
        yield document.get("trajectory_id") or "", step
    for below in document.get("subagent_trajectories", []):
        yield from _steps(below)


def _new_lines(home: Path, read: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The complete new lines of transcripts; links and special files are skipped."""
    try:
        top = os.open(home, _FLAGS | os.O_DIRECTORY)
    except OSError:
        return  # Direct chat has no home, and an agent's is removed at the end.
    with closing(_transcripts(top, "", DEPTH)) as files:
        for name, file in files:
            with os.fdopen(file, "rb") as stream:
                status = os.fstat(file)
                start = read.get(name, 0)
                if not stat.S_ISREG(status.st_mode) or status.st_size <= start:
                    continue
                stream.seek(start)
                text = stream.read(max(0, MAX_BYTES - start))
            if whole := text.rfind(b"\n") + 1:
                yield name, text[:whole]


def _transcripts(folder: int, path: str, depth: int) -> Generator[tuple[str, int], None, None]:
    """Names and descriptors of the ``.jsonl`` files below an open folder, which is closed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        for name, is_folder in found:
            wanted = depth > 0 if is_folder else name.endswith(".jsonl")
            if not wanted:
                continue
            try:
                kind = os.O_DIRECTORY if is_folder else 0
                opened = os.open(name, _FLAGS | kind, dir_fd=folder)
            except OSError:
                continue  # A link, or gone.
            if is_folder:
                yield from _transcripts(opened, f"{path}/{name}", depth - 1)
            else:
                yield f"{path}/{name}", opened
    except OSError:
        return
    finally:
        os.close(folder)


def _results_in(line: bytes) -> Iterator[tuple[Any, Any]]:
    """Ids of tool calls and their results in a line of Codex's or Claude Code's transcripts."""
    try:
        event = loads(line) if line.strip() else None
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict):
        return
    payload, message = event.get("payload"), event.get("message")
    if isinstance(payload, dict) and str(payload.get("type")).endswith("call_output"):
        yield payload.get("call_id"), payload.get("output")
    content = message.get("content") if isinstance(message, dict) else None
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "tool_result":
            yield block.get("tool_use_id"), block.get("content")


def _plain(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
