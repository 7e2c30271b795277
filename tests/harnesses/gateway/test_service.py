"""A service as the gateway knows it: what it has told, when it is not asked any more, its slots."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from harnesses.gateway.blame import Refusal
from harnesses.gateway.patience import Patience
from harnesses.gateway.plan_windows import PlanWindow
from harnesses.gateway.refused_parts import RefusedParts
from harnesses.gateway.service import SEEN, PlanUse, Service, Wait
from harnesses.gateway.service_time import ServiceTime
from harnesses.gateway.slots import Slots
from harnesses.protocols.base import ProtocolName

NOW = 1_900_000_000.0
U = "anthropic-ratelimit-unified"
PLAN = Refusal(429, "no", "usage_limit_reached")


class Upstream:
    protocols: frozenset[ProtocolName] = frozenset({"chat"})
    max_concurrency = 3


class Heard:
    """A service, and what it tells."""

    def __init__(self, upstream: Any = None) -> None:
        asked: Any = upstream or Upstream()
        self.waits: list[Wait] = []
        self.uses: list[PlanUse] = []
        self.service = Service("up", asked, Patience(), self.waits.append, self.uses.append)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test may change."""
    clock = [NOW]
    for module in ("service", "patience", "service_time"):
        monkeypatch.setattr(f"harnesses.gateway.{module}.now", lambda: clock[0])
    monkeypatch.setattr(time, "time", lambda: clock[0])
    return clock


@pytest.fixture
def heard(at: list[float]) -> Heard:
    return Heard()


@pytest.mark.parametrize(
    ("pause", "down", "told"), [(5.0, 0.0, True), (4.9, 0.0, False), (0.1, 5.0, True),
                                (0.1, 4.9, False)]
)  # fmt: skip
def test_a_wait_is_told_when_it_is_worth_it(
    pause: float, down: float, told: bool, heard: Heard, at: list[float]
) -> None:
    heard.service.health.down_since = NOW - down
    heard.service.waited_for("busy", pause)
    assert heard.waits == [Wait("up", "busy", NOW - down, NOW + pause)] * told
    at[0] += 100
    heard.service.replied()
    heard.service.replied()
    assert heard.waits[1:] == [Wait("up", "busy", NOW - down, None)] * told
    assert heard.service.health.down_since is None and heard.service.health.replies == 2
    # Of one that is not known to be down, the wait begins now.
    heard.service.waited_for("busy", 9.0)
    assert heard.waits[-1] == Wait("up", "busy", NOW + 100, NOW + 109)


def test_nothing_is_known_of_a_service_at_first(heard: Heard) -> None:
    service = heard.service
    assert (service.held_until, service.limited_until, service.blocked) == (0.0, 0.0, "")
    assert (service.windows, service.raised, service.health.replied) == ((), None, False)


def test_a_plan_is_told_of_when_something_else_is_known(heard: Heard) -> None:
    heard.service.plan_told({"x": "y"})
    assert heard.uses == []
    for used in ("0.5", "0.5", "0.6"):
        heard.service.plan_told({f"{U}-5h-utilization": used, f"{U}-5h-reset": str(NOW + 60)})
    windows = [PlanWindow("five_hour", used, NOW + 60) for used in (0.5, 0.6)]
    assert heard.uses == [PlanUse("up", (one,)) for one in windows]
    # One window that an answer does not tell of stays.
    heard.service.plan_told({f"{U}-7d-utilization": "0.1"})
    assert heard.service.windows == (windows[1], PlanWindow("seven_day", 0.1))


CLOSED = {f"{U}-status": "rejected", f"{U}-5h-status": "rejected", f"{U}-5h-reset": str(NOW + 90)}


@pytest.mark.parametrize(
    ("said", "headers", "told", "wait", "closed"),
    [
        # The headers say which window is closed, and until when.
        (Refusal(429, "no"), CLOSED, 5.0, 90.0, True),
        (Refusal(0, "no"), CLOSED, None, 90.0, True),
        (Refusal(400, "no"), CLOSED, 5.0, 5.0, False),
        (Refusal(429, "no"), {}, 5.0, 5.0, False),
        (Refusal(429, "no"), {f"{U}-5h-utilization": "1"}, 5.0, 5.0, False),
        # The code says it, at any status.
        (PLAN, {}, 5.0, 5.0, True),
        (PLAN, {}, None, None, True),
        (Refusal(403, "no", PLAN.kind), CLOSED, 5.0, 90.0, True),
        (PLAN, {f"{U}-5h-utilization": "1", f"{U}-5h-reset": str(NOW + 9)}, None, 9.0, True),
    ],
)
def test_a_refusal_for_a_plans_limit(
    said: Refusal,
    headers: dict[str, str],
    told: float | None,
    wait: float | None,
    closed: bool,
    heard: Heard,
) -> None:
    assert heard.service.plan_refused(said, headers, told) == wait
    assert any(window.exhausted for window in heard.service.windows) is closed
    assert len(heard.uses) == closed
    assert heard.service.plan_is_used_up(Refusal(429, "no")) is closed or wait is None


