"""What was deployed where: one log per user, outside the agents' own folders.

It is kept apart so that an agent's folder is the same as before, byte for byte, after a rollback.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from skillopt.core.errors import FormatError
from skillopt.core.files import check_writable, end_whole, remove_folder, sync_folder
from skillopt.core.resources import state_folder
from skillopt.deploy.contents import is_as
from skillopt.deploy.places import DeployError, Place

Action = Literal["deploy", "undo"]
FORMAT = 1
"""Format number of the log's lines."""


@dataclass(frozen=True)
class Deployment:
    """One change to one target, logged before it is made (``done`` false) and after.

    ``before`` and ``after`` are digests of the target; empty if there was, or is, nothing.
    """

    id: str
    action: Action
    name: str
    agent: str
    scope: str
    form: str
    target: str
    before: str
    after: str
    done: bool
    at: float
    source: dict[str, Any]
    """For a deployment: run, scores and the skill's digest. For an undo: what it undid."""


class Ledger:
    """The log and the backups. A context manager: one process at a time changes deployments.

    Args:
        root: the folder; by default ``$XDG_STATE_HOME/skillopt``.
    """

    def __init__(self, root: Path | None = None) -> None:
        try:
            self.root = root or state_folder().absolute() / "deployments"
        except RuntimeError as error:
            raise DeployError("there is no home directory; set HOME or XDG_STATE_HOME") from error
        self._lock = FileLock(self.root / ".lock")

    def __enter__(self) -> Ledger:
        try:
            check_writable(self.root / "backups")
            (self.root / "backups").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeployError(
                f"{error.filename}: {error.strerror}: the log of deployments cannot be kept there; "
                "make it a folder that can be written, or set XDG_STATE_HOME to another one"
            ) from error
        self._lock.acquire()
        self._settle()
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def _settle(self) -> None:
        """Find out whether changes during which a process was killed were made, and remove what
        it had half made."""
        last = {entry.target: entry for entry in self.entries()}
        for entry in last.values():
            if entry.done:
                continue
            try:
                made = entry.after != entry.before and is_as(Path(entry.target), entry.after)
                half = half_made(entry)
                if half.is_dir():
                    remove_folder(half)
                half.unlink(missing_ok=True)
            except OSError:
                continue  # It cannot be read now, and stays in the log as unfinished.
            if made:
                self.write(replace(entry, done=True))

    @property
    def log(self) -> Path:
        return self.root / "deployments.jsonl"

    def backup(self, entry_id: str) -> Path:
        """The path of the backup of what an entry replaced, a folder or a file."""
        return self.root / "backups" / entry_id

    def entries(self) -> list[Deployment]:
        """All entries, the last for each id, in the order in which they began."""
        end_whole(self.log)
        found: dict[str, Deployment] = {}
        if self.log.is_file():
            for number, line in enumerate(
                self.log.read_text("utf-8", "replace").splitlines(), start=1
            ):
                entry = self._read(line, number)
                found[entry.id] = entry
        return list(found.values())

    def _read(self, line: str, number: int) -> Deployment:
        try:
            values = json.loads(line)
            if values.pop("format", FORMAT) != FORMAT:  # Older lines have none, and are the same.
                raise ValueError("it was written by a newer version")
            return Deployment(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{self.log}:{number}: not an entry of this version: {error}; use the version that "
                "wrote it, or move the file away: skills that are deployed stay where they are"
            ) from error

    def write(self, entry: Deployment) -> None:
        """Append an entry, synced."""
        line = json.dumps({"format": FORMAT, **asdict(entry)}) + "\n"  # Paths need not be UTF-8.
        with self.log.open("a", encoding="utf-8") as log:
            log.write(line)
            log.flush()
            os.fsync(log.fileno())
        sync_folder(self.root)

    def standing(self, target: Path) -> list[Deployment]:
        """The deployments to a target that have not been undone, oldest first."""
        chain = self.chain(target)
        undone = {entry.source["undoes"] for entry in chain if entry.action == "undo"}
        return [e for e in chain if e.action == "deploy" and e.id not in undone]

    def chain(self, target: Path) -> list[Deployment]:
        """The changes to a target since it last had no deployment, oldest first."""
        found: list[Deployment] = []
        standing: set[str] = set()
        for entry in self.entries():
            if entry.target != str(target) or not entry.done:
                continue
            found.append(entry)
            if entry.action == "deploy":
                standing.add(entry.id)
            else:
                standing.discard(entry.source["undoes"])
            found = found if standing else []
        return found


def half_made(entry: Deployment) -> Path:
    """The path of the folder that is being made beside an entry's target, to take its place."""
    return Path(os.path.realpath(entry.target)).with_name(f".skillopt-{entry.id}.tmp")


def new_id() -> str:
    """A unique id for an entry, which sorts by time."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"


def new_entry(
    action: Action, name: str, place: Place, before: str, after: str, source: dict[str, Any]
) -> Deployment:
    """An entry for a change that is about to be made."""
    return Deployment(
        id=new_id(),
        action=action,
        name=name,
        agent=place.agent,
        scope=place.scope,
        form=place.form,
        target=str(place.target(name)),
        before=before,
        after=after,
        done=False,
        at=time.time(),
        source=source,
    )
