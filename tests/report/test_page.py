"""The file: self-contained, closed to whatever is in it, and made on the command line."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from skillopt.report.document import folder_of, report
from skillopt.report.page import render
from skillopt.report.view import read_run
from tests.helpers.command_line import skillopt
from tests.helpers.synthetic_run import rows, stored_result, synthetic_run


class Blocks(HTMLParser):
    """The elements of a page, with the texts of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(("", {}, ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)


@given(
    st.recursive(
        st.text() | st.integers(),
        lambda inner: st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=10,
    )
)
def test_data_comes_back_as_it_was_and_never_leaves_its_block(value: object) -> None:
    data = {"runs": [], "value": value, "hostile": "</script><script>x()</script><!--\u2028"}
    page = render(data, "</title><script>y()</script>")
    scripts = [(a, text) for tag, a, text in Blocks(page).found if tag == "script"]
    assert [a.get("type") for a, _ in scripts] == ["application/json", None]
    assert json.loads(scripts[0][1]) == data
    assert "y()" not in scripts[1][1]


def test_the_policy_lets_in_this_script_and_this_style_and_nothing_else() -> None:
    found = Blocks(render({"runs": []}, "t")).found
    (policy,) = [a["content"] or "" for tag, a, _ in found
                 if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    script = next(text for tag, a, text in found if tag == "script" and not a)
    style = next(text for tag, _, text in found if tag == "style")
    for rule, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_it_names_no_other_host_and_writes_no_markup() -> None:
    page = render({"runs": []}, "t")
    assert re.findall(r"https?://[\w./]+", page) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", page)
    assert all(not any(name.startswith("on") for name in a) for _, a, _ in Blocks(page).found)


def test_the_rule_of_what_is_in_the_file_holds(tmp_path: Path) -> None:
    """Failures of the best skill on the test split come first, and no more than asked."""
    root = tmp_path / "r"
    synthetic_run(root, steps=3, train=4, val=4, test=10, batch=4)
    view = read_run(root)
    columns = view.to_json()["rollouts"]
    for row in rows("test best", [f"test-{i:04d}" for i in range(10)], 0.8):
        stored_result(folder_of(root, row.key), row, "t")
    for row in rows("gate 3", [f"val-{i:04d}" for i in range(4)], 0.9):
        stored_result(folder_of(root, row.key), row, "t")

    def held(count: int) -> list[str]:
        page = report([view], count)
        data = next(t for tag, a, t in Blocks(page).found if a.get("type") == "application/json")
        return list(json.loads(data)["trajectories"])

    failed = [r.key for r in rows("test best", [f"test-{i:04d}" for i in range(10)], 0.8)
              if not r.hard]  # fmt: skip
    assert held(2) == failed and len(failed) == 2
    assert held(0) == []
    assert set(failed) < set(held(9)) and len(held(9)) == 9
    assert set(held(100)) <= set(columns["key"]) and len(held(100)) == 14


def test_the_command(plain_run: Path, tmp_path: Path) -> None:
    done = skillopt("report", plain_run)
    assert done.returncode == 0, done.stderr
    assert f"wrote {plain_run / 'report.html'}" in done.stdout
    out = tmp_path / "new" / "both.html"
    synthetic_run(tmp_path / "other", steps=2, train=2, val=2, test=1, batch=2)
    assert skillopt("report", plain_run, tmp_path / "other", "-o", out).returncode == 0
    assert '"name":"other"' in out.read_text()
    nothing = skillopt("report", tmp_path)
    assert nothing.returncode == 2 and "not a run: it has no events.jsonl" in " ".join(
        nothing.stderr.split()
    )
