"""The rollout store: every scored rollout ever run, addressed by what was run.

Resume, sharing between training, gate, evaluation and transfer, and reproducibility are all this
one lookup. Infrastructure failures are never in it.
"""

from __future__ import annotations

import errno
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandboxes.owner import Owner, current_owner, is_dead
from sandboxes.trees import remove_tree
from skillopt.core.errors import FileError
from skillopt.core.files import read_json, sync_folder, to_json, write_atomic
from skillopt.core.types import Rollout, Task

OUTCOME = "outcome.json"
"""In a folder of a rollout: what its agent did, until that is judged. The work itself is in
``scratch/workspace``."""
MIN_FREE_BYTES = 64 * 1024 * 1024
"""On the store's disk: below this, agents and verifiers fail for want of room."""


UNDER_WAY = "under_way.json"


@dataclass(frozen=True)
class UnderWay:
    """A rollout that runs now, in its folder of the store."""

    key: str
    task: str
    started: float
    folder: Path


class RolloutStore:
    """A folder of rollouts: ``ab/abcdef…/`` by key, and ``tmp/`` for those under way.

    What processes left under way that are known to be dead by now is removed; anything else in
    ``tmp/`` is left alone, whoever it belongs to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()  # Container engines take no relative paths.
        tmp = self.root / "tmp"
        tmp.mkdir(parents=True, exist_ok=True)
        for left in tmp.iterdir():
            owner = Owner.parse(left.name.partition(".")[0])
            if owner is not None and is_dead(owner):
                remove_tree(left)

    def check_room(self) -> None:
        """Raise OSError when the disk is nearly full."""
        free = shutil.disk_usage(self.root).free
        if free < MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, f"{free // 2**20} MiB are left on the disk", str(self.root))

    def folder(self, key: str) -> Path:
        return place_of(self.root, key)

    def get(self, key: str, task: Task) -> Rollout | None:
        """The finished rollout of that key, if there is one.

        Raises:
            FormatError: its file is of another version.
        """
        folder = self.folder(key)
        return Rollout.read(folder, task) if (folder / "result.json").is_file() else None

    @contextmanager
    def begin(self, key: str) -> Iterator[Path]:
        """A folder for a rollout under way: new and empty, or with what its agent did at an
        attempt that could not be judged. Removed unless committed.

        Raises:
            FileError: the store's folder has gone or cannot be written.
        """
        folder = self.root / "tmp" / f"{current_owner()}.{uuid.uuid4().hex[:12]}"
        unjudged = self.failed(key)
        try:
            if (unjudged / OUTCOME).is_file():
                shutil.copytree(unjudged, folder, symlinks=True)
            else:
                folder.mkdir()
        except (OSError, shutil.Error) as error:
            raise FileError(
                f"{folder}: {error}; the rollout store must stay where it is, and writable, while "
                "a run is under way"
            ) from error
        try:
            yield folder
        finally:
            remove_tree(folder)

    def announce(self, folder: Path, key: str, task: str) -> None:
        """Say which rollout is under way in a folder, for those who want to follow it."""
        told = {"format": 1, "key": key, "task": task, "started": time.time()}
        write_atomic(folder / UNDER_WAY, to_json(told))

    def under_way(self) -> list[UnderWay]:
        """The rollouts that run now, in this process or in others."""
        found = []
        for file in (self.root / "tmp").glob(f"*/{UNDER_WAY}"):
            try:
                told = read_json(file, format=1)
            except FileNotFoundError:
                continue  # It has just ended.
            found.append(UnderWay(told["key"], told["task"], told["started"], file.parent))
        return found

    def keys(self, beginning: str) -> list[str]:
        """The keys of finished rollouts that begin so; at least four digits of one."""
        if not re.fullmatch(r"[0-9a-f]{4,64}", beginning):
            return []
        return [path.name for path in self.root.glob(f"{beginning[:2]}/{beginning}*")]

    def commit(self, rollout: Rollout) -> Rollout:
        """Give a finished rollout its place; one that another process put there first stays.

        Args:
            rollout: in a folder that :meth:`begin` has made.

        Returns:
            The same in its place, with which paths in its message agree.
        """
        placed = _placed(rollout, self.folder(rollout.key))
        _seal(rollout.folder, placed)
        placed.folder.parent.mkdir(exist_ok=True)
        try:
            rollout.folder.rename(placed.folder)
        except OSError:
            if not (placed.folder / "result.json").is_file():
                raise
        sync_folder(placed.folder.parent)
        return placed

    def failed(self, key: str) -> Path:
        """Where the last attempt at a rollout is kept that failed for infrastructure."""
        return failed_place_of(self.root, key)

    def keep_failed(self, rollout: Rollout) -> Rollout:
        """Keep a rollout that failed for infrastructure, the last one of its key, with the reason
        in its ``result.json``."""
        placed = _placed(rollout, self.failed(rollout.key))
        _seal(rollout.folder, placed)
        remove_tree(placed.folder)
        placed.folder.parent.mkdir(exist_ok=True)
        rollout.folder.rename(placed.folder)
        return placed


def _placed(rollout: Rollout, place: Path) -> Rollout:
    message = rollout.message.replace(str(rollout.folder), str(place))
    return rollout.model_copy(update={"folder": place, "message": message})


def _seal(folder: Path, rollout: Rollout) -> None:
    (folder / UNDER_WAY).unlink(missing_ok=True)
    write_atomic(folder / "result.json", to_json(rollout.to_json()))


def place_of(root: Path, key: str) -> Path:
    """Where a store keeps the rollout of a key."""
    return root / key[:2] / key


def failed_place_of(root: Path, key: str) -> Path:
    """Where a store keeps the last attempt at a rollout that failed for infrastructure."""
    return root / "failed" / key
