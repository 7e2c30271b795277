"""A plan's windows in the headers of services, as public captures show them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harnesses.gateway.plan_windows import (
    PlanWindow,
    differ,
    exhausted_until,
    merged,
    refused_window,
    windows_in,
)

NOW = time.time()
U = "anthropic-ratelimit-unified"
SOON, LATER = str(int(NOW) + 600), str(int(NOW) + 500_000)


def anthropic(**values: str) -> dict[str, str]:
    return {f"{U}-{name.replace('_', '-')}": value for name, value in values.items()}


def window(name: str, used: float | None, reset: str | None, exhausted: bool = False) -> PlanWindow:
    return PlanWindow(name, used, None if reset is None else float(reset), exhausted)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, []),
        ({"x-ratelimit-remaining-requests": "0"}, []),
        (
            {f"{U}-status": "allowed", f"{U}-5h-utilization": "0.17", f"{U}-5h-reset": SOON,
             f"{U}-7d-utilization": "0.02", f"{U}-7d-reset": LATER,
             f"{U}-overage-status": "allowed", f"{U}-overage-utilization": "0.0"},
            [window("five_hour", 0.17, SOON), window("seven_day", 0.02, LATER)],
        ),
        (
            {f"{U}-status": "rejected", f"{U}-5h-status": "rejected", f"{U}-5h-reset": SOON,
             f"{U}-5h-utilization": "1.02", f"{U}-7d-status": "allowed_warning",
             f"{U}-7d-utilization": "0.81", f"{U}-7d-reset": LATER},
            [window("five_hour", 1.02, SOON, True), window("seven_day", 0.81, LATER)],
        ),
        # It goes on with what its owner pays for more.
        (
            {f"{U}-status": "allowed", f"{U}-5h-status": "rejected", f"{U}-5h-reset": SOON,
             f"{U}-5h-utilization": "1.0"},
            [window("five_hour", 1.0, SOON)],
        ),
        (
            {f"{U}-status": "rejected", f"{U}-reset": SOON,
             f"{U}-representative-claim": "seven_day"},
            [window("seven_day", 1.0, SOON, True)],
        ),
        (
            {f"{U}-status": "rejected", f"{U}-reset": SOON,
             f"{U}-representative-claim": "seven_day_opus"},
            [window("seven_day_opus", 1.0, SOON, True)],
        ),
        ({f"{U}-7d_oi-utilization": "1", f"{U}-7d_oi-surpassed-threshold": "true"},
         [window("seven_day_oi", 1.0, None)]),
        (
            {"x-codex-primary-used-percent": "12.5", "x-codex-primary-window-minutes": "300",
             "x-codex-primary-reset-at": SOON, "x-codex-secondary-used-percent": "40",
             "x-codex-secondary-window-minutes": "10080", "x-codex-secondary-reset-at": LATER,
             "x-codex-plan-type": "plus"},
            [window("five_hour", 0.125, SOON), window("seven_day", 0.4, LATER)],
        ),
        # Pro has the week as the first one.
        ({"x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "10080",
          "x-codex-primary-reset-after-seconds": "600"},
         [window("seven_day", 1.0, str(NOW + 600), True)]),
        ({"x-codex-primary-used-percent": "5", "x-codex-primary-window-minutes": "garbage"},
         [window("primary", 0.05, None)]),
        ({"x-codex-primary-used-percent": "5", "x-codex-primary-window-minutes": "9" * 400},
         [window("primary", 0.05, None)]),
        ({"x-codex-primary-used-percent": "90", "x-codex-primary-window-minutes": "300",
          "x-codex-secondary-used-percent": "10", "x-codex-secondary-window-minutes": "300"},
         [window("five_hour", 0.9, None)]),
        ({"x-codex-primary-window-minutes": "300"}, []),
        ({"x-codex-primary-used-percent": "1e11"}, []),
        ({f"{U}-5h-utilization": "999999"}, [window("five_hour", None, None)]),
        ({"x-codex-primary-used-percent": "nan"}, []),
        ({f"{U}-5h-utilization": "-1", f"{U}-5h-reset": "99999999999999999"},
         [window("five_hour", None, None)]),
        ({f"{U}-5h-utilization": "lots", f"{U}-5h-reset": "soon"},
         [window("five_hour", None, None)]),
    ],
)  # fmt: skip
def test_windows_are_read(headers: dict[str, str], wanted: list[PlanWindow]) -> None:
    assert list(windows_in(headers, NOW)) == wanted


def test_a_date_is_a_reset_too() -> None:
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(NOW) + 60))
    (found,) = windows_in({f"{U}-5h-utilization": "0.5", f"{U}-5h-reset": date}, NOW)
    assert found.resets_at == int(NOW) + 60


def test_the_last_reset_of_those_that_are_used_up_counts() -> None:
    five, week = window("five_hour", 1.0, SOON, True), window("seven_day", 1.0, LATER, True)
    assert exhausted_until([five, week], NOW) == float(LATER)
    assert exhausted_until([five, window("seven_day", 0.9, LATER)], NOW) == float(SOON)
    assert exhausted_until([window("seven_day", 0.9, LATER)], NOW) is None
    assert exhausted_until([five, window("plan", 1.0, None, True)], NOW) is None
    assert exhausted_until([five], NOW + 700) is None, "it has begun anew"


def test_what_is_not_told_stays_until_its_reset() -> None:
    known = (window("five_hour", 0.3, SOON), window("seven_day", 0.1, LATER))
    new = (window("five_hour", None, SOON, True),)
    assert merged(known, new, NOW) == (window("five_hour", 0.3, SOON, True), known[1])
    assert merged(known, (), NOW + 700) == (known[1],)
    later = (window("five_hour", 0.4, None),)
    assert merged(known, later, NOW) == (window("five_hour", 0.4, SOON), known[1])
    assert merged(known, later, NOW + 700) == (later[0], known[1])


def test_a_refusal_closes_the_fullest_window() -> None:
    five, week = window("five_hour", 0.99, None), window("seven_day", 0.2, LATER)
    closed = refused_window([five, week], 600.0, NOW)
    assert closed == (PlanWindow("five_hour", 0.99, NOW + 600, True), week)
    assert refused_window([], None, NOW) == (PlanWindow("plan", 1.0, None, True),)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (window("five_hour", 0.42, None), "five hours 42% used"),
        (window("seven_day", None, None), "week use unknown"),
        (PlanWindow("five_hour", 1.0, NOW - 1, True), "five hours reset"),
        (PlanWindow("plan", 1.0, None, True), "plan used up"),
    ],
)
def test_a_window_in_words(given: PlanWindow, text: str) -> None:
    assert given.text(NOW) == text


def test_a_reset_is_told_by_the_clock() -> None:
    clock = time.strftime("%H:%M", time.localtime(float(SOON)))
    assert window("five_hour", 0.5, SOON).text(NOW) == f"five hours 50% used, resets {clock}"
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(LATER)))
    assert window("seven_day", 1.0, LATER, True).text(NOW) == f"week used up, resets {day}"


@pytest.mark.parametrize(
    ("change", "worth"),
    [({"used": 0.505}, False), ({"used": 0.52}, True), ({"resets_at": NOW + 30}, False),
     ({"resets_at": NOW + 9000}, True), ({"exhausted": True}, True)],
)  # fmt: skip
def test_little_changes_are_not_worth_a_record(change: dict[str, Any], worth: bool) -> None:
    before = {"name": "five_hour", "used": 0.5, "resets_at": NOW, "exhausted": False}
    assert differ(PlanWindow(**before), PlanWindow(**before | change)) is worth  # type: ignore[arg-type]