def test_a_plan_is_used_up_until_its_reset(heard: Heard, at: list[float]) -> None:
    service = heard.service
    assert not service.plan_is_used_up(Refusal(429, "no")) and service.plan_is_used_up(PLAN)
    service.windows = (PlanWindow("five_hour", 1.0, NOW + 5), PlanWindow("seven_day", 0.2))
    assert not service.plan_is_used_up(Refusal(429, "no"))
    service.windows = (PlanWindow("five_hour", 1.0, NOW + 5, exhausted=True), *service.windows[1:])
    assert service.plan_is_used_up(Refusal(429, "no"))
    at[0] += 5
    assert not service.plan_is_used_up(Refusal(429, "no"))


def test_a_service_that_refuses_for_one_reason_in_three_rollouts_is_not_asked_again(
    heard: Heard,
) -> None:
    service = heard.service
    for rollout in (1, 1, 2):
        assert service.refused("no tool 1 (req_abc)", rollout) == "no tool 1 (req_abc)"
    assert service.refused("no tool 2 (req_xyz)", 2) and service.blocked == ""
    for rollout in (3, 4, 5):
        service.refused(f"something else {rollout}", 3)
    service.refused("x" * 200 + "a", 1)
    service.refused("x" * 200 + "b", 2)
    assert service.blocked == "" and SEEN == 3
    service.refused("x" * 200 + "c", 3)
    assert service.blocked.startswith("x" * 200 + "c (so in 3 rollouts;")
    service.refused("no tool 3", 3)
    assert "3 rollouts" in service.blocked
    other = Heard().service
    for rollout in (1, 2, 3):
        other.refused("y" * 199 + "abc"[rollout - 1], rollout)
    assert other.blocked == "", "a text is known by its first 200 characters"


@pytest.mark.parametrize(
    ("texts", "known"),
    [
        (["no tool", "no tool", "no tool"], True),
        # What differs with each request: numbers and the ids of requests.
        (["no (req_011CQ)", "no (req_9zK)", "no (req_x_y)"], True),
        (["no, 10 of 12", "no, 3 of 4", "no, 0 of 777"], True),
        (["no tool a", "no tool b", "no tool c"], False),
        (["no", "no", "other"], False),
        (["no (id_a)", "no (id_b)", "no (id_c)"], False),
    ],
)
def test_refusals_are_one_though_their_requests_differ(
    texts: list[str], known: bool, heard: Heard
) -> None:
    for rollout, text in enumerate(texts):
        assert heard.service.blocked == "" and heard.service.refused(text, rollout) == text
    assert bool(heard.service.blocked) is known


def test_the_first_that_its_code_raised_is_kept(heard: Heard) -> None:
    errors = [ValueError("one"), KeyError("two")]
    said = []
    for error in errors:
        try:
            raise error
        except (ValueError, KeyError) as caught:
            said.append(heard.service.broke(caught))
    assert heard.service.raised is errors[0]
    assert said[0].startswith("model service up: its code raised ValueError: one (test_service.py")
    assert "KeyError" in said[1]


@pytest.mark.parametrize(
    ("said", "wait", "words", "others"),
    [
        (Refusal(402, "pay"), None, ["credit or quota is used up: pay"], ["there again", "plan"]),
        (Refusal(402, "p" * 700), None, ["p" * 600], ["p" * 601]),
        (Refusal(429, "no"), 3600.0, ["credit or quota", "to be there again at", "CLOCK"], []),
        (PLAN, 3600.0, ["the plan's limit is reached: no", "CLOCK"], ["until when", "("]),
        (PLAN, None, ["the plan's limit is reached", "does not say until when"], ["("]),
    ],
)
def test_what_is_used_up_blocks_the_service(
    said: Refusal, wait: float | None, words: list[str], others: list[str], heard: Heard
) -> None:
    clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW + 3600))
    text = heard.service.used_up(said, wait)
    assert text == heard.service.blocked and text.startswith("model service up: ")
    assert all(word.replace("CLOCK", clock) in text for word in words), text
    assert not any(word in text for word in others), text


def test_the_windows_of_a_plan_that_is_used_up_are_told(heard: Heard) -> None:
    heard.service.windows = (PlanWindow("five_hour", 0.5), PlanWindow("seven_day", 1.0))
    text = heard.service.used_up(PLAN, None)
    assert "is reached (five hours 50% used, week 100% used): no" in text


def test_the_secrets_of_an_upstream_are_those_that_it_tells() -> None:
    class Telling(Upstream):
        def secrets(self) -> list[str]:
            return ["a", "b"]

    class Odd(Upstream):
        secrets = "a"

    assert Heard(Telling()).service.secrets() == ("a", "b")
    assert Heard(Odd()).service.secrets() == Heard().service.secrets() == ()


