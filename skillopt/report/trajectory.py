"""One rollout from the store as the page shows it: conversation, tools, verifier, files, screen."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnesses.base import Usage
from skillopt.core.packed import files, open_file
from skillopt.core.types import Rollout
from skillopt.report.terminal import read_frames

if TYPE_CHECKING:
    from atif import Step, Trajectory

    from harnesses.trajectories.threads import Turn

MAX_STEPS = 500
MAX_FILES = 30


IN_FILE, LIVE = 6_000, 200_000
"""The most characters of a single text, in a report's file and in ``ui``."""


def rollout_view(folder: Path, limit: int, tasks: Path | None = None) -> dict[str, Any]:
    """A rollout of the store, scored or failed for infrastructure.

    Args:
        folder: the rollout's folder in the store.
        limit: the most characters of a single text.
        tasks: the folder of the run's tasks, if there is one; with it, changed files have their
            first text too.

    Raises:
        FileNotFoundError: the rollout is not in the store, or not any more.
    """
    result = Rollout.read(folder)
    return {
        "key": result.key,
        "task": result.task.name,
        "status": result.status.value,
        "scored": result.status.scored,
        "message": clipped(result.message, limit),
        "soft": result.reward.soft,
        "metrics": result.reward.metrics,
        "feedback": clipped(result.reward.feedback, limit),
        "opened": result.skill_activated,
        "answer": clipped(result.answer, limit),
        "usage": asdict(result.usage),
        "seconds": result.duration_s,
        "agent": f"{result.identity['harness']['name']} {result.agent_version}",
        "model": result.identity["model"]["name"],
        "replicate": result.identity["replicate"],
        "steps": _steps(folder, limit),
        "verifier": [*_texts(folder, "verifier", limit), *_judged(result, limit)],
        "files": _changed(folder, limit, first_files(tasks, result.task.name)),
        "removed": _removed(folder),
        "frames": _frames(folder),
    }


def _judged(result: Rollout, limit: int) -> Iterator[dict[str, Any]]:
    """The judge's verdicts as one more file of the verifier's."""
    if result.judgement is not None and result.judgement.expectations:
        text = result.judgement.words
        name = f"judge: {result.judgement.model}"
        yield {"name": name, "size": len(text.encode()), "text": clipped(text, limit)}


def first_files(tasks: Path | None, name: str) -> Path | None:
    """The files that a task's workspace begins with, as its folder has them now; None if they are
    not below the folder of tasks."""
    if tasks is None or name != Path(name).name or name in ("", ".", ".."):
        return None
    places = [tasks / split / name for split in (".", "train", "val", "test")]
    return next((p for place in places if (p := place / "environment" / "files").is_dir()), None)


def _changed(folder: Path, limit: int, first: Path | None) -> list[dict[str, Any]]:
    """The files that the agent changed, each with its first text if that is known: None for a new
    one."""
    found = list(_texts(folder, "workspace", limit))
    for file in found if first is not None else ():
        assert first is not None
        before = (first / file["name"]).resolve()
        file["before"] = None
        if before.is_file() and before.is_relative_to(first.resolve()):
            with before.open("rb") as source:
                text = source.read(limit * 4).decode("utf-8", "replace")
            file["before"] = clipped(text, limit)
    return found


def _removed(folder: Path) -> list[str]:
    """The files that the agent removed from its workspace."""
    try:
        with open_file(folder, "work.json") as file:
            removed = json.loads(file.read()).get("removed", [])
    except (FileNotFoundError, ValueError):
        return []
    return [str(name) for name in removed[:MAX_FILES]]


def _steps(folder: Path, limit: int) -> list[dict[str, Any]]:
    """The steps of a trajectory, without those copied from other conversations."""
    trajectory = _trajectory(folder)
    return [_step(step, limit) for step in trajectory.steps[:MAX_STEPS]] if trajectory else []


def _trajectory(folder: Path) -> Trajectory | None:
    """The trajectory as it was written at the agent's end, or from the wire log if it was not."""
    from atif import Trajectory

    from harnesses.trajectories.trajectory import build_trajectory

    try:
        with open_file(folder, "trajectory.json") as file:
            return Trajectory.model_validate_json(file.read())
    except FileNotFoundError:
        found = recorded_turns(folder)
    return build_trajectory(found, agent="", version="", model="", session_id="", usage=Usage())


def recorded_turns(folder: Path) -> list[Turn]:
    """The turns in a rollout's wire log; none if there is no log."""
    from harnesses.gateway.wire import WIRE, WireReader
    from harnesses.trajectories.threads import turns

    try:
        with open_file(folder, WIRE) as record:
            return turns(WireReader().new(record, str(folder / WIRE)))
    except FileNotFoundError:
        return []


def _frames(folder: Path) -> list[tuple[float, str]]:
    try:
        with open_file(folder, "terminal.cast") as cast:
            return read_frames(cast)
    except FileNotFoundError:
        return []


def _step(step: Step, limit: int) -> dict[str, Any]:
    observed = step.observation.results if step.observation else []
    return {
        "source": str(step.source),
        "text": clipped(_plain(step.message), limit),
        "reasoning": clipped(step.reasoning_content or "", limit),
        "calls": [
            {
                "id": call.tool_call_id,
                "name": call.function_name,
                "arguments": clipped(_arguments(call.arguments), limit),
            }
            for call in step.tool_calls or []
        ],
        "results": [
            {"id": result.source_call_id, "text": clipped(_plain(result.content), limit)}
            for result in observed
        ],
        "tokens": (step.metrics.prompt_tokens or 0) + (step.metrics.completion_tokens or 0)
        if step.metrics
        else 0,
    }


def _plain(content: Any) -> str:
    """The text of a message; images are named, not shown."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = (getattr(part, "text", None) or f"[{getattr(part, 'type', 'part')}]"
             for part in content)  # fmt: skip
    return "\n".join(parts)


def _arguments(arguments: Any) -> str:
    """A single text argument, such as a shell command, as it is; others as JSON."""
    if isinstance(arguments, dict) and len(arguments) == 1:
        (value,) = arguments.values()
        if isinstance(value, str):
            return value
    return json.dumps(arguments, indent=2, ensure_ascii=False)


def _texts(folder: Path, below: str, limit: int) -> Iterator[dict[str, Any]]:
    """The files below a folder of a rollout, as text."""
    for name, size, source in islice(files(folder, below), MAX_FILES):
        data = source.read(limit * 4)
        text = None if b"\0" in data else clipped(data.decode("utf-8", "replace"), limit)
        # Names may contain bytes that are not text.
        yield {"name": os.fsencode(name).decode("utf-8", "replace"), "size": size, "text": text}


def clipped(text: str, limit: int) -> str:
    """Head and tail of a text that is too long."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
