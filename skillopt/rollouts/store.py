"""The rollout store: every scored rollout, addressed by its identity.

This lookup gives resume, reproducibility, and sharing between training, gate, evaluation and
transfer. It never contains infrastructure failures.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sandboxes.owner import Owner, current_owner, is_dead
from sandboxes.trees import remove_tree
from skillopt.core.errors import FileError
from skillopt.core.files import read_json, sync_folder, to_json, write_atomic
from skillopt.core.packed import RESULT, is_packed, pack, unpack
from skillopt.core.text import expressible
from skillopt.core.types import Rollout, Task
from skillopt.rollouts.identity import work_of

OUTCOME = "outcome.json"
"""File in a rollout's folder with the agent's outcome until it is judged. The agent's work is in
``scratch/workspace``."""
MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space on the store's disk below which agents and verifiers are assumed to have failed for
lack of space."""
UNDER_WAY = "under_way.json"
BY_WORK = "by_work"
"""Folder below ``failed`` that names, for an agent's work, the key under which it waits to be
judged, if a user's own verifier is part of that key."""


@dataclass(frozen=True)
class UnderWay:
    """A running rollout, in its folder in the store."""

    key: str
    task: str
    started: float
    folder: Path


def check_room(folder: Path) -> None:
    """Raise OSError if the disk of a folder is nearly full."""
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, f"{free // 2**20} MiB are left on the disk", str(folder))


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
        check_room(self.root)

    def folder(self, key: str) -> Path:
        return place_of(self.root, key)

    def get(self, key: str, task: Task) -> Rollout | None:
        """The finished rollout of that key, if there is one.

        Raises:
            FormatError: its file has another format.
        """
        folder = self.folder(key)
        return Rollout.read(folder, task) if (folder / RESULT).is_file() else None

    @contextmanager
    def begin(self, key: str, work: str = "") -> Iterator[Path]:
        """A folder for a running rollout: empty, or with the agent's work from an attempt that
        could not be judged. Removed unless committed.

        Args:
            key: the rollout's.
            work: what identifies the agent's work (:attr:`RolloutIdentity.work`), if another
                rollout with the same work may have been the one that could not be judged.

        Raises:
            FileError: the store's folder is gone or cannot be written.
        """
        with self._scratch() as folder:
            unjudged = self._unjudged(key, work)
            if unjudged is not None:
                _copy(unjudged, folder)
            yield folder

    @contextmanager
    def again(self, rollout: Rollout) -> Iterator[Path]:
        """A folder with what is kept of a finished rollout, without its verdict. Removed unless
        committed."""
        with self._scratch() as folder:
            _copy(rollout.folder, folder)
            (folder / RESULT).unlink()
            remove_tree(folder / "verifier")
            yield folder

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """An empty folder for a running rollout, which is removed if it is still there."""
        folder = self.root / "tmp" / f"{current_owner()}.{uuid.uuid4().hex[:12]}"
        try:
            folder.mkdir()
        except OSError as error:
            raise FileError(
                f"{folder}: {error}; the rollout store must not be moved or made read-only while "
                "a run is under way"
            ) from error
        try:
            yield folder
        finally:
            remove_tree(folder)

    def _unjudged(self, key: str, work: str) -> Path | None:
        """The folder with work that waits to be judged."""
        place = self.failed(key)
        if not (place / OUTCOME).is_file() and work:
            other = _text(self.root / "failed" / BY_WORK / work)
            place = self.failed(other) if other else place
        return place if (place / OUTCOME).is_file() else None

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

    def folders(self) -> Iterator[Path]:
        """The folders of finished rollouts, sorted by key; also of damaged ones."""
        yield from sorted(path for path in self.root.glob("[0-9a-f][0-9a-f]/*") if path.is_dir())

    def failures(self) -> Iterator[Path]:
        """The folders of attempts that failed for infrastructure, sorted by key."""
        found = (self.root / "failed").glob("*")
        yield from sorted(path for path in found if path.name != BY_WORK and path.is_dir())

    def commit(self, rollout: Rollout) -> Rollout:
        """Move a finished rollout to its place, unless there is one already, from another process
        or machine.

        Args:
            rollout: in a folder from :meth:`begin`.

        Returns:
            The rollout that is in that place now, with the paths in its message updated.
        """
        placed = _placed(rollout, self.folder(rollout.key))
        _seal(rollout.folder, placed, packed=True)
        placed.folder.parent.mkdir(exist_ok=True)
        try:
            rollout.folder.rename(placed.folder)
        except OSError:
            if (placed.folder / RESULT).is_file():
                return Rollout.read(placed.folder, rollout.task)
            if not placed.folder.is_dir():
                raise
            # Something without a result, such as the rest of a copy, is no rollout.
            self._move_in(rollout.folder, placed.folder)
        sync_folder(placed.folder.parent)
        return placed

    def replace(self, rollout: Rollout) -> Rollout:
        """As :meth:`commit`, in place of the one that is there."""
        placed = _placed(rollout, self.folder(rollout.key))
        _seal(rollout.folder, placed, packed=True)
        placed.folder.parent.mkdir(exist_ok=True)
        self._move_in(rollout.folder, placed.folder)
        return placed

    def remove(self, folder: Path) -> None:
        """Remove the folder of a rollout: first from its place, in one step."""
        aside = self.root / "tmp" / f"{current_owner()}.{uuid.uuid4().hex[:12]}"
        try:
            folder.rename(aside)
        except FileNotFoundError:
            return  # Another process was faster.
        sync_folder(folder.parent)
        remove_tree(aside)

    def _move_in(self, new: Path, place: Path) -> None:
        """Move a folder to a place; what is there is removed, also if others do the same."""
        while True:
            self.remove(place)
            try:
                new.rename(place)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                continue  # Another process has put one there since.
            sync_folder(place.parent)
            return

    def failed(self, key: str) -> Path:
        """The folder of the last attempt at a rollout that failed for infrastructure."""
        return failed_place_of(self.root, key)

    def keep_failed(self, rollout: Rollout) -> Rollout:
        """Keep a rollout that failed for infrastructure, with the reason in its ``result.json``;
        only the last one of each key is kept."""
        placed = _placed(rollout, self.failed(rollout.key))
        _seal(rollout.folder, placed, packed=False)
        placed.folder.parent.mkdir(exist_ok=True)
        self._move_in(rollout.folder, placed.folder)
        work = work_of(rollout.identity)
        if work not in ("", rollout.key):
            index = self.root / "failed" / BY_WORK
            index.mkdir(exist_ok=True)
            write_atomic(index / work, rollout.key)
        return placed


