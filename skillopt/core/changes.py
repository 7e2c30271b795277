"""Noticing that files have changed, once an editor has finished writing them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEBOUNCE_S = 0.4
"""Seconds without a change before files are read, as editors write in several steps."""
_POLL_S = 0.05


def settled(changed: threading.Event, stop: threading.Event) -> bool:
    """Wait for a change and then for quiet; False if ``stop`` is set."""
    while not changed.wait(_POLL_S):
        if stop.is_set():
            return False
    while changed.is_set() and not stop.is_set():
        changed.clear()
        changed.wait(DEBOUNCE_S)
    return not stop.is_set()


@contextmanager
def watching(paths: Sequence[Path], changed: threading.Event) -> Iterator[Callable[[], None]]:
    """Set ``changed`` whenever one of the paths, or what is below it, is written, moved or removed.

    Yields a function that renews the watch: to the system, a replaced folder is a different one.
    """
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            # Reading is an event too, and our own would trigger the next round.
            if event.event_type in ("created", "modified", "moved", "deleted"):
                changed.set()

    observer: Any = Observer()

    def look() -> None:
        observer.unschedule_all()
        folders = {path.parent: False for path in paths} | {p: True for p in paths if p.is_dir()}
        for folder, recursive in folders.items():
            if folder.is_dir():
                observer.schedule(Handler(), str(folder), recursive=recursive)

    look()
    observer.start()
    try:
        yield look
    finally:
        observer.stop()
        observer.join()
