"""Patience, blame, the service's clock and its slots, each by itself."""

from __future__ import annotations

import asyncio
import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.clock import now
from harnesses.gateway.blame import refusal_of
from harnesses.gateway.patience import (
    LIMITS,
    RETRIED,
    Attempts,
    Health,
    Patience,
    moment,
    told_pause,
)
from harnesses.gateway.service_time import ServiceTime
from harnesses.gateway.slots import Slots


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after-ms": "250"}, "", 0.25),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-3"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({}, "Please try again in 20s. Visit …", 20),
        ({}, "Please try again in 6m0s.", 360),
        ({}, "try again in 1h2m3.5s", 3723.5),
        ({}, "Please retry after 34 seconds.", 34),
        ({}, "limit resets in 2 days", 172_800),
        ({}, "try again in 300ms", 0.3),
        ({}, '{"error": {"resets_in_seconds": 90}}', 90),
        ({}, '{"retryDelay": "34s"}', 34),
        ({}, '{"retry_after": 5}', 5),
        ({"x-ratelimit-reset-tokens": "2m", "x-ratelimit-remaining-tokens": "0"}, "", 120),
        ({"x-ratelimit-reset-tokens": "2m", "x-ratelimit-remaining-tokens": "9"}, "", None),
        ({}, "the model is overloaded", None),
        ({"retry-after": "3"}, "try again in 20s", 3),
    ],
)
def test_the_pause_that_a_service_asks_for(
    headers: dict[str, str], body: str, seconds: float | None
) -> None:
    found = told_pause(headers, body)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_a_pause_as_a_moment() -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    moments = [
        told_pause({"retry-after": date}, ""),
        told_pause({}, f'{{"resets_at": {int(time.time()) + 30}}}'),
        told_pause({"x-ratelimit-reset": str(int((time.time() + 30) * 1000))}, ""),
    ]
    assert all(moment is not None and 27 < moment < 32 for moment in moments), moments
    past = email.utils.formatdate(time.time() - 30, usegmt=True)
    assert told_pause({"retry-after": past}, "") == 0


@given(st.text(max_size=200), st.dictionaries(st.just("retry-after"), st.text(max_size=40)))
def test_no_answer_is_too_strange(body: str, headers: dict[str, str]) -> None:
    found = told_pause(headers, body)
    assert found is None or found >= 0


def test_what_is_told_is_never_cut_and_own_pauses_grow() -> None:
    patience = Patience()
    assert all(20 <= patience.pause(1, 20) <= 21 for _ in range(50))
    own = [patience.pause(n, None) for n in range(1, 12)]
    assert own[0] < 1 and own[4] > 4 and max(own) <= 75


@pytest.mark.parametrize(
    ("status", "body", "blame"),
    [
        (400, b'{"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}', "agent"),
        (400, b'{"error": {"message": "x", "code": "context_length_exceeded"}}', "agent"),
        (400, b"This model's maximum context length is 8192 tokens", "agent"),
        (400, b'{"error": {"message": "Input length exceeds the context window"}}', "agent"),
        (413, b"too large", "agent"),
        (400, b'{"error": {"message": "flagged", "code": "content_policy_violation"}}', "agent"),
        (403, b'{"error": {"message": "blocked by content management policy"}}', "agent"),
        (400, b'{"error": {"message": "credit balance is too low"}}', "service"),
        (
            400,
            b'{"error": {"message": "max_tokens is too large for the context window"}}',
            "service",
        ),
        (400, b'{"error": {"message": "tools[3]: schema without properties"}}', "service"),
        (401, b'{"error": {"message": "key flagged"}}', "service"),
        (402, b"payment required", "service"),
        (404, b"model is too long a name", "service"),
        (429, b"too many tokens in this minute: reduce the length", "service"),
        (500, b"context length exceeded", "service"),
        (403, b"forbidden", "service"),
        (422, b"unprocessable", "service"),
        (400, b"", "service"),
        (400, b"\xff\xfe", "service"),
    ],
)
def test_blame_is_told_by_words(status: int, body: bytes, blame: str) -> None:
    assert refusal_of(status, body).blame == blame


def test_a_refusal_that_more_reply_tokens_caused_says_so() -> None:
    said = refusal_of(400, b'{"error": {"message": "max_tokens: 64000 > 8192"}}')
    assert said.reply_tokens and not said.too_long


