"""A companion's end of the gateway by itself: its limits, its failures, its record and its end."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from harnesses.gateway import companion_channel
from harnesses.gateway.companion_channel import CompanionChannel
from tests.helpers.companions import Counter


def ask(channel: CompanionChannel, *messages: Any) -> list[tuple[int, Mapping[str, Any]]]:
    async def run() -> list[tuple[int, Mapping[str, Any]]]:
        raws = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
        answers = [await channel.answer(raw) for raw in raws]
        return [(answer.status, answer.body) for answer in answers]

    return asyncio.run(run())


@pytest.fixture
def channels() -> Iterator[list[CompanionChannel]]:
    made: list[CompanionChannel] = []
    yield made
    for channel in made:
        channel.close()


@pytest.mark.parametrize(
    ("message", "status", "failure"),
    [
        ({"do": "raise"}, 502, "RuntimeError: the board fell off the table"),
        ({"do": "set"}, 502, "TypeError: Object of type set is not JSON serializable"),
        ({"do": "list"}, 502, "TypeError: its reply is a list, not a mapping"),
        ({"do": "sleep", "s": 0.05}, 504, "it has not replied within 0.01 s"),
        ({"add": float("nan")}, 502, "ValueError: Out of range float values"),
    ],
)
def test_a_companion_that_fails_is_asked_no_more(
    message: Any, status: int, failure: str, tmp_path: Path, channels: list[CompanionChannel]
) -> None:
    game = Counter()
    channels.append(channel := CompanionChannel(game, tmp_path, 0.01 if status == 504 else 5.0))
    (first, second) = ask(channel, message, {"add": 1})
    assert first[0] == status and second[0] == 503 and first[1] == second[1]
    assert "has failed" in first[1]["error"] and failure not in first[1]["error"]
    assert channel.failure.startswith(f"companion failed: {failure}") and channel.exhausted == ""
    (line,) = map(json.loads, (tmp_path / "companion.jsonl").read_text().splitlines())
    assert line["error"] in channel.failure and line["reply"] is None
    assert line["message"].keys() == message.keys() and line["started"] <= line["ended"]


def test_what_is_said_is_counted_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    message = b'{"add": 1}'
    both = len(message) + len('{"total": 1}')
    monkeypatch.setattr(companion_channel, "TOTAL_BYTES", both + len(message))
    channel = CompanionChannel(Counter())
    assert [status for status, _ in ask(channel, message, message, message)] == [200, 200, 403]
    assert channel.exhausted == "limit of 0 MB for companion messages is used up"
    assert channel.failure == ""
    channel.close()
    monkeypatch.setattr(companion_channel, "TOTAL_BYTES", both + len(message) - 1)
    channel = CompanionChannel(Counter())
    assert [status for status, _ in ask(channel, message, message)] == [200, 403]
    channel.close()


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"{", "not JSON: "), (b"[]", "not a JSON object"), (b'"x"', "not a JSON object")],
)
def test_what_is_no_message_is_refused(raw: bytes, words: str) -> None:
    game = Counter()
    channel = CompanionChannel(game)
    ((status, body),) = ask(channel, raw)
    assert status == 400 and words in body["error"]
    assert (channel.failure, channel.exhausted, channel._worker) == ("", "", None)
    channel.close()


def test_the_limit_is_told_in_megabytes() -> None:
    channel = CompanionChannel(Counter())
    assert channel._left == 64 << 20
    channel._left = 1
    assert ask(channel, b"{}")[0][0] == 403
    assert channel.exhausted == "limit of 64 MB for companion messages is used up"
    channel.close()


def test_words_are_recorded_as_they_are(tmp_path: Path) -> None:
    channel = CompanionChannel(Counter(), tmp_path)
    ask(channel, {"add": 1, "word": "ü"}, {"add": 2})
    channel.close()
    raw = (tmp_path / "companion.jsonl").read_text("utf-8")
    assert '"ü"' in raw and len(raw.splitlines()) == 2
    second = json.loads(raw.splitlines()[1])
    assert (second["message"], second["reply"], second["error"]) == ({"add": 2}, {"total": 3}, "")


def test_a_failure_and_a_record_that_fails_are_told_once(tmp_path: Path) -> None:
    channel = CompanionChannel(Counter(), tmp_path / "gone")
    assert ask(channel, {"add": 1})[0][0] == 500
    assert channel.failure.startswith("companion failed: the message cannot be recorded: ")
    channel.close()
    channel = CompanionChannel(Counter(), tmp_path / "gone")
    assert ask(channel, {"do": "raise"})[0][0] == 502
    channel.close()


def test_after_its_end_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    game = Counter()
    channel = CompanionChannel(game)
    channel.close()
    channel.close()
    assert game.closed == 1 and channel._worker is None
    assert ask(channel, {"add": 1}) == [(410, {"error": "the rollout has ended"})]
    assert caplog.records == []


class Stuck(Counter):
    """Its replies, or its end, wait."""

    def __init__(self, ends: bool = True) -> None:
        super().__init__()
        self.goes_on = threading.Event()
        self.ends = ends

    def _reply(self, message: Mapping[str, Any]) -> Any:
        self.goes_on.wait(5)
        return {}

    def close(self) -> None:
        super().close()
        if not self.ends:
            self.goes_on.wait(5)


def test_an_overdue_reply_is_not_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def noted(futures: Any, seconds: float) -> Any:
        waits.append(seconds)
        return wait(futures, seconds)

    monkeypatch.setattr(companion_channel, "wait", noted)
    game = Stuck()
    channel = CompanionChannel(game, reply_s=0.02)
    assert ask(channel, {})[0][0] == 504
    began = time.monotonic()
    channel.close()
    assert time.monotonic() - began < 2 and game.closed == 1 and game.closed_while_replying
    game.goes_on.set()
    assert caplog.records == [] and waits == [0, 10.0]
    channel = CompanionChannel(Counter(), reply_s=7.0)
    ask(channel, {"add": 1})
    channel.close()
    assert waits[2:] == [7.0, 10.0], "one that is under way is"


def test_an_error_that_comes_too_late_is_nobodys(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Stuck):
        def _reply(self, message: Mapping[str, Any]) -> Any:
            super()._reply(message)
            raise OSError("too late")

    game = Failing()
    channel = CompanionChannel(game, reply_s=0.01)

    async def play() -> None:
        assert (await channel.answer(b"{}")).status == 504
        game.goes_on.set()
        while game.under_way:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.005)

    asyncio.run(play())
    channel.close()
    gc.collect()
    assert caplog.records == []


def test_a_companion_that_does_not_end_is_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion_channel, "_CLOSE_S", 0.01)
    game = Stuck(ends=False)
    with caplog.at_level(logging.WARNING):
        CompanionChannel(game, reply_s=0.01).close()
    assert [one.getMessage() for one in caplog.records] == [
        "a companion has not closed within 0.01 s"
    ]
    game.goes_on.set()


def test_one_that_fails_to_close_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Counter):
        def close(self) -> None:
            raise OSError("no disk")

    with caplog.at_level(logging.WARNING):
        CompanionChannel(Failing()).close()
    assert [one.getMessage() for one in caplog.records] == [
        "a companion failed to close: OSError: no disk"
    ]
