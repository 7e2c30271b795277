"""The page of a comparison: in both themes and on a narrow screen, with hostile text in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Usage
from skillopt.evaluation.claim import claim
from skillopt.evaluation.method_table import Comparison, MethodPair, MethodRow
from skillopt.evaluation.run_table import CostsOf, Point, RunRow
from skillopt.evaluation.stats import Estimate
from skillopt.report.comparison import COLOURS, LEGEND_TEXT, comparison_page, curves_svg
from tests.helpers.opened_page import HOSTILE, Page

METHODS = [f"method-{number}" for number in range(COLOURS + 2)]


def comparison(findings: tuple[str, ...] = (), remark: str = "") -> Comparison:
    """Of more methods than there are colours, with three runs each."""
    gain = claim([[0.0]] * 8, [[1.0]] * 8, split="test")
    rows = [
        RunRow(
            run=f"{method}-seed-{seed}", method=method, seed=seed, score=Estimate(0.5, 0.2, 0.8),
            over_start=gain, over_none=gain, over_first=None, asked=100 * seed, budget=250,
            asked_tokens=None,
            rollouts=120, optimizer=CostsOf(3, 1234), target=CostsOf(400, 567_890),
            judge=CostsOf(0, 0), usage=Usage(cost_usd=None), seconds=90.0, skill_tokens=321,
            findings=findings, curve=(Point(10, 0.25), Point(60, 0.5), Point(100 * seed, 0.5)),
        )
        for method in METHODS
        for seed in (1, 2, 3)
    ]  # fmt: skip
    methods = [
        MethodRow(method, tuple(f"{method}-seed-{s}" for s in (1, 2, 3)), (1, 2, 3),
                  Estimate(0.5, 0.1, 0.9), Estimate(0.5), None, (0.5, 0.5, 0.5))
        for method in METHODS
    ]  # fmt: skip
    lost = claim([[1.0]] * 8, [[0.0]] * 8)
    pairs = [
        MethodPair(METHODS[1], METHODS[0], gain, Estimate(0.5, 0.1, 0.9)),
        MethodPair(METHODS[2], METHODS[0], gain, Estimate(0.5, -0.1, 0.9)),
        MethodPair(METHODS[3], METHODS[0], lost, Estimate(-1, -1, -0.5)),
        MethodPair(METHODS[4], METHODS[0], gain, None),
    ]
    return Comparison("direct with sim-1", rows, methods, pairs, [remark] if remark else [], {})


def test_a_verdict_needs_tasks_and_runs() -> None:
    verdicts = [pair.verdict for pair in comparison().pairs]
    assert verdicts == ["confirmed", "not confirmed", "contradicted", "confirmed"]
    assert comparison().pairs[3].words.endswith("so it says nothing about other seeds")


def test_runs_of_one_method_have_one_colour() -> None:
    svg = curves_svg(comparison())
    assert svg.count('class="curve run0"') == 3 and svg.count('class="curve run0 later"') == 3


def test_names_are_text_in_the_plot() -> None:
    found = comparison()
    renamed = [replace(row, run="<b>&") if i == 0 else row for i, row in enumerate(found.rows)]
    methods = [replace(row, runs=("<b>&", *row.runs[1:])) if i == 0 else row
               for i, row in enumerate(found.methods)]  # fmt: skip
    assert "<title>&lt;b&gt;&amp;: " in curves_svg(replace(found, rows=renamed, methods=methods))


def renamed(found: Comparison, name: str) -> Comparison:
    """The comparison with another name for its first method and that one's first run."""
    run, method = found.rows[0], found.methods[0]
    rows = [replace(run, run=name, method=name), *found.rows[1:]]
    first = replace(method, method=name, runs=(name, *method.runs[1:]))
    return replace(found, rows=rows, methods=[first, *found.methods[1:]])


def test_a_long_name_is_cut_in_the_legend_and_whole_at_its_line() -> None:
    svg = curves_svg(renamed(comparison(), "n" * 200))
    assert f">{'n' * (LEGEND_TEXT - 1)}…</text>" in svg and f"<title>{'n' * 200}: " in svg


@pytest.mark.parametrize("count", [1, 4])
def test_the_page_says_how_many_comparisons_there_are(count: int) -> None:
    found = comparison()
    page = comparison_page(replace(found, pairs=found.pairs[:count]))
    assert ("These are 4 comparisons, each at 95 %" in page) is (count == 4)


@pytest.mark.browser
def test_a_long_name_leaves_room_for_the_numbers(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "compared.html"
    file.write_text(comparison_page(renamed(comparison(), "n" * 200)), "utf-8")
    page = Page(browser, file, viewport={"width": 1200, "height": 900})
    for table in page.page.locator("table.numbers").all():
        cell = table.locator("td").first.bounding_box()
        assert cell["width"] < 450
    page.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_in_both_themes(browser: Any, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "compared.html"
    file.write_text(comparison_page(comparison()), "utf-8")
    page = Page(browser, file, viewport={"width": 1200, "height": 900}, color_scheme=scheme)
    plot = page.page.locator("svg.chart").bounding_box()
    assert plot["width"] > 900 and page.page.locator("path.curve").count() == 3 * len(METHODS)
    colour = "return getComputedStyle(document.querySelector(s)).color"
    shown = {
        s: page.page.evaluate(f"s => {{ {colour} }}", s)
        for s in (".claim.confirmed", ".claim.contradicted", ".claim.not-confirmed", "h1")
    }
    assert shown[".claim.not-confirmed"] == shown["h1"] and len(set(shown.values())) == 3
    paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[scheme]
    assert page.texts("td").count("cost unknown") == 3 * len(METHODS)
    assert page.texts("summary") == ["Each run against its start"]
    page.check()
    page.context.close()


@pytest.mark.browser
def test_on_a_narrow_screen_tables_scroll_and_the_page_does_not(
    browser: Any, tmp_path: Path
) -> None:
    file = tmp_path / "compared.html"
    file.write_text(comparison_page(comparison()), "utf-8")
    page = Page(browser, file, viewport={"width": 360, "height": 740})
    assert page.page.evaluate("document.documentElement.scrollWidth") == 360
    page.check()
    page.context.close()


@pytest.mark.browser
def test_hostile_text_is_text(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "compared.html"
    file.write_text(comparison_page(comparison((HOSTILE,), HOSTILE)), "utf-8")
    page = Page(browser, file)
    assert "window.hacked = 1" in page.texts("p.hint")[0]
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator("iframe, script, img").count() == 0
    page.check()
    page.context.close()
