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


def codex(**values: str) -> dict[str, str]:
    return {f"x-codex-{name.replace('_', '-')}": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        # A window of a kind of model, with either mark.
        ({f"{U}-7d-opus-utilization": "0.5"}, [window("seven_day_opus", 0.5, None)]),
        ({f"{U}-7d_opus-utilization": "0.5"}, [window("seven_day_opus", 0.5, None)]),
        ({f"{U}-3h-utilization": "0.5"}, [window("3h", 0.5, None)]),
        # The plan goes on, or does not say.
        ({f"{U}-5h-status": "rejected"}, [window("five_hour", None, None)]),
        ({f"{U}-status": "rejected"}, [window("plan", 1.0, None, True)]),
        ({f"{U}-status": "rejected", f"{U}-reset": "soon"}, [window("plan", 1.0, None, True)]),
        ({f"{U}-status": "rejected", f"{U}-representative-claim": "a b"},
         [window("plan", 1.0, None, True)]),
        ({f"{U}-status": "rejected", f"{U}-representative-claim": "x" * 40},
         [window("x" * 40, 1.0, None, True)]),
        ({f"{U}-status": "rejected", f"{U}-representative-claim": "x" * 41},
         [window("plan", 1.0, None, True)]),
        # The claim names a window that is told of, which keeps what is known of it.
        ({f"{U}-status": "rejected", f"{U}-representative-claim": "five_hour",
          f"{U}-reset": SOON, f"{U}-5h-utilization": "0.9", f"{U}-7d-utilization": "0.1"},
         [window("five_hour", 0.9, SOON, True), window("seven_day", 0.1, None)]),
        ({f"{U}-status": "rejected", f"{U}-representative-claim": "five_hour",
          f"{U}-reset": SOON, f"{U}-5h-reset": LATER},
         [window("five_hour", None, LATER, True)]),
        ({f"{U}-status": "rejected", f"{U}-representative-claim": "five_hour",
          f"{U}-7d-status": "rejected"}, [window("seven_day", None, None, True)]),
        # Shares at their ends.
        ({f"{U}-5h-utilization": "10"}, [window("five_hour", 10.0, None)]),
        ({f"{U}-5h-utilization": "10.1"}, [window("five_hour", None, None)]),
        ({f"{U}-5h-utilization": "0"}, [window("five_hour", 0.0, None)]),
        ({f"{U}-5h-utilization": "0.12345"}, [window("five_hour", 0.1235, None)]),
        (codex(primary_used_percent="1000"), [window("primary", 10.0, None, True)]),
        (codex(primary_used_percent="1001"), []),
        (codex(primary_used_percent="99.9"), [window("primary", 0.999, None)]),
        (codex(secondary_used_percent="0"), [window("secondary", 0.0, None)]),
        # Windows of other lengths and families.
        (codex(primary_used_percent="5", primary_window_minutes=" 60 "),
         [window("60_minutes", 0.05, None)]),
        (codex(primary_used_percent="5", primary_window_minutes="0"),
         [window("primary", 0.05, None)]),
        (codex(primary_used_percent="5", primary_window_minutes="9999999"),
         [window("9999999_minutes", 0.05, None)]),
        (codex(primary_used_percent="5", primary_window_minutes="10000000"),
         [window("primary", 0.05, None)]),
        (codex(spark_primary_used_percent="5", spark_primary_window_minutes="300",
               primary_used_percent="7", primary_window_minutes="300"),
         [window("five_hour", 0.07, None), window("spark_five_hour", 0.05, None)]),
        (codex(primary_used_percent="7", secondary_used_percent="8", primary_window_minutes="300",
               secondary_window_minutes="300"), [window("five_hour", 0.08, None)]),
        # A reset as a moment counts before one in seconds, which has its bounds.
        (codex(primary_used_percent="5", primary_reset_at=SOON, primary_reset_after_seconds="5"),
         [window("primary", 0.05, SOON)]),
        (codex(primary_used_percent="5", primary_reset_after_seconds="0"),
         [window("primary", 0.05, str(NOW))]),
        (codex(primary_used_percent="5", primary_reset_after_seconds="-1"),
         [window("primary", 0.05, None)]),
        (codex(primary_used_percent="5", primary_reset_after_seconds=str(366 * 86400)),
         [window("primary", 0.05, None)]),
        (codex(primary_used_percent="5", primary_reset_at=str(int(NOW) + 367 * 86400)),
         [window("primary", 0.05, None)]),
        (codex(primary_used_percent="5", primary_reset_at=str(int(NOW) - 365 * 86400)),
         [window("primary", 0.05, str(int(NOW) - 365 * 86400))]),
    ],
)  # fmt: skip
def test_each_form_in_which_a_window_is_told(
    headers: dict[str, str], wanted: list[PlanWindow]
) -> None:
    assert list(windows_in(headers, NOW)) == wanted


