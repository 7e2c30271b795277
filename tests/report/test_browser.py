"""The page in a real browser: what is drawn, how it is used, that hostile content does nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillopt.report.document import folder_of, report
from skillopt.report.view import RunView, read_run
from tests.helpers.opened_page import HOSTILE, Page
from tests.helpers.synthetic_run import rows, stored_result, synthetic_run

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(browser: Any, run: Path, tmp_path: Path) -> Iterator[Page]:
    file = tmp_path / "report.html"
    file.write_text(report([read_run(run)], 1000), "utf-8")
    page = Page(browser, file, viewport={"width": 1200, "height": 900})
    yield page
    page.check()
    page.context.close()


def test_curves_and_decisions_are_drawn(opened: Page, run: Path) -> None:
    view = RunView(run).to_json()
    assert opened.page.locator(".marker").count() == len(view["curve"])
    path = opened.page.locator("path.curve").bounding_box()
    assert path["width"] > 300 and path["height"] > 20
    assert "50 % → " in opened.texts(".verdict")[0]
    bars = opened.page.locator("rect.bar.accept, rect.bar.reject, rect.bar.skip")
    assert bars.count() == len([e for e in view["entries"] if "applied" in e])
    opened.page.locator(".marker.reject").first.click()
    assert "#0/steps/" in opened.page.url


def test_each_step_shows_its_change_and_what_led_to_it(opened: Page, run: Path) -> None:
    opened.go("steps/step%201")
    first = next(e for e in RunView(run).to_json()["entries"] if e["name"] == "step 1")
    shown = "".join(opened.texts("td.line.new"))
    for row in first["diff"]:
        if row["kind"] in ("added", "changed"):
            assert "".join(text for text, _ in row["right"]["parts"]) in shown
    assert any("reflect: failure minibatch" in text for text in opened.texts(".card h3"))
    assert any(text.startswith("Failures: ") for text in opened.texts(".card p"))
    opened.page.keyboard.press("j")
    opened.page.wait_for_url("**/steps/step%202")
    opened.go("rejected")
    assert any("before, at most" in text for text in opened.texts("main p"))


def test_the_map_leads_to_a_trajectory_by_keyboard(opened: Page) -> None:
    opened.page.keyboard.press("3")
    opened.page.wait_for_selector(".heat td[data-index]")
    assert opened.texts(".heat tbody th[scope=row]") == ["logs-05", "reconcile-05"]
    opened.page.locator(".heat table").focus()
    opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector(".viewer[open] .step")
    assert opened.texts(".viewer h2")[0].startswith("reconcile-05")
    assert "agent" in opened.texts(".viewer .step h3")[-1]
    assert opened.texts(".viewer .call h4")[0] == "shell"
    opened.page.keyboard.press("p")
    opened.page.wait_for_selector(".viewer h2 >> text=logs-05")
    opened.page.keyboard.press("Escape")
    assert opened.page.locator(".viewer[open]").count() == 0


def test_filters(opened: Page, run: Path) -> None:
    opened.go("rollouts")
    columns = RunView(run).to_json()["rollouts"]
    total = len(columns["key"])
    assert opened.texts("[role=status]") == [f"{total} rollouts"]
    opened.page.keyboard.press("/")
    opened.page.wait_for_selector("#search:focus")
    opened.page.keyboard.type("logs")
    logs = opened.texts("[data-rollout]")
    assert logs and len(logs) < total and all(text.startswith("logs-") for text in logs)
    opened.page.locator("[data-filter=outcome]").select_option("solved")
    assert set(opened.texts("main tbody .badge")) == {"solved"}
    opened.page.keyboard.press("Tab")
    assert 0 < len(opened.texts("[data-rollout]")) < len(logs)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_a_phone_and_both_colour_schemes(
    browser: Any, run: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(report([read_run(run)], 10), "utf-8")
    page = Page(browser, file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    colour = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[scheme]
    for place in ("overview", "steps", "tasks", "rollouts", "rejected", "skill", "config"):
        page.go(place)
        page.page.wait_for_selector(f".tab[aria-current] >> text={place}")
        wide = page.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, place
    page.page.keyboard.press("t")
    other = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert other != colour
    page.check()
    page.context.close()


def test_hostile_content_is_shown_as_text_and_does_nothing(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "<img src=x onerror=window.hacked=9>"
    synthetic_run(root, steps=3, train=4, val=4, test=2, batch=4)
    log = root / "events.jsonl"
    log.write_text(log.read_text("utf-8").replace("- rule ", json.dumps(HOSTILE)[1:-1]), "utf-8")
    for row in rows("initial", [f"val-{i:04d}" for i in range(4)], 0.25):
        stored_result(folder_of(root, row.key), row, HOSTILE)
    file = tmp_path / "report.html"
    file.write_text(report([RunView(root)], 100), "utf-8")
    page = Page(browser, file, viewport={"width": 1200, "height": 900})
    for place in ("overview", "steps/step%201", "rejected", "skill", "config", "tasks", "rollouts"):
        page.go(place)
        page.page.wait_for_timeout(50)
    page.page.locator("tr:has-text('✓') [data-rollout]").first.click()
    page.page.wait_for_selector(".viewer .step.agent")
    page.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    shown = page.texts(".viewer-body")[0]
    assert shown.count("<script>window.hacked = 1</script>") >= 7
    assert "\u241b]0;title" in shown and "\u202e" not in shown and "\x1b" not in shown
    page.page.wait_for_timeout(300)
    assert page.page.evaluate("window.hacked") is None
    foreign = "script:not(#data):not([src]), img, iframe, link, a, object, embed, .viewer svg"
    assert page.page.locator(foreign).count() == 1  # The page's own script.
    page.check()
    page.context.close()


def test_a_run_of_15_000_rollouts_opens_with_a_page_of_them(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "large"
    count = synthetic_run(root, steps=40, train=400, val=200, test=1400, batch=40)
    assert count >= 13_000
    file = tmp_path / "report.html"
    file.write_text(report([RunView(root)], 0), "utf-8")
    page = Page(browser, file, viewport={"width": 1200, "height": 900})
    page.page.wait_for_selector("path.curve")
    page.go("rollouts")
    page.page.wait_for_selector("[data-rollout]")
    assert page.texts("[role=status]") == [f"{count:,} rollouts"]
    assert page.page.locator("[data-rollout]").count() == 100
    page.page.locator("text=next").click()
    assert "page 2 of" in page.texts("main")[0]
    page.go("tasks")
    page.page.wait_for_selector(".heat")
    assert page.page.locator(".heat td[data-index]").count() == 200 * 41
    page.check()
    page.context.close()
