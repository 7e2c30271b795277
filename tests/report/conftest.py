"""A headless Chromium, and one small trained run that all tests of the page look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chromium import chromium
from tests.helpers.small import trained


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Not for the session: as long as it is there, nothing else in its process can run asyncio."""
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=quiet)
        yield started
        started.close()


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that do not care what has happened in it."""
    return trained(tmp_path_factory.mktemp("plain")).folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with accepted and rejected steps."""
    folder = tmp_path_factory.mktemp("trained")
    settings = {"upstreams.sim.harm": 0.4, "train.epochs": 3, "train.learning_rate.start": 1,
                "train.learning_rate.end": 1}  # fmt: skip
    return trained(folder, **settings).folder
