"""Finds, checks and removes stored rollouts."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path

from pydantic import ValidationError

from harnesses.base import Status
from harnesses.gateway.wire import WIRE
from skillopt.core.errors import FileError, FormatError, SkillOptError
from skillopt.core.files import digest_of
from skillopt.core.packed import files
from skillopt.core.types import Rollout
from skillopt.rollouts.kept_work import ARCHIVE
from skillopt.rollouts.store import RolloutStore
from skillopt.run.folder import read_state
from skillopt.run.journal import LOG, JournalError

TRAJECTORY = "trajectory.json"
_KEY = re.compile(rb'"([0-9a-f]{64})"')


class RolloutInUseError(SkillOptError):
    """A running run refers to rollouts that were to be removed."""


@dataclass(frozen=True)
class Filter:
    """Which rollouts are meant: those that match everything that is given.

    Args:
        keys: beginnings of keys.
        tasks: names of tasks, as patterns of a shell.
        skills: digests of skills, or their beginnings; None for runs without a skill.
        statuses: how they ended.
        harnesses, models: by name.
        before, after: when they were put into the store, in seconds since 1970.
        among: keys, such as those of a run.
    """

    keys: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    skills: tuple[str | None, ...] = ()
    statuses: tuple[str, ...] = ()
    harnesses: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    before: float | None = None
    after: float | None = None
    among: frozenset[str] | None = None

    @property
    def names_nothing(self) -> bool:
        """Whether every rollout matches."""
        return self == Filter()

    def takes(self, rollout: Rollout) -> bool:
        """Whether a rollout matches."""
        identity, when = rollout.identity, finished(rollout)
        model = identity.get("model", {}).get("name", "")
        return (
            _any(rollout.key.startswith(key) for key in self.keys)
            and _any(fnmatchcase(rollout.task.name, task) for task in self.tasks)
            and _any(_is_skill(identity.get("skill"), skill) for skill in self.skills)
            and _any(rollout.status == status for status in self.statuses)
            and _any(identity.get("harness", {}).get("name") == name for name in self.harnesses)
            and _any(model == name for name in self.models)
            and (self.before is None or when < self.before)
            and (self.after is None or when >= self.after)
            and (self.among is None or rollout.key in self.among)
        )


def _any(found: Iterable[bool]) -> bool:
    """Whether one holds, or there are none."""
    answers = list(found)
    return not answers or any(answers)


def _is_skill(digest: str | None, wanted: str | None) -> bool:
    return digest is None if wanted is None else bool(digest) and str(digest).startswith(wanted)


def finished(rollout: Rollout) -> float:
    """When a rollout was put into the store, in seconds since 1970."""
    return rollout.finished or (rollout.folder / "result.json").stat().st_mtime


def open_store(runs: Path) -> RolloutStore:
    """The store in a folder of runs.

    Raises:
        FileError: there is none.
    """
    if not (runs / "store").is_dir():
        raise FileError(
            f"{runs / 'store'}: no rollouts are stored here; give the folder that the key 'runs' "
            "of your configs names (--runs)"
        )
    return RolloutStore(runs / "store")


def stored(store: RolloutStore, wanted: Filter) -> list[Rollout]:
    """The rollouts of a store that match, oldest first. Damaged ones are left out; :func:`verify`
    finds them."""
    found = []
    for folder in _folders(store, wanted.keys):
        try:
            rollout = Rollout.read(folder)
        except (FormatError, OSError):
            continue
        if wanted.takes(rollout):
            found.append(rollout)
    return sorted(found, key=lambda rollout: (finished(rollout), rollout.key))


def named(store: RolloutStore, keys: Sequence[str]) -> list[Path]:
    """The folders with these beginnings of keys, whatever is in them."""
    return list(_folders(store, keys)) if keys else []


def _folders(store: RolloutStore, keys: Sequence[str]) -> Iterator[Path]:
    for folder in store.folders():
        if not keys or any(folder.name.startswith(key) for key in keys):
            yield folder


@dataclass(frozen=True)
class Flaw:
    """Something wrong with a stored rollout."""

    folder: Path
    message: str


def verify(store: RolloutStore) -> Iterator[Flaw]:
    """What is wrong with the rollouts of a store."""
    for folder in store.folders():
        problem = _unreadable(folder)
        messages = [problem] if problem else _flaws(folder, Rollout.read(folder))
        yield from (Flaw(folder, message) for message in messages)


def _unreadable(folder: Path) -> str:
    if not (folder / "result.json").is_file():
        return "has no result.json"
    try:
        Rollout.read(folder)
    except (FormatError, OSError) as error:
        return str(error).removeprefix(f"{folder}/")
    return ""


def _flaws(folder: Path, rollout: Rollout) -> Iterator[str]:
    told = json.loads((folder / "result.json").read_text("utf-8"))
    if rollout.key != folder.name:
        yield f"result.json has the key {rollout.key}: it was moved or copied here"
    if folder.parent.name != folder.name[:2]:
        yield f"is not in {folder.name[:2]}/, where it would be looked for"
    if rollout.identity and digest_of(rollout.identity) != rollout.key:
        yield "its key is not the digest of its identity: one of them was changed"
    if not rollout.status.scored:
        yield f"has the status {rollout.status.value}, which is no verdict"
    if not 0 <= rollout.reward.soft <= 1:
        yield f"has a reward of {rollout.reward.soft:g}, which is not between 0 and 1"
    if rollout.status is not Status.COMPLETED and rollout.reward.soft:
        yield f"has the status {rollout.status.value} and a reward of {rollout.reward.soft:g}"
    if told.get("format") and told["reward"] != rollout.reward.hard:
        yield f"its reward is {told['reward']}, and its soft reward {rollout.reward.soft:g}"
    yield from _broken_files(folder)


def _broken_files(folder: Path) -> Iterator[str]:
    from atif import Trajectory

    sizes = {}
    try:
        for name, size, source in files(folder):
            sizes[name] = size
            try:
                if name == TRAJECTORY:
                    Trajectory.model_validate_json(source.read())
                elif name == ARCHIVE:
                    with tarfile.open(fileobj=BytesIO(source.read())) as tar:
                        tar.getmembers()
            except (ValidationError, tarfile.TarError, EOFError, zlib.error) as error:
                yield f"{name} cannot be read: {str(error).splitlines()[0]}"
    except OSError as error:
        yield str(error).removeprefix(f"{folder}/")
    if sizes.get(WIRE) and TRAJECTORY not in sizes:
        yield f"{TRAJECTORY} is missing, and {WIRE} is there"


def keys_of_run(run: Path) -> frozenset[str]:
    """The keys of all rollouts that a run refers to.

    Raises:
        FileError: it has no log.
    """
    log = run / LOG
    if not log.is_file():
        raise FileError(f"{log}: missing; name a run's folder")
    return frozenset(key.decode() for key in _KEY.findall(log.read_bytes()))


def runs_with(store: RolloutStore, keys: Iterable[str]) -> dict[str, int]:
    """How many of the keys each run next to a store refers to, by the run's name.

    Raises:
        RolloutInUseError: one of these runs is running.
    """
    wanted, found = set(keys), {}
    for log in sorted(store.root.parent.glob(f"*/{LOG}")):
        count = len(wanted & keys_of_run(log.parent))
        if count and _is_running(log.parent):
            raise RolloutInUseError(
                f"{log.parent} is running and refers to {count} of them; stop it first"
            )
        if count:
            found[log.parent.name] = count
    return found


def _is_running(run: Path) -> bool:
    try:
        return read_state(run)[0].doing == "running"
    except JournalError:
        return False  # A damaged log cannot be resumed.


def forget(store: RolloutStore, folders: Iterable[Path]) -> int:
    """Remove rollouts from a store; returns how many.

    Raises:
        RolloutInUseError: a running run refers to one of them; none is removed.
    """
    chosen = list(folders)
    runs_with(store, [folder.name for folder in chosen])
    for folder in chosen:
        store.remove(folder)
    return len(chosen)
