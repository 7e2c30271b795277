"""Comparing, searching, sorting and remarks in a real browser, on the served page and in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillopt.report.document import report
from skillopt.report.view import read_run
from skillopt.run.journal import read_records
from skillopt.run.records import Remarked
from tests.helpers.opened_page import HOSTILE, Page
from tests.helpers.served_page import served
from tests.helpers.small import trained
from tests.helpers.synthetic_run import synthetic_run

pytestmark = pytest.mark.browser


@pytest.fixture
def trained_run(tmp_path: Path) -> Path:
    return trained(tmp_path).folder


@pytest.fixture
def site(trained_run: Path) -> Iterator[str]:
    with served(trained_run, "--review") as url:
        yield url


class Live:
    """The served page, with all that it complained of or asked for elsewhere."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.url = url
        self.page.on("console", lambda m: self.problems.append(m.text)
                     if m.type in ("error", "warning") else None)  # fmt: skip
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.problems.append(request.url)
                     if not request.url.startswith(url) else None)  # fmt: skip
        self.go("overview")
        self.page.wait_for_selector(".verdict")

    def go(self, place: str) -> None:
        self.page.goto(f"{self.url}#0/{place}")

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.page.locator(selector).all_inner_texts()]

    def close(self) -> None:
        assert self.problems == []
        self.context.close()


@pytest.fixture
def live(browser: Any, site: str) -> Iterator[Live]:
    page = Live(browser, site, viewport={"width": 1400, "height": 900})
    yield page
    page.close()


def kept(run: Path) -> list[Remarked]:
    return [record for record in read_records(run) if isinstance(record, Remarked)]


def test_a_remark_is_left_seen_and_withdrawn(live: Live, trained_run: Path) -> None:
    live.go("rollouts")
    live.page.locator("[data-rollout]").first.click()
    live.page.wait_for_selector(".viewer .step")
    live.page.fill(".viewer textarea", HOSTILE[:1000])
    live.page.keyboard.press("p")  # Typed, and no key of the viewer.
    live.page.locator(".viewer [data-verdict=bad]").click()
    live.page.locator(".viewer form [type=submit]").click()
    live.page.wait_for_selector(".viewer .remark")
    assert "<script>window.hacked = 1</script>" in live.texts(".viewer .remark pre")[0]
    assert live.page.evaluate("window.hacked") is None
    (remark,) = kept(trained_run)
    assert remark.verdict == "bad" and remark.text.endswith("p")
    assert remark.about == read_run(trained_run).keys_in_order[0]
    live.page.keyboard.press("Escape")
    live.go("remarks")
    live.page.wait_for_selector("main .remark")
    live.page.locator("main .remark button.link").click()
    live.page.wait_for_selector(".viewer[open] .remark")
    live.page.keyboard.press("Escape")
    live.page.locator("main .remark", has_text="withdraw").locator("text=withdraw").click()
    live.page.wait_for_selector("text=Nobody has left a remark.")
    assert kept(trained_run)[-1].withdrawn


def test_a_step_gets_a_remark_and_a_live_page_does_not_take_away_what_is_written(
    live: Live, trained_run: Path
) -> None:
    live.go("steps/step%201")
    live.page.fill("main textarea", "half a sentence")
    other = live.context.new_page()
    other.goto(f"{live.url}#0/steps/step%201")
    other.fill("main textarea", "from elsewhere")
    other.locator("main form [type=submit]").click()
    other.wait_for_selector("main .remark >> text=from elsewhere")
    live.page.wait_for_timeout(1200)
    assert live.page.locator("main textarea").input_value() == "half a sentence"
    live.page.locator("main form [type=submit]").click()
    live.page.wait_for_selector("main .remark >> text=half a sentence")
    assert [remark.text for remark in kept(trained_run)] == ["from elsewhere", "half a sentence"]
    assert {remark.about for remark in kept(trained_run)} == {"step 1"}


def test_two_skills_side_by_side_blind_by_keyboard(live: Live, trained_run: Path) -> None:
    live.go("compare")
    live.page.locator("[data-setting=blind]").check()
    live.page.wait_for_selector("main td >> text=hidden")
    assert "initial" not in live.texts("main table")[0]
    live.page.locator("[data-pair]").first.click()
    live.page.wait_for_selector(".viewer.wide .pair")
    shown = live.texts(".viewer.wide .viewer-body")[0]
    assert "initial skill" not in shown and "best skill" not in shown and "reward" not in shown
    live.page.keyboard.press("1")
    live.page.wait_for_selector(".viewer.wide >> text=Kept.")
    (remark,) = kept(trained_run)
    assert (remark.verdict, remark.blind) == ("better", True) and remark.other
    names = live.texts(".viewer.wide .pair > section > h2")
    assert sorted(name.split(" skill")[0] for name in names) == ["test, best", "test, initial"]
    # What is left is the side that was called left.
    assert names[0].startswith(remark.use)
    live.page.keyboard.press("Escape")
    live.page.wait_for_selector("main td >> text=✓")


