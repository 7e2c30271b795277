"""The rollout store: every scored rollout ever run, addressed by what was run.

Resume, sharing between training, gate, evaluation and transfer, and reproducibility are all this
one lookup. Infrastructure failures are never in it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel

from harnesses.base import ModelSpec, Status, Usage
from sandboxes.trees import remove_tree
from skillopt.core.files import digest_of, sync_folder, to_json, write_atomic
from skillopt.core.types import Reward, Rollout, Task

MIN_FREE_BYTES = 64 * 1024 * 1024
"""On the store's disk: below this, agents and verifiers fail for want of room."""


UNDER_WAY = "under_way.json"


class Result(BaseModel):
    """``result.json``: everything about a rollout except its files."""

    key: str
    identity: dict[str, Any]
    task: str
    status: Status
    message: str
    reward: float
    metrics: dict[str, float]
    feedback: str
    skill_activated: bool | None
    answer: str
    usage: Usage
    agent_version: str
    duration_s: float
    others_opened: tuple[str, ...] = ()


def identity(
    skill: str | None,
    task: str,
    harness: dict[str, Any],
    model: ModelSpec,
    service: dict[str, Any],
    replicate: int,
) -> dict[str, Any]:
    """What a rollout is addressed by.

    Args:
        skill: digest of the skill, None for a run without one.
        task: digest of the task.
        harness: name, version and options.
        model: name and sampling; the upstream's name in the config does not count.
        service: what else of the upstream decides the replies, such as the dials of ``sim``.
        replicate: number of the repetition, from 0.
    """
    return {
        "skill": skill,
        "task": task,
        "harness": harness,
        "model": {"name": model.name, "sampling": dict(model.sampling), "service": service},
        "replicate": replicate,
    }


@dataclass(frozen=True)
class UnderWay:
    """A rollout that runs now, in its folder of the store."""

    key: str
    task: str
    started: float
    folder: Path


class RolloutStore:
    """A folder of rollouts: ``ab/abcdef…/`` by key, and ``tmp/`` for those under way.

    What processes that are dead by now left under way is removed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()  # Container engines take no relative paths.
        tmp = self.root / "tmp"
        tmp.mkdir(parents=True, exist_ok=True)
        for left in tmp.iterdir():
            if not psutil.pid_exists(int(left.name.partition("-")[0])):
                remove_tree(left)

    def check_room(self) -> None:
        """Raise OSError when the disk is nearly full."""
        free = shutil.disk_usage(self.root).free
        if free < MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, f"{free // 2**20} MiB are left on the disk", str(self.root))

    def folder(self, key: str) -> Path:
        return place_of(self.root, key)

    def get(self, key: str, task: Task) -> Rollout | None:
        """The finished rollout of that key, if there is one."""
        folder = self.folder(key)
        file = folder / "result.json"
        if not file.is_file():
            return None
        return _rollout(Result.model_validate_json(file.read_bytes()), task, folder)

    @contextmanager
    def begin(self) -> Iterator[Path]:
        """A new empty folder for a rollout under way; removed unless committed."""
        folder = self.root / "tmp" / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        try:
            yield folder
        finally:
            remove_tree(folder)

    def announce(self, folder: Path, key: str, task: str) -> None:
        """Say which rollout is under way in a folder, for those who want to follow it."""
        told = {"key": key, "task": task, "started": time.time()}
        write_atomic(folder / UNDER_WAY, to_json(told))

    def under_way(self) -> list[UnderWay]:
        """The rollouts that run now, in this process or in others."""
        found = []
        for file in (self.root / "tmp").glob(f"*/{UNDER_WAY}"):
            try:
                told = json.loads(file.read_text("utf-8"))
            except FileNotFoundError:
                continue  # It has just ended.
            found.append(UnderWay(folder=file.parent, **told))
        return found

    def keys(self, beginning: str) -> list[str]:
        """The keys of finished rollouts that begin so; at least four digits of one."""
        if not re.fullmatch(r"[0-9a-f]{4,64}", beginning):
            return []
        return [path.name for path in self.root.glob(f"{beginning[:2]}/{beginning}*")]

    def commit(self, folder: Path, result: Result, task: Task) -> Rollout:
        """Give a finished rollout its place; one that another process put there first stays."""
        (folder / UNDER_WAY).unlink(missing_ok=True)
        write_atomic(folder / "result.json", to_json(result.model_dump(mode="json")))
        target = self.folder(result.key)
        target.parent.mkdir(exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if not (target / "result.json").is_file():
                raise
        sync_folder(target.parent)
        return _rollout(result, task, target)

    def keep_failed(self, folder: Path, key: str) -> None:
        """Keep the logs of a rollout that failed for infrastructure, the last one of its key."""
        (folder / UNDER_WAY).unlink(missing_ok=True)
        target = self.root / "failed" / key
        remove_tree(target)
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)


def place_of(root: Path, key: str) -> Path:
    """Where a store keeps the rollout of a key."""
    return root / key[:2] / key


def key_of(identity: dict[str, Any]) -> str:
    """The address of an identity."""
    return digest_of(identity)


def seed_of(key: str) -> int:
    """The seed of a rollout: different for every task, skill and replicate, and reproducible."""
    return int(key[:12], 16)


def unstored(result: Result, task: Task, folder: Path) -> Rollout:
    """A rollout that is in no store: an infrastructure failure or a cancelled one."""
    return _rollout(result, task, folder)


def _rollout(result: Result, task: Task, folder: Path) -> Rollout:
    return Rollout(
        key=result.key,
        task=task,
        status=result.status,
        message=result.message,
        reward=Reward(result.reward, result.metrics, result.feedback),
        skill_activated=result.skill_activated,
        answer=result.answer,
        usage=Usage(**asdict(result.usage)),
        duration_s=result.duration_s,
        folder=folder,
        others_opened=result.others_opened,
    )