_COPIES = 20
"""Attempts at copying a folder that others replace at the same time."""


def _copy(folder: Path, target: Path) -> None:
    """Copy the folder of an attempt into an empty one. Another process may replace or remove it
    meanwhile: then the other one, or nothing."""
    for last in (*[False] * _COPIES, True):
        try:
            if is_packed(folder):
                unpack(folder, target)
            else:
                shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)
        except OSError:
            if last:
                raise
            remove_tree(target)
            target.mkdir()
            if folder.is_dir():
                continue
        return


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""


def _placed(rollout: Rollout, place: Path) -> Rollout:
    """A rollout in its place. Its texts may be of a user's own parts, and name files of agents."""
    message = rollout.message.replace(str(rollout.folder), str(place))
    own = rollout.reward
    metrics = {expressible(name): value for name, value in own.metrics.items()}
    return rollout.model_copy(
        update={
            "folder": place,
            "message": expressible(message),
            "answer": expressible(rollout.answer),
            "reward": replace(own, metrics=metrics, feedback=expressible(own.feedback)),
            "finished": round(time.time(), 3),
        }
    )


def _seal(folder: Path, rollout: Rollout, packed: bool) -> None:
    """Write the result. A failed rollout is not packed: its files are for people, and for the next
    attempt."""
    (folder / UNDER_WAY).unlink(missing_ok=True)
    if packed:
        pack(folder)
    write_atomic(folder / RESULT, to_json(rollout.to_json()))


def place_of(root: Path, key: str) -> Path:
    """The folder in which a store keeps the rollout of a key."""
    return root / key[:2] / key


def has_result(root: Path, key: str) -> bool:
    """Whether a store has the rollout of a key. Fast, as a report asks for every rollout of a
    run."""
    return os.path.isfile(f"{root}/{key[:2]}/{key}/{RESULT}")  # noqa: PTH113


def failed_place_of(root: Path, key: str) -> Path:
    """The folder in which a store keeps the last failed attempt at a rollout."""
    return root / "failed" / key