def attempts(patience: Patience, replied: bool = True) -> Attempts:
    health = Health()
    if replied:
        health.good()
    return Attempts(patience, health)


def test_an_outage_is_waited_for_as_long_as_patience_lasts() -> None:
    made = attempts(Patience(total_s=100))
    assert made.failed(502, None, 0) is not None
    made.health.down_since = now() - 99.9
    assert made.failed(502, None, 50) is None
    assert attempts(Patience(total_s=100)).failed(429, 99, 10) is None, "longer than is left"
    assert attempts(Patience(total_s=100)).failed(429, 80, 10) is not None


def test_a_service_that_never_replied_is_given_a_minute_unless_it_is_overloaded() -> None:
    made = attempts(Patience(), replied=False)
    made.health.down_since = now() - 61
    assert made.failed(0, None, 0) is None
    assert made.failed(529, None, 0) is not None


def test_a_request_that_fails_while_others_are_answered_is_given_up() -> None:
    made = attempts(Patience())
    for _ in range(8):
        assert made.failed(500, None, 0) is not None
        made.health.good()
    assert made.failed(500, None, 0) is None
    assert made.failed(429, None, 0) is not None, "a limit is no fault of the request"


def test_seconds_count_once() -> None:
    time_ = ServiceTime()
    start = now() - 100
    time_.add(start, start + 10)
    time_.add(start + 5, start + 20)
    time_.add(start + 50, start + 60)
    assert time_.seconds == pytest.approx(30)
    time_.begin("a", at=now() - 2)
    time_.begin("b", at=now() - 1)
    time_.begin("c", at=now() + 100)
    assert time_.seconds == pytest.approx(32, abs=0.5)
    for key in "abc":
        time_.end(key)
    assert time_.seconds == pytest.approx(32, abs=0.5)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20))
def test_the_union_of_intervals(spans: list[tuple[int, int]]) -> None:
    time_ = ServiceTime()
    for begin, end in spans:
        time_.add(float(begin), float(end))
    seconds = {second for begin, end in spans for second in range(begin, end)}
    assert time_.seconds == len(seconds)


def test_no_session_takes_all_slots_and_the_poorest_comes_first() -> None:
    async def play() -> list[str]:
        slots, order = Slots(4), []
        await slots.take("greedy", 1)
        await slots.take("greedy", 1)

        async def wants(session: str) -> None:
            await slots.take(session, 5)
            order.append(session)

        waiting = [asyncio.ensure_future(wants("greedy")) for _ in range(3)]
        waiting += [asyncio.ensure_future(wants("modest")) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert order == ["modest", "modest"], "two slots are left for others"
        for _ in range(3):
            slots.give_back("greedy")
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        with pytest.raises(TimeoutError):
            await slots.take("late", 0.01)
        slots.give_back("modest")
        await slots.take("late", 1)
        return order

    assert asyncio.run(play()) == ["modest", "modest", "greedy", "greedy", "greedy"]


def test_who_leaves_the_queue_takes_no_slot_along() -> None:
    async def play() -> None:
        slots = Slots(1)
        await slots.take("a", 1)
        leaving = asyncio.ensure_future(slots.take("b", 5))
        await asyncio.sleep(0)
        slots.give_back("a")  # The turn of b, who leaves at this moment.
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await slots.take("c", 0.1)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("patience", "replied", "status", "told", "down", "waited", "tries"),
    [
        # The pause must fit into what is left of the outage, and of the rollout's patience.
        (Patience(total_s=100), True, 502, 40.0, 59.0, 0, True),
        (Patience(total_s=100), True, 502, 40.0, 61.0, 0, False),
        (Patience(total_s=100), True, 502, 40.0, 0.0, 58.9, True),
        (Patience(total_s=100), True, 502, 40.0, 0.0, 61.0, False),
        # An outage may be given less, or more, than the rollout waits in all.
        (Patience(total_s=100, outage_s=50), True, 502, 40.0, 11.0, 0, False),
        (Patience(total_s=100, outage_s=50), True, 502, 40.0, 8.9, 0, True),
        (Patience(total_s=100, outage_s=500), True, 502, 40.0, 300.0, 0, True),
        (Patience(total_s=100, outage_s=500), True, 502, 40.0, 300.0, 61.0, False),
        # One that never replied has a minute, or less; a limit shows that it is there.
        (Patience(total_s=1000), False, 502, 40.0, 21.0, 0, False),
        (Patience(total_s=1000), False, 502, 40.0, 18.9, 0, True),
        (Patience(total_s=1000, outage_s=50), False, 502, 40.0, 11.0, 0, False),
        (Patience(total_s=1000), False, 429, 40.0, 500.0, 0, True),
        (Patience(total_s=1000), False, 0, None, 30.0, 0, True),
    ],
)
def test_another_try_must_fit_into_what_is_left(
    patience: Patience,
    replied: bool,
    status: int,
    told: float | None,
    down: float,
    waited: float,
    tries: bool,
) -> None:
    made = attempts(patience, replied=replied)
    made.health.down_since = now() - down
    pause = made.failed(status, told, waited)
    assert (pause is not None) is tries
    if pause is not None and told is not None:
        assert told <= pause <= told + 1


