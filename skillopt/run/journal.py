"""A run's event log on disk: ``events.jsonl``, append-only, one record per line, one writer.

It is the truth about a run. :mod:`skillopt.run.state` interprets the records.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from pydantic import ValidationError

from skillopt.core.errors import SkillOptError
from skillopt.core.files import end_whole, sync_folder
from skillopt.run.records import RECORD, AnyRecord, RunStarted

LOG = "events.jsonl"
PATIENCE_S = 1.0
"""Seconds to wait for the lock: writing a remark into the log takes less."""


class JournalError(SkillOptError):
    """A log cannot be used. The message names file, line and what to do."""


class Journal:
    """The log of one run, open for writing. A context manager; holds the run's lock.

    Args:
        root: the run's folder, which is created.

    Attributes:
        records: the records in the log when it was opened.

    Raises:
        JournalError: another process has it open, or a line in the middle of it is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records: list[AnyRecord] = []
        self._lock = FileLock(root / ".lock")

    def __enter__(self) -> Journal:
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=PATIENCE_S)
        except Timeout as error:
            raise JournalError(f"{self.root}: {_owner(self.root)} is training this run; wait for "
                               "it, or name another run (--set name=...)") from error  # fmt: skip
        try:
            # A process that is killed while writing leaves an incomplete last line, which is cut.
            end_whole(self.root / LOG)
            self.records = read_records(self.root)
            self._file = (self.root / LOG).open("ab")
            sync_folder(self.root)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._lock.release()

    def append(self, record: AnyRecord) -> None:
        """Write a record and sync it: when this returns, the record survives a crash.

        Raises:
            OSError: the disk is full or broken; the log is as it was before.
        """
        line = record.model_dump_json().encode() + b"\n"
        log = self._file.fileno()
        size = os.fstat(log).st_size
        try:
            if os.write(log, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root / LOG))
            os.fsync(log)
        except OSError:
            os.ftruncate(log, size)
            raise


def read_records(root: Path) -> list[AnyRecord]:
    """The records of a run, without an incomplete last line.

    Raises:
        JournalError: a line is damaged that is not the last.
    """
    return list(LogReader(root).new())


class LogReader:
    """Reads a run's log as it grows; another process may be writing it.

    Args:
        root: the run's folder.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / LOG
        self._offset = self._lines = 0

    def new(self) -> Iterator[AnyRecord]:
        """The records that no call has yielded, without an incomplete last line. They are read one
        by one, as a log may be larger than the memory.

        Raises:
            JournalError: a line is damaged that is not the last.
        """
        if not self._path.is_file():
            return
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._lines += 1
                self._offset += len(line)
                yield self._record(line)

    def _record(self, line: bytes) -> AnyRecord:
        try:
            return RECORD.validate_json(line)
        except ValidationError as error:
            raise JournalError(
                f"{self._path}:{self._lines}: not a record of this version: "
                f"{error.errors()[0]['msg']}; restore the file from a copy, or start a new run "
                "(--fork NAME), which takes the finished rollouts from the store"
            ) from error


def _owner(root: Path) -> str:
    try:
        started = [r for r in read_records(root) if isinstance(r, RunStarted)]
    except JournalError:
        started = []  # The process that holds the lock reports what is wrong with the log.
    return f"process {started[-1].pid} on {started[-1].host}" if started else "another process"
