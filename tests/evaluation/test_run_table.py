"""Finished runs side by side: the same numbers as each run has, and differences paired by task."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from skillopt.cli import EXIT_USAGE
from skillopt.evaluation.run_table import CostsOf, RunRow, compare_runs, to_csv
from skillopt.run.folder import RunError
from skillopt.run.journal import LOG
from tests.helpers.tiny import Tiny, command, refused, tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow


def two_runs(tiny: Tiny) -> list[Path]:
    """SkillOpt's loop, which finds two of three rules, and a skill of a person's with one."""
    assert tiny.train().returncode == 0
    first = tiny.run
    tiny.put("given/SKILL.md", "---\nname: given\ndescription: d\n---\n\n- rule 1\n")
    tiny.write(name="given", method={"kind": "human", "skill": "given"}, seed=7)
    assert tiny.train().returncode == 0
    return [first, tiny.run]


def rows_of(*roots: Path) -> list[RunRow]:
    return compare_runs(roots)


def test_the_numbers_are_those_of_the_runs(tiny: Tiny) -> None:
    roots = two_runs(tiny)
    rows = rows_of(*roots)
    for root, row in zip(roots, rows, strict=True):
        summary = json.loads((root / "summary.json").read_text())
        assert vars(row.score) == summary["test"]["best"]["score"]
        assert row.over_start.to_json()["gain"] == summary["claim"]["gain"]
        assert row.over_start.p == summary["claim"]["p"]
        assert (row.asked, row.method) == (summary["rollouts_asked"], summary["method"])
        spent = summary["spent"]
        tokens = row.optimizer.tokens + row.target.tokens + row.judge.tokens
        assert (row.rollouts, tokens, row.usd) == (spent["rollouts"], spent["tokens"], spent["usd"])
        ran = [r["usage"]["requests"] for r in tiny.events("rollout_ran", root)]
        assert row.target.calls == sum(ran)
    assert [row.method for row in rows] == ["skillopt", "human"]
    assert [row.score.value for row in rows] == pytest.approx([2 / 3, 1 / 3])
    assert rows[0].over_first is None and rows[1].asked == 0
    assert rows[1].over_first is not None
    assert rows[1].over_first.gain.value == pytest.approx(-1 / 3)
    assert rows[1].over_none is not None and rows[1].over_none.gain.value == pytest.approx(1 / 3)


def test_the_curve_goes_from_the_baseline_to_the_end(tiny: Tiny) -> None:
    first, given = rows_of(*two_runs(tiny))
    assert [point.score for point in first.curve] == pytest.approx([0, 1 / 3, 2 / 3])
    asked = [point.asked for point in first.curve]
    assert asked[0] == 3 and asked == sorted(asked) and asked[-1] == first.asked
    assert {point.asked for point in given.curve} == {0}  # The baseline is not its own.
    assert given.curve[-1].score == pytest.approx(1 / 3)


def test_what_a_method_asks_beyond_its_budget_is_shown(tiny: Tiny) -> None:
    tiny.write(method={"kind": "textgrad", "batch_size": 2, "rollouts": 7})
    assert tiny.train().returncode == 0
    (row,) = rows_of(tiny.run)
    assert row.overshoot == row.asked - 7 > 0
    (line,) = csv.DictReader(io.StringIO(to_csv([row])))
    assert (line["budget"], line["overshoot"]) == ("7", str(row.overshoot))
    assert float(line["test"]) == row.score.value and line["over_first"] == ""


def test_what_was_asked_for_costs_the_same_whoever_ran_it(tiny: Tiny) -> None:
    tiny.own(
        "from dataclasses import replace\n\n\n"
        "class Priced(Writer):\n"
        "    def run(self, request, site):\n"
        "        return replace(super().run(request, site), usage=Usage(1, 5, 0, 5, 0.1))\n"
    )
    tiny.write(harness={"name": "own:Priced"})
    assert tiny.train().returncode == 0
    first = tiny.run
    tiny.write(name="again")
    assert tiny.train().returncode == 0
    tiny.write(name="none", method={"kind": "none"})
    assert tiny.train().returncode == 0
    one, same, none = rows_of(first, first.parent / "again", tiny.run)
    assert one.asked_tokens == same.asked_tokens == 10 * one.asked > 0
    assert same.rollouts == 0 and (none.asked, none.asked_tokens) == (0, 0)
    (alone,) = rows_of(first.parent / "again")
    assert alone.asked_tokens is None


def test_what_an_earlier_version_did_not_count_is_unknown(tiny: Tiny) -> None:
    assert tiny.train().returncode == 0
    records = [json.loads(line) for line in (tiny.run / LOG).read_text().splitlines()]
    kept = [record for record in records if record["kind"] != "rollouts_asked"]
    for name in ("metric", "mix"):  # They were always those of the default then.
        del kept[0]["config"]["gate"][name]
    old = tiny.folder / "runs" / "old"
    old.mkdir()
    (old / LOG).write_text("".join(f"{json.dumps(record)}\n" for record in kept))
    new, row = rows_of(tiny.run, old)
    assert (row.asked, row.asked_tokens, row.curve) == (None, None, ()) and new.asked
    assert row.score == new.score
    (_, line) = csv.DictReader(io.StringIO(to_csv([new, row])))
    assert line["rollouts_asked"] == line["asked_tokens"] == ""
    files = [tiny.folder / name for name in ("all.html", "all.svg")]
    argv = ("--page", files[0], "--plot", files[1])
    shown = command("compare", tiny.run, old, *argv)
    assert shown.returncode == 0 and "unknown" in shown.stdout
    assert "rollouts are not known" in files[0].read_text()
    assert files[1].read_text().count("<circle") == 1


def test_what_a_method_asks_for_without_a_step_is_counted(tiny: Tiny) -> None:
    tiny.own(
        "from dataclasses import replace as changed\n"
        "from skillopt.training.method import Estimate\n\n\n"
        "class Stepless:\n"
        "    def __init__(self, initial=()):\n"
        "        self.initial = initial\n"
        "    def estimate(self, config, splits):\n"
        "        return Estimate()\n"
        "    def run(self, training):\n"
        "        made = changed(training.initial, body='- rule 1')\n"
        "        training.select(made)\n"
        "        if self.initial:\n"
        "            training.select(training.initial, training.selection[: self.initial])\n"
        "        return training.choose(made, 'chosen', 1 / 3)\n"
        "class Priced(Writer):\n"
        "    def run(self, request, site):\n"
        "        done = super().run(request, site)\n"
        "        return changed(done, usage=Usage(1, 5, 0, 5, 0.1))\n"
    )
    tiny.write(harness={"name": "own:Priced"}, method={"kind": "own:Stepless"})
    assert tiny.train().returncode == 0
    (row,) = rows_of(tiny.run)
    assert (row.asked, row.asked_tokens) == (3, 30)  # The baseline is not its own.
    assert [point.asked for point in row.curve] == [0, 3]
    part = {"kind": "own:Stepless", "options": {"initial": 1}}
    tiny.write(name="part", harness={"name": "own:Priced"}, method=part)
    assert tiny.train().returncode == 0
    (_, row) = rows_of(tiny.run.parent / "tiny", tiny.run)
    assert (row.asked, row.asked_tokens) == (4, None)  # Part of the baseline is its own.


def test_a_run_counts_once_and_names_stay_apart(tiny: Tiny) -> None:
    first, _ = two_runs(tiny)
    shutil.copytree(first, tiny.folder / "copies" / first.name)
    rows = rows_of(first, first.parent / ".." / "runs" / first.name, tiny.folder / "copies/tiny")
    assert [row.run for row in rows] == [str(first), str(tiny.folder / "copies/tiny")]


def test_an_unknown_price_stays_unknown(tiny: Tiny) -> None:
    tiny.own(
        "class Unpriced(Writer):\n"
        "    def run(self, request, site):\n"
        "        return replace(super().run(request, site), usage=Usage(1, 5, 0, 5, None))\n"
        "from dataclasses import replace\n"
    )
    tiny.write(method={"kind": "none"}, harness={"name": "own:Unpriced"})
    assert tiny.train().returncode == 0
    (row,) = rows_of(tiny.run)
    assert row.usd is None and row.target == CostsOf(row.rollouts, 10 * row.rollouts)
    assert "unknown" in command("compare", tiny.run).stdout
    told = json.loads(command("compare", tiny.run, "--json").stdout)["runs"][0]
    assert told["usd"] is None and told["target"] == 10 * told["target_calls"] > 0
    (line,) = csv.DictReader(io.StringIO(to_csv([row])))
    assert line["usd"] == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tasks__exclude": ["test-0"]}, "other test tasks"),
        ({"target": {"upstream": "sim", "name": "sim-2"}}, "other models"),
        ({"gate__metric": "soft"}, "other metrics"),
        ({"final__test": False}, "no scores on a test split"),
    ],
)
def test_runs_of_other_things_are_refused(
    tiny: Tiny, settings: dict[str, object], said: str
) -> None:
    tiny.write(method={"kind": "none"})
    assert tiny.train().returncode == 0
    first = tiny.run
    tiny.write(name="other", runs="runs", **settings)
    assert tiny.train().returncode in (0, 4)
    with pytest.raises(RunError, match=said):
        compare_runs([first, tiny.run])
    refused(command("compare", first, tiny.run), said, code=EXIT_USAGE)


def test_a_run_that_is_not_finished_is_refused(tiny: Tiny) -> None:
    tiny.write(method={"kind": "none"})
    assert tiny.train().returncode == 0
    log = tiny.run / LOG
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"kind":"run_done"' not in line))
    refused(command("compare", tiny.run), "is not finished", code=EXIT_USAGE)
