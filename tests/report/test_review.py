"""``skillopt ui --review``: what it lets people do, and that nobody else can do it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillopt.report.searching import search
from skillopt.report.view import read_run
from skillopt.run.journal import read_records
from skillopt.run.records import Remarked
from tests.helpers.command_line import skillopt
from tests.helpers.served_page import fetched, served, status
from tests.helpers.small import trained
from tests.helpers.synthetic_run import synthetic_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("reviewed")).folder


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with served(run, "--review") as url:
        yield url


def secret(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    block = text.partition('id="data">')[2].partition("</script>")[0]
    found: str = json.loads(block)["review"]
    return found


def post(url: str, path: str, body: Any, **headers: str) -> tuple[int, str]:
    origin = "/".join(url.split("/")[:3])
    usual = {"content-type": "application/json", "origin": origin, "x-skillopt-review": secret(url)}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kept = {key: value for key, value in {**usual, **headers}.items() if value}
    request = urllib.request.Request(url + path, data, kept, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def remarks(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fetched(url + "data.json")["runs"][0]["remarks"]
    return found


@pytest.mark.slow
def test_a_remark_is_kept_changed_and_withdrawn(address: str, run: Path) -> None:
    view = fetched(address + "data.json")["runs"][0]
    key = view["rollouts"]["key"][0]
    code, told = post(
        address, "remarks", {"run": 0, "about": key, "verdict": "bad", "text": " <b>no "}
    )
    assert code == 200, told
    id = json.loads(told)["id"]
    (found,) = remarks(address)
    assert (found["about"], found["verdict"], found["text"]) == (key, "bad", "<b>no")
    assert found["task"] == view["tasks"][view["rollouts"]["task"][0]]["name"]
    assert found["split"] == view["uses"][view["rollouts"]["use"][0]]["split"]
    post(address, "remarks", {"run": 0, "about": key, "text": "other", "id": id})
    assert [one["text"] for one in remarks(address)] == ["other"]
    assert post(address, "remarks", {"run": 0, "about": key, "id": id, "withdrawn": True})[0] == 200
    assert remarks(address) == []
    recorded = [one for one in read_records(run) if isinstance(one, Remarked)]
    assert [one.withdrawn for one in recorded] == [False, False, True]
    name = view["entries"][0]["name"]
    assert post(address, "remarks", {"run": 0, "about": name, "verdict": "good"})[0] == 200
    assert [(one["about"], one["split"]) for one in remarks(address)] == [(name, "")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"origin": ""}, 403),
        ({"origin": "http://attacker.example"}, 403),
        ({"origin": "null"}, 403),
        ({"x-skillopt-review": ""}, 403),
        ({"x-skillopt-review": "x" * 32}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"host": "attacker.example"}, 400),
    ],
)
def test_other_pages_cannot_write(
    address: str, run: Path, change: dict[str, str], code: int
) -> None:
    before = (run / "events.jsonl").read_bytes()
    key = read_run(run).keys_in_order[0]
    for path, body in (
        ("remarks", {"run": 0, "about": key, "text": "x"}),
        ("without", {"run": 0, "edit": "1.1"}),
    ):
        assert post(address, path, body, **change)[0] == code
    assert (run / "events.jsonl").read_bytes() == before
    assert fetched(address + "without.json") == {}
    token = address.rstrip("/").rpartition("/")[2]
    wrong = urllib.request.Request(address.replace(token, "x") + "remarks", b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(wrong, timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        ("remarks", {"run": 9, "about": "KEY", "text": "x"}, 404, "no such run"),
        ("remarks", {"run": -1, "about": "KEY", "text": "x"}, 422, "run: "),
        ("remarks", {"run": 0, "about": "0" * 64, "text": "x"}, 404, "no such rollout"),
        ("remarks", {"run": 0, "about": "KEY", "other": "0", "text": "x"}, 404, "no such rollout"),
        ("remarks", {"run": 0, "about": "KEY", "text": " "}, 422, "a text or a verdict"),
        ("remarks", {"run": 0, "about": "KEY", "text": "x" * 4001}, 422, "text: "),
        ("remarks", {"run": 0, "about": "KEY", "text": "x", "verdict": "fine"}, 422, "verdict: "),
        ("remarks", {"run": 0, "about": "KEY", "text": "x", "id": "0" * 32}, 404, "no such remark"),
        ("remarks", {"run": 0, "about": "KEY", "text": "x", "since": 0}, 422, "since: "),
        ("remarks", b"{", 422, "Invalid JSON"),
        ("remarks", b"x" * 70_000, 413, "at most"),
        ("without", {"run": 0, "edit": "1.1; rm"}, 422, "edit: "),
        ("without", {"run": 0, "edit": "--out"}, 422, "edit: "),
        ("without", {"run": 0, "edit": "1.1", "split": "all"}, 422, "split: "),
    ],
)
def test_each_wrong_request_is_named(
    address: str, run: Path, path: str, body: Any, code: int, message: str
) -> None:
    if isinstance(body, dict) and body.get("about") == "KEY":
        body = {**body, "about": read_run(run).keys_in_order[0]}
    found, text = post(address, path, body)
    assert (found, message in text) == (code, True), text


@pytest.mark.slow
def test_without_review_nothing_can_be_written(plain_run: Path) -> None:
    with served(plain_run) as url:
        for path in ("remarks", "without"):
            assert status(url + path, "POST") in (404, 405)
        assert status(url + "without.json") == 404
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert b'"review"' not in answer.read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--expose"], "--review is for this machine alone"),
        (["--host", "0.0.0.0"], "other machines can reach this address"),
        (["--host", "0.0.0.0", "--expose"], "--review is for this machine alone"),
    ],
)
def test_review_is_for_this_machine_alone(
    plain_run: Path, options: list[str], message: str
) -> None:
    done = skillopt("ui", plain_run, "--review", *options)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.slow
def test_an_edit_is_taken_out_and_the_rest_scored(address: str) -> None:
    import time

    assert post(address, "without", {"run": 0, "edit": "1.1"})[0] == 200
    end = time.monotonic() + 60
    while (found := fetched(address + "without.json")["0"])["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.3)
    assert found["state"] == "done", found
    assert [one["skill"] for one in found["result"]["scores"]] == ["best", "without 1.1"]
    post(address, "without", {"run": 0, "edit": "9.9"})
    while (found := fetched(address + "without.json")["0"])["state"] == "running":
        time.sleep(0.3)
    assert found["state"] == "failed" and "no accepted edit 9.9" in found["error"]


@pytest.mark.slow
def test_words_are_found_in_trajectories(address: str, run: Path) -> None:
    told = fetched(address + "search.json?run=0&start=0&words=REPORT")
    keys = read_run(run).keys
    assert told["next"] is None and told["total"] == len(keys)
    assert set(told["found"]) <= keys
    assert fetched(address + "search.json?run=0&start=0&words=no-such-words-here")["found"] == []
    for wrong in (
        "run=9&start=0&words=x",
        "run=0&start=x&words=x",
        "run=0&start=0&words=",
        "run=0",
    ):
        assert status(f"{address}search.json?{wrong}") == 400


def test_a_search_goes_on_where_it_stopped(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = list(dict.fromkeys(read_run(run).keys_in_order))
    whole = search(run, keys, "a")
    assert whole.next is None and whole.found
    monkeypatch.setattr("skillopt.report.searching.SECONDS", -1.0)
    assert search(run, keys, "a", 3).next == 3


def test_each_use_of_a_rollout_counts_when_it_decides(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "r"
    synthetic_run(root, steps=2, train=4, val=4, test=2, batch=2)
    view = read_run(root)
    splits = {view.about(key)["split"] for key in view.keys}  # type: ignore[index]
    assert splits == {"train", "val", "test"}
    assert view.about("step 1") == {} and view.about("nothing") is None