@pytest.mark.parametrize(
    ("given", "share"),
    [
        (window("a", 0.4, None), 0.4), (window("a", None, None), 0.0),
        (window("a", 0.4, None, True), 1.0), (window("a", None, None, True), 1.0),
        (PlanWindow("a", 0.4, NOW, True), 0.0), (PlanWindow("a", 0.4, NOW + 1), 0.4),
        (PlanWindow("a", 0.4, NOW + 1, True), 1.0),
    ],
)  # fmt: skip
def test_the_share_that_is_used_now(given: PlanWindow, share: float) -> None:
    assert given.share(NOW) == share
    assert exhausted_until([given], NOW) == (given.resets_at if share == 1.0 else None)


@pytest.mark.parametrize(
    ("windows", "told", "closed"),
    [
        # One that is used up already, and the fullest if none is.
        ([window("a", 0.1, None, True), window("b", 0.9, None)], 5.0,
         [window("a", 0.1, None, True), window("b", 0.9, None)]),
        ([window("a", None, None), window("b", 0.1, None)], None,
         [window("a", None, None), window("b", 0.1, None, True)]),
        ([window("a", 0.2, SOON), window("b", 0.1, None)], 5.0,
         [window("a", 0.2, SOON, True), window("b", 0.1, None)]),
        ([], 5.0, [PlanWindow("plan", 1.0, NOW + 5, True)]),
    ],
)  # fmt: skip
def test_which_window_a_refusal_closes(
    windows: list[PlanWindow], told: float | None, closed: list[PlanWindow]
) -> None:
    assert list(refused_window(windows, told, NOW)) == closed


def test_windows_are_merged_by_name() -> None:
    ended = PlanWindow("a", 0.9, NOW)
    assert merged([ended], [], NOW) == () and merged([ended], [], NOW - 1) == (ended,)
    told = PlanWindow("a", None, NOW + 9, True)
    assert merged([ended], [told], NOW - 1) == (PlanWindow("a", 0.9, NOW + 9, True),)
    assert merged([ended], [told], NOW) == (told,)
    zero = PlanWindow("a", 0.0, None)
    assert merged([ended], [zero], NOW - 1) == (PlanWindow("a", 0.0, NOW),)
    names = [PlanWindow(name) for name in "cab"]
    assert [one.name for one in merged(names, [], NOW)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("before", "after", "worth"),
    [
        (PlanWindow("a"), PlanWindow("b"), True),
        (PlanWindow("a", None), PlanWindow("a", 0.0), False),
        (PlanWindow("a", None), PlanWindow("a", 0.01), True),
        (PlanWindow("a", 0.5), PlanWindow("a", 0.25), True),
        (PlanWindow("a", 0.5, 1000.0), PlanWindow("a", 0.5, 1120.0), False),
        (PlanWindow("a", 0.5, 1000.0), PlanWindow("a", 0.5, 1120.5), True),
        (PlanWindow("a", 0.5, 1120.5), PlanWindow("a", 0.5, 1000.0), True),
        (PlanWindow("a", 0.5, None), PlanWindow("a", 0.5, 121.0), True),
        (PlanWindow("a", 0.5, 121.0), PlanWindow("a", 0.5, None), True),
    ],
)
def test_what_differs_by_more_than_a_little(
    before: PlanWindow, after: PlanWindow, worth: bool
) -> None:
    assert differ(before, after) is worth


@pytest.mark.parametrize(("ahead", "form"), [(19, "%H:%M"), (20, "%Y-%m-%d %H:%M")])
def test_a_reset_of_another_day_has_its_date(ahead: int, form: str) -> None:
    at = NOW + ahead * 3600
    told = time.strftime(form, time.localtime(at))
    assert PlanWindow("own_name", 0.5, at).text(NOW) == f"own name 50% used, resets {told}"
    assert PlanWindow("plan", 0.5, NOW).text(NOW) == "plan reset"
