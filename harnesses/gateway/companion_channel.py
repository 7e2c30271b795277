"""The gateway's end of a companion: messages one at a time, within limits, each one recorded."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from harnesses.clock import now
from harnesses.companion import Companion
from harnesses.json_values import loads

RECORD = "companion.jsonl"
"""The file in a rollout's folder with one line for each message."""
MESSAGE_BYTES = 1024 * 1024
"""The largest size of a message."""
TOTAL_BYTES = 64 * 1024 * 1024
"""The largest size of all messages and replies of a rollout together."""
REPLY_S = 60.0
"""The seconds that a reply may take."""
_CLOSE_S = 10.0
_FAILED = "the companion of this rollout has failed; the rollout's record says why"
_ENDED = "the rollout has ended"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompanionAnswer:
    """The HTTP answer to a message."""

    status: int
    body: Mapping[str, Any]

    @classmethod
    def refusal(cls, status: int, message: str) -> CompanionAnswer:
        return cls(status, {"error": message})


class CompanionChannel:
    """One rollout's companion, whose messages and replies are recorded.

    Args:
        companion: which is closed with the channel.
        record: the rollout's folder; None for no record.
        reply_s: seconds that a reply may take.
    """

    def __init__(
        self, companion: Companion, record: Path | None = None, reply_s: float = REPLY_S
    ) -> None:
        self.failure = ""
        """Why the companion was given up; an infrastructure failure."""
        self.exhausted = ""
        """The limit that the agent has used up."""
        self._companion = companion
        self._record = record
        self._reply_s = reply_s
        self._left = TOTAL_BYTES
        self._turn = asyncio.Lock()
        self._worker: _Worker | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._overdue = False

    async def answer(self, raw: bytes) -> CompanionAnswer:
        """The companion's reply to a message, which waits for its turn."""
        try:
            message = loads(raw)
        except ValueError as error:
            return CompanionAnswer.refusal(400, f"the message is not JSON: {error}")
        if not isinstance(message, dict):
            return CompanionAnswer.refusal(400, "the message is not a JSON object")
        async with self._turn:
            if self._closed:
                return CompanionAnswer.refusal(410, _ENDED)
            if self.failure:
                return CompanionAnswer.refusal(503, _FAILED)
            if self._left < len(raw):
                megabytes = TOTAL_BYTES // (1024 * 1024)
                self.exhausted = f"limit of {megabytes} MB for companion messages is used up"
                return CompanionAnswer.refusal(403, self.exhausted)
            self._left -= len(raw)
            return await self._replied(message)

    async def _replied(self, message: Mapping[str, Any]) -> CompanionAnswer:
        if self._worker is None:
            self._worker = _Worker()
        began = now()
        status, error = 200, ""
        reply: Any = None
        future = asyncio.wrap_future(self._worker.submit(self._reply, message))
        done, _ = await asyncio.wait({future}, timeout=self._reply_s)
        if not done:
            future.add_done_callback(_passed_over)
            self._overdue = True
            status, error = 504, f"it has not replied within {self._reply_s:g} s"
        elif problem := future.exception():
            status, error = 502, f"{type(problem).__name__}: {problem}"
        else:
            text = future.result()
            self._left -= len(text)
            reply = json.loads(text)
        error = self._recorded(began, message, reply, error) or error
        if error:
            self.failure = f"companion failed: {error}"
            return CompanionAnswer.refusal(status if status != 200 else 500, _FAILED)
        return CompanionAnswer(status, reply)

    def _reply(self, message: Mapping[str, Any]) -> str:
        """The companion's reply as JSON, in its thread."""
        reply = self._companion.reply(message)
        if not isinstance(reply, Mapping):
            raise TypeError(f"its reply is a {type(reply).__name__}, not a mapping")
        return json.dumps(dict(reply), allow_nan=False)

    def _recorded(self, began: float, message: Mapping[str, Any], reply: Any, error: str) -> str:
        """Record a message; returns why that failed, if it did: nothing unrecorded is scored."""
        if self._record is None:
            return ""
        line = {"started": began, "ended": now(), "message": message, "reply": reply}
        try:
            with (self._record / RECORD).open("a", encoding="utf-8") as log:
                log.write(json.dumps({**line, "error": error}, ensure_ascii=False) + "\n")
        except OSError as failed:
            return f"the message cannot be recorded: {failed}"
        return ""

    def close(self) -> None:
        """End the companion, after a reply that is running. Calling it again does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        worker = self._worker or _Worker()
        ended = worker.submit(self._companion.close)
        # A reply that is overdue is not waited for.
        wait([ended], 0 if self._overdue else self._reply_s)
        if ended.cancel():  # It has not begun.
            worker.end()
            worker = _Worker()
            ended = worker.submit(self._companion.close)
        wait([ended], _CLOSE_S)
        worker.end()
        if not ended.done():
            _LOG.warning("a companion has not closed within %g s", _CLOSE_S)
        elif error := ended.exception():
            _LOG.warning("a companion failed to close: %s: %s", type(error).__name__, error)


def _passed_over(future: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a call that nothing waits for; else asyncio would complain."""
    if not future.cancelled():
        future.exception()


class _Worker:
    """Makes calls one after another in a thread that does not keep the process alive."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="companion", daemon=True).start()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._calls.put((future, lambda: call(*arguments)))
        return future

    def end(self) -> None:
        """End the thread after the calls that were submitted."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # It is raised with the result.
                future.set_exception(error)
