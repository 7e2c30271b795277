"""Requests to an engine that last as long as the work they ask for, such as a build or a pull.

They have no time limit, and may be silent for minutes. Whether the engine still works is asked by
another request.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Told = TypeVar("Told")


def listened(
    ask: Callable[[], Iterable[Told]], ping: Callable[[], object], patience_s: float
) -> Iterator[Told]:
    """What a request tells, as it comes.

    Args:
        ask: makes the request, in a thread of its own, which is left to itself if the engine hangs.
        ping: called after each ``patience_s`` of silence; raises if the engine does not answer.

    Raises:
        Exception: whatever ``ask`` or ``ping`` raises.
    """
    told: queue.SimpleQueue[tuple[Told] | None] = queue.SimpleQueue()
    raised: list[BaseException] = []
    left = threading.Event()

    def listen() -> None:
        try:
            for each in ask():
                if left.is_set():
                    break
                told.put((each,))
        except BaseException as error:  # noqa: BLE001 - raised by the one who waits for it
            raised.append(error)
        finally:
            told.put(None)

    threading.Thread(target=listen, name="listening", daemon=True).start()
    try:
        while (each := _next(told, ping, patience_s)) is not None:
            yield each[0]
    finally:
        left.set()
    if raised:
        raise raised[0]


def _next(
    told: queue.SimpleQueue[tuple[Told] | None], ping: Callable[[], object], patience_s: float
) -> tuple[Told] | None:
    while True:
        try:
            return told.get(timeout=patience_s)
        except queue.Empty:
            ping()
