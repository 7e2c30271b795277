"""How long the page of a run with 15,000 rollouts takes to open: the file, and live from ``ui``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.helpers.chromium import chromium
from tests.helpers.synthetic_run import synthetic_run


def run() -> dict[str, float]:
    """Median seconds of 5 openings each, until the curve is drawn; an empty page beside them."""
    from playwright.sync_api import sync_playwright

    results: dict[str, float] = {}
    with TemporaryDirectory() as scratch, sync_playwright() as playwright:
        root = Path(scratch) / "runs" / "large"
        results["rollouts"] = synthetic_run(root, steps=45, train=400, val=200, test=1400, batch=40)
        empty = Path(scratch) / "empty.html"
        empty.write_text("<!doctype html><title>empty</title><main>nothing</main>")
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "skillopt", "report", str(root)], check=True)
        results["skillopt report, s"] = round(time.perf_counter() - started, 2)
        results["file, MB"] = round((root / "report.html").stat().st_size / 1e6, 1)
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        results["empty page, s"] = _opened(browser, empty.as_uri(), "main")
        results["file, s"] = _opened(browser, (root / "report.html").as_uri(), "path.curve")
        command = [sys.executable, "-m", "skillopt", "ui", str(root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            results["ui, s"] = _opened(browser, server.stdout.readline().strip(), "path.curve")
            server.terminate()
        browser.close()
    for name, value in results.items():
        print(f"{name}: {value}", flush=True)
    return results


def _opened(browser: Any, url: str, selector: str) -> float:
    times = []
    for _ in range(5):
        page = browser.new_page()
        started = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_selector(selector)
        times.append(time.perf_counter() - started)
        page.close()
    return round(statistics.median(times), 2)