def test_files_and_their_differences(browser: Any, trained_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report([read_run(trained_run)], 1000), "utf-8")
    page = Page(browser, file, viewport={"width": 1400, "height": 900})
    page.go("compare")
    page.page.wait_for_selector("[data-pair]")
    page.page.locator("[data-pair]", has_text="reconcile").click()
    page.page.wait_for_selector(".viewer.wide .pair")
    assert page.page.locator(".viewer.wide textarea").count() == 0  # Nothing can be written.
    differing = page.page.locator(".viewer.wide .diff td.old, .viewer.wide .diff td.new")
    assert differing.count() > 0
    page.check()
    page.context.close()


def test_a_link_opens_one_rollout(live: Live, trained_run: Path) -> None:
    key = read_run(trained_run).keys_in_order[2]
    live.go(f"rollouts/{key}")
    live.page.wait_for_selector(".viewer[open] .step")
    assert key[:16] in live.texts(".viewer header code")[0]
    live.page.locator(".viewer header >> text=link").click()
    assert live.page.url.endswith(f"#0/rollouts/{key}")
    live.page.keyboard.press("Escape")
    live.page.wait_for_timeout(700)
    assert live.page.locator(".viewer[open]").count() == 0
    live.go("rollouts/" + "0" * 64)
    live.page.wait_for_selector("[data-rollout]")
    assert live.page.locator(".viewer[open]").count() == 0


def test_words_are_looked_for_and_rows_sorted(live: Live) -> None:
    live.go("rollouts")
    live.page.wait_for_selector("[data-rollout]")
    total = live.page.locator("[data-rollout]").count()
    live.page.fill("#search-in", "no-such-words")
    live.page.keyboard.press("Enter")
    live.page.wait_for_selector("#searched >> text=found in 0")
    assert live.page.locator("[data-rollout]").count() == 0
    live.page.fill("#search-in", "RECONCILE")
    live.page.keyboard.press("Enter")
    live.page.wait_for_selector("[data-rollout]")
    assert 0 < live.page.locator("[data-rollout]").count() <= total
    live.page.fill("#search-in", "")
    live.page.keyboard.press("Enter")
    live.page.wait_for_function(f"document.querySelectorAll('[data-rollout]').length === {total}")
    for name in ("task", "tokens"):
        live.page.locator(f"[data-sort={name}]").click()
        live.page.wait_for_selector("th[aria-sort=ascending]")
    live.page.locator("[data-sort=task]").click()
    names = live.texts("[data-rollout]")
    assert names == sorted(names)
    live.page.locator("[data-sort=task]").click()
    live.page.wait_for_selector("th[aria-sort=descending]")
    assert live.texts("[data-rollout]") == sorted(names, reverse=True)
    live.page.locator("[data-rollout]").first.click()
    live.page.wait_for_selector(".viewer .step")
    live.page.fill(".viewer .find", "no-such-words")
    live.page.wait_for_selector(".viewer .hits >> text=in 0 steps")
    assert live.page.locator(".viewer .step:visible").count() == 0


def test_an_edit_is_taken_out_from_the_page(live: Live, trained_run: Path) -> None:
    entries = read_run(trained_run).to_json()["entries"]
    accepted = next(e for e in entries if e["action"] == "accept" and e["name"].startswith("step"))
    live.go(f"steps/{accepted['name'].replace(' ', '%20')}")
    live.page.locator("[data-without]").first.click()
    live.page.locator(".without >> text=score it").click()
    live.page.set_default_timeout(60_000)
    live.page.wait_for_selector(".without table")
    assert [text.split("\t")[0] for text in live.texts(".without tbody tr")] == [
        "best",
        f"without {accepted['step']}.1",
    ]


def test_a_page_that_only_reads_has_no_form(browser: Any, trained_run: Path) -> None:
    with served(trained_run) as url:
        page = Live(browser, url)
        for place in ("rollouts", "steps", "remarks"):
            page.go(place)
            page.page.wait_for_timeout(200)
            assert page.page.locator("textarea, [data-without]").count() == 0
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_new_views_fit(browser: Any, site: str, scheme: str, width: int) -> None:
    page = Live(browser, site, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for place in ("compare", "remarks", "tasks/cost", "steps/step%201", "rollouts"):
        page.go(place)
        page.page.wait_for_timeout(150)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width, place
    page.go("compare")
    page.page.locator("[data-pair]").first.click()
    page.page.wait_for_selector(".viewer.wide .pair")
    body = "document.querySelector('.viewer.wide .viewer-body')"
    assert page.page.evaluate(f"{body}.scrollWidth - {body}.clientWidth") <= 0
    page.close()


@pytest.mark.slow
def test_98_000_rollouts_are_sorted_and_compared_at_once(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "huge"
    count = synthetic_run(root, steps=220, train=4000, val=400, test=1600, batch=40)
    assert count >= 98_000
    file = tmp_path / "report.html"
    file.write_text(report([read_run(root)], 0), "utf-8")
    page = Page(browser, file, viewport={"width": 1400, "height": 900})
    page.page.set_default_timeout(30_000)
    page.page.wait_for_selector("path.curve")
    page.go("rollouts")
    page.page.wait_for_selector("[data-rollout]")
    took = page.page.evaluate(
        "() => { const t = performance.now(); document.querySelector('[data-sort=tokens]').click();"
        " return performance.now() - t; }"
    )
    assert took < 3000, took
    page.go("compare")
    page.page.wait_for_selector("[data-pair]")
    page.go("tasks/cost")
    page.page.wait_for_selector("main table")
    page.check()
    page.context.close()
