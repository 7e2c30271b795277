"""``skillopt ui``: live, read-only, and only for who has the address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status
from skillopt.report.document import failed_folder_of
from skillopt.run.journal import LOG
from tests.helpers.command_line import skillopt
from tests.helpers.owners import owner_process
from tests.helpers.served_page import fetched, served, status
from tests.helpers.synthetic_run import created, ran, rows, started, stored_result, write_log


@pytest.fixture(scope="module")
def address(plain_run: Path) -> Iterator[str]:
    with served(plain_run) as url:
        yield url


@pytest.fixture(scope="module")
def exposed(plain_run: Path) -> Iterator[str]:
    with served(plain_run, "--host", "0.0.0.0", "--expose") as url:
        yield url


@pytest.mark.slow
def test_only_the_address_with_its_token_answers(address: str, exposed: str) -> None:
    url, other = address, exposed
    assert url.startswith("http://127.0.0.1:")
    token = url.rstrip("/").rpartition("/")[2]
    assert len(token) >= 32 and token not in other
    base = url.replace(f"{token}/", "")
    for path in ("", "x/", f"{token[:-1]}/", "data.json", "x/data.json", "x/events"):
        assert status(base + path) == 404
    assert status(url) == status(url + "data.json") == 200
    assert status(url, Host="attacker.example") == 400
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert status(url + "data.json", method) == 405


@pytest.mark.slow
def test_it_serves_the_rollouts_that_the_run_names_and_no_other_file(address: str) -> None:
    view = fetched(address + "data.json")["runs"][0]
    key = view["rollouts"]["key"][0]
    found = fetched(f"{address}rollouts/{key}.json")
    assert found["key"] == key and found["steps"]
    for other in ("0" * 64, "..%2f..%2fsummary", f"{key[:2]}%2f{key}%2fresult", key[:-1]):
        assert status(f"{address}rollouts/{other}.json") == 404


@pytest.mark.slow
def test_it_serves_what_is_left_of_rollouts_that_failed(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "r"
    (row,) = rows("batch", ["train-0"], 0)
    row = row.model_copy(update={"status": Status.INFRA_ERROR})
    gone = row.model_copy(update={"key": "ab" * 32})
    start = created("r", {"train": ["train-0"], "val": [], "test": []})
    write_log(root, [start, ran(row, "rollout"), ran(gone, "rollout")])
    stored_result(failed_folder_of(root, row.key), row, "status 529")
    with served(root) as url:
        found = fetched(f"{url}failed/{row.key}.json")
        assert (found["status"], found["scored"]) == ("infra_error", False)
        assert found["message"] == "status 529" and found["steps"] and found["verifier"]
        assert status(f"{url}rollouts/{row.key}.json") == 404
        for other in (gone.key, "0" * 64, f"..%2ffailed%2f{row.key}", row.key[:-1]):
            assert status(f"{url}failed/{other}.json") == 404
        token = url.rstrip("/").rpartition("/")[2]
        assert status(f"{url.replace(token, 'x')}failed/{row.key}.json") == 404


@pytest.mark.browser
def test_a_process_that_is_killed_is_seen_without_reloading(browser: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    with owner_process() as (process, owner):
        names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        root = tmp_path / "runs" / "r"
        write_log(root, [created("r", names), started(owner)])
        with served(root) as url:
            page = browser.new_page()
            page.goto(url)
            expect(page.locator(".verdict")).to_contain_text("Running: starting")
            process.kill()
            expect(page.locator(".verdict")).to_contain_text("its process was killed")
            page.close()


@pytest.mark.slow
def test_addresses_that_others_can_reach_are_refused_unless_told(
    exposed: str, plain_run: Path
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"):
        done = skillopt("ui", plain_run, "--host", host)
        assert done.returncode == 2 and "other machines can reach this address" in done.stderr
    assert status(exposed.replace("0.0.0.0", "127.0.0.1"), Host="my-machine") == 200


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(address: str, plain_run: Path) -> None:
    port = address.split(":")[2].partition("/")[0]
    done = skillopt("ui", plain_run, "--port", port)
    assert done.returncode == 2 and f"127.0.0.1:{port}: Address already in use" in done.stderr


@pytest.mark.browser
def test_what_happens_in_training_is_seen_without_reloading(
    browser: Any, run: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    lines = (run / LOG).read_bytes().splitlines(keepends=True)
    half = next(i for i, line in enumerate(lines) if b'"step_done"' in line) + 1
    live = tmp_path / "runs" / run.name
    live.mkdir(parents=True)
    (live / LOG).write_bytes(b"".join(lines[:half]))
    with served(live) as url:
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto(url)
        page.wait_for_selector(".verdict")
        assert "Running: " in page.inner_text(".verdict") and page.locator(".marker").count() == 2

        def train() -> None:
            with (live / LOG).open("ab") as log:
                for line in lines[half:]:
                    log.write(line)
                    log.flush()

        threading.Thread(target=train).start()
        expect(page.locator(".verdict")).to_contain_text("held-out task", timeout=10_000)
        history = json.loads((run / "history.json").read_text())
        judged = sum(row["action"] != "skip" for row in history)
        assert page.locator(".marker").count() == 1 + judged > 2
        assert "Running" not in page.inner_text(".verdict")
        assert problems == []
        page.close()