def test_an_interval_of_the_same_key_replaces_one_that_has_not_begun(at: list[float]) -> None:
    lost = ServiceTime()
    lost.begin("a", NOW + 10)
    at[0] += 5
    assert lost.seconds == 0
    lost.begin("a", NOW + 20)
    at[0] += 20  # 25 after the beginning.
    assert lost.seconds == 5
    lost.begin("a")  # What was running counts.
    at[0] += 3
    assert lost.seconds == 8
    lost.end("b")
    lost.end("a")
    lost.end("a")
    at[0] += 100
    assert lost.seconds == 8
    lost.add(at[0], at[0] - 5)
    lost.add(at[0], at[0])
    assert lost.seconds == 8
    # A running interval that overlaps one that has passed.
    lost.begin("c", NOW)
    assert lost.seconds == at[0] - NOW


@pytest.mark.parametrize(("total", "most"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_a_session_has_at_most_half_of_the_slots(total: int, most: int) -> None:
    async def play() -> int:
        slots, taken = Slots(total), 0
        for _ in range(total + 1):
            try:
                await slots.take("a", 0)
            except TimeoutError:
                break
            taken += 1
        assert slots.held == taken
        return taken

    assert asyncio.run(play()) == most


def test_what_is_given_back_is_one_slot_and_more_slots_are_for_who_waits() -> None:
    async def play() -> None:
        slots = Slots(4)
        await slots.take("a", 1)
        await slots.take("a", 1)
        slots.give_back("a")
        await slots.take("a", 0)
        with pytest.raises(TimeoutError):
            await slots.take("a", 0)
        waiting = asyncio.ensure_future(slots.take("a", 5))
        await asyncio.sleep(0)
        slots.resize(6)
        await waiting
        assert slots.held == 3

    asyncio.run(play())


def test_who_gives_up_waiting_has_no_turn() -> None:
    async def play() -> None:
        slots = Slots(1)
        await slots.take("a", 1)
        with pytest.raises(TimeoutError):
            await slots.take("b", 0)
        slots.give_back("a")
        assert slots.held == 0, "b, who has left, got nothing"
        await slots.take("a", 0)
        assert slots.held == 1

    asyncio.run(play())


def test_a_turn_of_one_who_has_just_left_is_the_next_ones() -> None:
    async def play() -> None:
        slots = Slots(1)
        await slots.take("a", 1)
        leaving, next_one = (asyncio.ensure_future(slots.take(name, 5)) for name in "bc")
        await asyncio.sleep(0)
        leaving.cancel()
        slots.give_back("a")
        await next_one
        assert slots.held == 1 and leaving.cancelled()

    asyncio.run(play())


BETA = "Unexpected value(s) `a-1`, `b.2` for the `anthropic-beta` header"


@pytest.mark.parametrize(
    ("said", "sent", "learnt", "left"),
    [
        (BETA, "a-1,c", True, "c"),
        (BETA, "c, a-1 ,b.2", True, "c"),
        (BETA, "a-1", True, None),
        (BETA, "c", False, "c"),
        (BETA.replace("`", ""), "b.2,c,d", True, "c,d"),
        ("Invalid Beta Flag", "a-1,c", True, None),
        ("invalid beta flag", "", False, ""),
        ("no", "a-1,c", False, "a-1,c"),
    ],
)
def test_betas_that_were_refused_are_not_sent_again(
    said: str, sent: str, learnt: bool, left: str | None
) -> None:
    parts = RefusedParts()
    headers = {"anthropic-beta": sent, "x": "y"}
    assert parts.headers(headers) == headers and parts.headers({"x": "y"}) == {"x": "y"}
    assert parts.learn("messages", said, headers, {}) is learnt
    assert parts.headers(headers) == {"x": "y"} | ({} if left is None else {"anthropic-beta": left})
    assert parts.headers({"x": "y"}) == {"x": "y"}


RENAMED = "use max_tokens no more; it is max_completion_tokens"


@pytest.mark.parametrize(
    ("protocol", "said", "body", "learnt"),
    [
        ("chat", RENAMED, {"max_tokens": 5}, True),
        ("chat", RENAMED, {}, False),
        ("messages", RENAMED, {"max_tokens": 5}, False),
        ("chat", "max_completion_tokens, not max_tokens", {"max_tokens": 5}, False),
        ("chat", "max_tokens is too large", {"max_tokens": 5}, False),
    ],
)
def test_a_token_limit_gets_its_new_name(
    protocol: ProtocolName, said: str, body: dict[str, Any], learnt: bool
) -> None:
    parts = RefusedParts()
    assert parts.body(protocol, body) == body
    assert parts.learn(protocol, said, {}, body) is learnt
    assert parts.learn("chat", "no", {}, {"max_tokens": 5}) is False
    wanted = {"max_completion_tokens": 5, "n": 1} if learnt else {"max_tokens": 5, "n": 1}
    given = {"max_tokens": 5, "n": 1}
    assert parts.body("chat", given) == wanted and given == {"max_tokens": 5, "n": 1}
    assert parts.body("messages", given) == given
    both = {"max_tokens": 5, "max_completion_tokens": 6}
    assert parts.body("chat", both)["max_completion_tokens"] == 6
    assert parts.body("chat", {"n": 1}) == {"n": 1}
