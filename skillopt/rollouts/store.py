"""The rollout store: every scored rollout, addressed by its identity.

This lookup gives resume, reproducibility, and sharing between training, gate, evaluation and
transfer. It never contains infrastructure failures.
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
"""File in a rollout's folder with the agent's outcome until it is judged. The agent's work is in
``scratch/workspace``."""
MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space on the store's disk below which agents and verifiers are assumed to have failed for
lack of space."""


UNDER_WAY = "under_way.json"


@dataclass(frozen=True)
class UnderWay:
    """A running rollout, in its folder in the store."""

    key: str
    task: str
    started: float
    folder: Path


class RolloutStore:
    """A folder of rollouts: ``ab/abcdef…/`` by key, and ``tmp/`` for running ones.

    Folders in ``tmp/`` are removed if their process is known to be dead; all others are left
    alone.
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
        """Raise OSError if the disk is nearly full."""
        free = shutil.disk_usage(self.root).free
        if free < MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, f"{free // 2**20} MiB are left on the disk", str(self.root))

    def folder(self, key: str) -> Path:
        return place_of(self.root, key)

    def get(self, key: str, task: Task) -> Rollout | None:
        """The finished rollout of that key, if there is one.

        Raises:
            FormatError: its file has another format.
        """
        folder = self.folder(key)
        return Rollout.read(folder, task) if (folder / "result.json").is_file() else None

    @contextmanager
    def begin(self, key: str) -> Iterator[Path]:
        """A folder for a running rollout: empty, or with the agent's work from an attempt that
        could not be judged. Removed unless committed.

        Raises:
            FileError: the store's folder is gone or cannot be written.
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
                f"{folder}: {error}; the rollout store must not be moved or made read-only while "
                "a run is under way"
            ) from error
        try:
            yield folder
        finally:
            remove_tree(folder)

    def announce(self, folder: Path, key: str, task: str) -> None:
        """Write down which rollout is running in a folder, so that it can be followed."""
        told = {"format": 1, "key": key, "task": task, "started": time.time()}
        write_atomic(folder / UNDER_WAY, to_json(told))

    def under_way(self) -> list[UnderWay]:
        """The rollouts that are running, in this process or in others."""
        found = []
        for file in (self.root / "tmp").glob(f"*/{UNDER_WAY}"):
            try:
                told = read_json(file, format=1)
            except FileNotFoundError:
                continue  # It has just ended.
            found.append(UnderWay(told["key"], told["task"], told["started"], file.parent))
        return found

    def keys(self, beginning: str) -> list[str]:
        """The keys of finished rollouts with this beginning of at least four digits."""
        if not re.fullmatch(r"[0-9a-f]{4,64}", beginning):
            return []
        return [path.name for path in self.root.glob(f"{beginning[:2]}/{beginning}*")]

    def commit(self, rollout: Rollout) -> Rollout:
        """Move a finished rollout to its place, unless another process has put one there.

        Args:
            rollout: in a folder from :meth:`begin`.

        Returns:
            The rollout in its place, with the paths in its message updated.
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
        """The folder of the last attempt at a rollout that failed for infrastructure."""
        return failed_place_of(self.root, key)

    def keep_failed(self, rollout: Rollout) -> Rollout:
        """Keep a rollout that failed for infrastructure, with the reason in its ``result.json``;
        only the last one of each key is kept."""
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
    """The folder in which a store keeps the rollout of a key."""
    return root / key[:2] / key


def failed_place_of(root: Path, key: str) -> Path:
    """The folder in which a store keeps the last failed attempt at a rollout."""
    return root / "failed" / key
