"""A change of files is noticed, and read once it is quiet."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import watchdog.observers

from skillopt.core.changes import DEBOUNCE_S, settled, watching


class Changes(threading.Event):
    """Changes at some of the waits, and an end of the watch at one of them."""

    def __init__(self, at: list[bool], stop: threading.Event, stop_at: int | None) -> None:
        super().__init__()
        self.at, self.stop, self.stop_at = at, stop, stop_at
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        number = len(self.waited)
        self.waited.append(timeout)
        if number == self.stop_at:
            self.stop.set()
        if self.at[number]:
            self.set()
        return self.is_set()


POLL, QUIET = 0.05, DEBOUNCE_S


@pytest.mark.parametrize(
    ("at", "stop_at", "found", "waited"),
    [
        ([True, False], None, True, [POLL, QUIET]),
        ([False, False, True, False], None, True, [POLL, POLL, POLL, QUIET]),
        ([True, True, True, False], None, True, [POLL, QUIET, QUIET, QUIET]),
        ([False, False], 1, False, [POLL, POLL]),
        ([True], 0, False, [POLL]),
        ([True, False], 1, False, [POLL, QUIET]),
        ([True, True], 1, False, [POLL, QUIET]),
    ],
)
def test_files_are_read_when_nothing_changes_any_more(
    at: list[bool], stop_at: int | None, found: bool, waited: list[float]
) -> None:
    stop = threading.Event()
    changed = Changes(at, stop, stop_at)
    assert settled(changed, stop) is found
    assert changed.waited == waited


class Observed:
    """What a watch asks of the system."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.handlers: list[Any] = []

    def schedule(self, handler: Any, folder: str, *, recursive: bool) -> None:
        self.handlers.append(handler)
        self.calls.append((folder, recursive))

    def __getattr__(self, name: str) -> Any:
        return lambda: self.calls.append(name)


def test_a_folder_is_watched_with_all_below_and_a_file_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Observed()
    monkeypatch.setattr(watchdog.observers, "Observer", lambda: seen)
    (tmp_path / "skill" / "below").mkdir(parents=True)
    file, gone = tmp_path / "skill" / "SKILL.md", tmp_path / "gone" / "SKILL.md"
    here, skill = str(tmp_path), str(tmp_path / "skill")
    with watching([tmp_path / "skill"], threading.Event()) as look:
        assert seen.calls == ["unschedule_all", (here, False), (skill, True), "start"]
        seen.calls.clear()
        (tmp_path / "skill").rename(tmp_path / "other")
        look()
        assert seen.calls == ["unschedule_all", (here, False)]
    assert seen.calls[2:] == ["stop", "join"]
    seen.calls.clear()
    (tmp_path / "other").rename(tmp_path / "skill")
    with watching([file, gone], threading.Event()):
        assert seen.calls == ["unschedule_all", (skill, False), "start"]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("created", True), ("modified", True), ("moved", True), ("deleted", True),
        ("opened", False), ("closed", False), ("closed_no_write", False),
    ],
)  # fmt: skip
def test_reading_a_file_does_not_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, changes: bool
) -> None:
    seen, changed = Observed(), threading.Event()
    monkeypatch.setattr(watchdog.observers, "Observer", lambda: seen)
    with watching([tmp_path], changed):
        seen.handlers[0].on_any_event(SimpleNamespace(event_type=kind))
    assert changed.is_set() is changes
