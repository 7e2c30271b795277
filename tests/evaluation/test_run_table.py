"""Finished runs side by side: the same numbers as each run has, and differences paired by task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.cli import EXIT_USAGE
from skillopt.evaluation.run_table import compare_runs
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


def test_the_numbers_are_those_of_the_runs(tiny: Tiny) -> None:
    roots = two_runs(tiny)
    rows = compare_runs(roots)
    for root, row in zip(roots, rows, strict=True):
        summary = json.loads((root / "summary.json").read_text())
        assert vars(row.score) == summary["test"]["best"]["score"]
        assert row.over_start.to_json()["gain"] == summary["claim"]["gain"]
        assert row.over_start.p == summary["claim"]["p"]
        assert (row.asked, row.method) == (summary["rollouts_asked"], summary["method"])
        spent = summary["spent"]
        assert (row.rollouts, row.optimizer + row.target) == (spent["rollouts"], spent["tokens"])
    assert [row.method for row in rows] == ["skillopt", "human"]
    assert [row.score.value for row in rows] == pytest.approx([2 / 3, 1 / 3])
    assert rows[0].over_first is None and rows[1].asked == 0
    assert rows[1].over_first is not None
    assert rows[1].over_first.gain.value == pytest.approx(-1 / 3)
    assert rows[1].over_none is not None and rows[1].over_none.gain.value == pytest.approx(1 / 3)


def test_the_command_prints_them(tiny: Tiny) -> None:
    two_runs(tiny)
    done = command("compare", "runs/tiny", "runs/given")
    assert done.returncode == 0, done.stderr
    assert "given against tiny: not confirmed: -33" in done.stdout
    told = json.loads(command("compare", "runs/tiny", "runs/given", "--json").stdout)
    assert [row["run"] for row in told["runs"]] == ["tiny", "given"]
    assert told["runs"][1]["over_first"]["verdict"] == "not confirmed"
    assert told["methods"] == []


def test_runs_of_one_method_have_a_mean(tiny: Tiny) -> None:
    tiny.write(method={"kind": "none"})
    for seed in (1, 2):
        tiny.write(name=f"seed-{seed}", seed=seed)
        assert tiny.train().returncode == 0
    done = command("compare", "runs/seed-1", "runs/seed-2")
    assert "none: 2 runs, 0 % on average, 0 to 0" in done.stdout


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