def test_own_pauses_double_and_stay_below_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harnesses.gateway.patience.random.uniform", lambda low, high: 1.0)
    patience = Patience(pause_s=0.5)
    assert [patience.pause(n, None) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert patience.pause(40, None) == patience.pause(60, None) >= 8.0
    assert Patience(pause_s=1000.0).pause(3, None) == 1000.0
    assert patience.pause(9, 5.0) == 6.0, "what the service asks for, and a little more"


@pytest.mark.parametrize(
    ("total", "first_byte", "silence", "stalled"),
    [(3600.0, 60.0, 2.0, 300.0), (3600.0, 1.0, 1.0, 300.0), (3600.0, 200.0, 2.0, 400.0),
     (100.0, 60.0, 2.0, 100.0), (0.5, 60.0, 2.0, 1.0)],
)  # fmt: skip
def test_how_long_silence_is_borne(
    total: float, first_byte: float, silence: float, stalled: float
) -> None:
    patience = Patience(total_s=total, first_byte_s=first_byte)
    assert (patience.silence_s, patience.stalled_s) == (silence, stalled)


def test_a_request_fails_only_if_others_are_answered_between() -> None:
    """Eight failures in an outage are the service's; what counts is a reply between two of them."""
    made = attempts(Patience())
    for _ in range(20):
        assert made.failed(500, None, 0) is not None
    made = attempts(Patience())
    made.health.good()
    made.health.good()
    for _ in range(9):  # The first failure has none before it.
        assert made.failed(500, None, 0) is not None
        made.health.good()
        made.health.good()
        if made.failures == 8:
            break
    assert made.failed(500, None, 0) is None


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        # The first that is there counts, in this order.
        ({"retry-after-ms": "250", "retry-after": "7"}, "", 0.25),
        ({"retry-after-ms": "9000", "retry-after": "7"}, "", 9),
        ({"retry-after-ms": "soon", "retry-after": "7"}, "", 7),
        ({"retry-after": "0"}, "try again in 20s", 0),
        ({"retry-after": "1e9"}, "", None),
        ({"retry-after": "999999999"}, "", 999_999_999),
        ({"retry-after": ""}, "", None),
        ({"retry-after": "soon"}, "try again in 20s", 20),
        ({}, 'try again in 20s {"retry_after": 5}', 20),
        ({}, '{"retry_after": 5, "resets_at": 3000000000}', 5),
        # All forms of the words, and of the fields.
        ({}, "Retry after: 90 seconds", 90),
        ({}, "available in 2 minutes", 120),
        ({}, "resets after 1 hour and 2 minutes", 3720),
        ({}, "reset in 1 day, 1 hour", 90_000),
        ({}, "try again in 5 milliseconds", 0.005),
        ({}, "TRY AGAIN IN 1M", 60),
        ({}, "try again in 5 mins", 300),
        ({}, "try again in 5 secs", 5),
        ({}, "try again in a minute", None),
        ({}, '{"retryAfter": "5s"}', 5),
        ({}, '{"retry_delay_seconds": 5}', 5),
        ({}, '{"retry_after": "250ms"}', 0.25),
        ({}, '{"reset_in": 7}', 7),
        ({}, '{"resets_in_seconds": "7"}', 7),
        # Of the limits that are used up the one that resets last.
        ({"x-ratelimit-reset-requests": "1m", "x-ratelimit-remaining-requests": "0",
          "x-ratelimit-reset-tokens": "2s", "x-ratelimit-remaining-tokens": "0"}, "", 60),
        ({"x-ratelimit-reset-requests": "1m", "x-ratelimit-remaining-requests": "1",
          "x-ratelimit-reset-tokens": "2s", "x-ratelimit-remaining-tokens": "0"}, "", 2),
        ({"x-ratelimit-reset-requests": "soon", "x-ratelimit-remaining-requests": "0"}, "", None),
        ({"x-ratelimit-reset-requests": "1m"}, "", None),
        # A number of seconds, where a moment may be.
        ({"x-ratelimit-reset": "30"}, "", 30),
        ({"x-ratelimit-reset": "soon", "x-ratelimit-reset-tokens": "2s",
          "x-ratelimit-remaining-tokens": "0"}, "", 2),
        ({}, '{"resets_at": "30"}', 30),
        ({"x-ratelimit-reset": "30"}, '{"reset_time": 40}', 40),
    ],
)  # fmt: skip
def test_each_form_in_which_a_pause_is_told(
    headers: dict[str, str], body: str, seconds: float | None
) -> None:
    found = told_pause(headers, body)
    assert found == (None if seconds is None else pytest.approx(seconds))


AT = 1_900_000_000.0


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (str(AT), AT), (f' "{int(AT)}" ', AT), (str(int(AT) * 1000), AT), ("soon", None),
        ("1e9", 1e9), ("999999999", None), ("1e11", None), ("99999999999", 99_999_999_999.0),
        ("1e14", None), ("nan", None), ("2030-03-17T17:46:40Z", AT),
        ("2030-03-17T18:46:40+01:00", AT), ("0001-01-01", None), ("2030-13-17", None),
    ],
)  # fmt: skip
def test_a_moment_in_its_forms(text: str, at: float | None) -> None:
    assert moment(text) == at


@pytest.mark.parametrize(("ahead", "seconds"), [(30, 30), (-30, 0), (0, 0)])
def test_the_time_until_a_moment(ahead: int, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: AT)
    assert told_pause({"x-ratelimit-reset": str(int(AT) + ahead)}, "") == seconds
    date = email.utils.formatdate(AT + ahead, usegmt=True)
    assert told_pause({"retry-after": date}, "") == seconds


def test_a_pause_of_ones_own_is_spread_and_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    monkeypatch.setattr("harnesses.gateway.patience.random.uniform", uniform)
    assert Patience().pause(1, None) == 0.5 * 1.25
    assert [Patience().pause(n, None) for n in (7, 8, 9)] == [40.0, 75.0, 75.0]
    assert Patience(pause_s=70.0).pause(2, None) == 87.5, "never less than it is set to"
    assert [Patience().pause(1, told) for told in (0.0, 5.0, 10.0, 100.0)] == [
        0.0, 5.5, 11.0, 101.0,
    ]  # fmt: skip
    assert asked[0] == (0.75, 1.25) and asked[-1] == (0.0, 1.0)
    assert Patience() == Patience(3600.0, None, 60.0, 0.5)


def test_the_health_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("harnesses.gateway.patience.now", lambda: clock[0])
    health = Health()
    assert (health.replied, health.replies, health.down_s) == (False, 0, 0.0)
    health.bad()
    clock[0] = 103.0
    health.bad()
    assert health.down_s == 3.0, "since the first failure"
    health.good()
    assert (health.replied, health.replies, health.down_since) == (True, 1, None)


@pytest.mark.parametrize("status", sorted(LIMITS))
def test_a_limit_shows_that_a_service_is_there(status: int) -> None:
    made = attempts(Patience(), replied=False)
    made.health.down_since = now() - 1000
    assert made.failed(status, None, 0) is not None


def test_statuses_that_pass_by_themselves() -> None:
    assert RETRIED >= LIMITS == {429, 503, 529}
    assert {408, 409, 425, 500, 502, 504, 520, 530} <= RETRIED
    assert not RETRIED & {200, 400, 401, 402, 403, 404, 413, 422, 501, 505, 519, 531}
    for status in (408, 520, 530):
        assert attempts(Patience()).failed(status, None, 0) is not None


def test_the_pause_that_just_fits_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harnesses.gateway.patience.random.uniform", lambda low, high: low)
    monkeypatch.setattr("harnesses.gateway.patience.now", lambda: 100.0)
    for told, tries in ((50.0, True), (50.1, False)):
        made = attempts(Patience(total_s=100))
        assert (made.failed(500, told, 50.0) == told) is tries
        made = attempts(Patience(total_s=100))
        made.health.down_since = 50.0
        assert (made.failed(500, told, 0.0) == told) is tries
