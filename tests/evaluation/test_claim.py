"""What a run claims of its skill: by which tasks, in which words, and how often it is wrong."""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.config.schema import FinalConfig
from skillopt.core.metric import Scorer
from skillopt.core.types import Reward
from skillopt.evaluation.claim import claim, claim_of_run, said_of_run
from skillopt.evaluation.scoring import Row
from skillopt.gates import power
from skillopt.run.folder import read_state
from skillopt.tasks.sources import hold_out
from tests.helpers.tiny import Tiny, command, tiny, wants
from tests.helpers.values import a_rollout, a_task

pytestmark = pytest.mark.slow  # Whole runs.

__all__ = ["tiny"]

Pairs = list[list[float]]


def single(values: list[float]) -> Pairs:
    return [[value] for value in values]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([0.0] * 20, [1.0] * 18 + [0.0] * 2, "confirmed: +90 [+66, +98] points on 20 tasks"),
        ([1.0] * 18 + [0.0] * 2, [0.0] * 20, "contradicted: -90 [-98, -66] points on 20 tasks"),
        ([0.0] * 20, [1.0] * 3 + [0.0] * 17, "not confirmed: +15 "),
        ([0.0] * 3, [1.0] * 3, "not confirmed: +100 [+0, +100] points on 3 tasks"),
        ([0.0], [1.0], "not confirmed: +100 points on 1 task; so few tasks"),
    ],
)
def test_one_verdict_in_one_line(before: list[float], after: list[float], said: str) -> None:
    found = claim(single(before), single(after))
    assert found.words.startswith(said), found.words
    assert found.to_json()["words"] == found.words
    assert ("so few tasks" in found.words) == (len(before) < 6)
    if found.verdict == "not confirmed" and len(before) > 6:
        assert "these tasks show gains of" in found.words


def test_useless_edits_are_seldom_confirmed() -> None:
    """Whole runs: the best of ten skills that are all the same, chosen by its luck on the selection
    split, is tested on other tasks, of which some are solved by chance."""
    rng, confirmed, runs = random.Random(3), 0, 500
    for _ in range(runs):
        chances = [rng.betavariate(0.4, 0.4) for _ in range(40)]
        best = max(sum(rng.random() < p for p in chances[:20]) for _ in range(10))
        assert best >= 0  # It says nothing of the tasks that the claim uses.
        before, after = ([float(rng.random() < p) for p in chances[20:]] for _ in range(2))
        confirmed += claim(single(before), single(after)).verdict == "confirmed"
    assert confirmed / runs <= 0.05


def test_a_gain_that_is_called_visible_is_mostly_confirmed() -> None:
    rng, tasks, lost = random.Random(4), 60, 0.05
    gain = power.visible_gain(tasks, 2 * lost)
    assert gain is not None
    confirmed = 0
    for _ in range(300):
        draws = [rng.random() for _ in range(tasks)]
        before = [float(draw > 1 - lost) for draw in draws]
        after = [float(draw < lost + gain) for draw in draws]
        confirmed += claim(single(before), single(after)).verdict == "confirmed"
    assert confirmed / 300 >= 0.76  # 80 %, less two standard errors


def test_degrees_are_tested_too() -> None:
    before, after = [0.2, 0.3, 0.25, 0.1] * 5, [0.9, 0.95, 0.7, 0.6] * 5
    assert claim(single(before), single(after)).verdict == "confirmed"
    assert claim(single(after), single(before)).verdict == "contradicted"
    assert claim(single(before), single(before)).verdict == "not confirmed"


@pytest.fixture
def gaining(tiny: Tiny) -> Tiny:
    """Twelve test tasks, all of which the trained skill solves."""
    for number in range(12):
        tiny.task("test", f"test-{number}-{number % 3}", wants(number % 3))
    for number in range(3):
        shutil.rmtree(f"tasks/test/test-{number}")
    return tiny


def test_a_run_ends_with_its_claim_everywhere(gaining: Tiny) -> None:
    done = gaining.train()
    assert done.returncode == 0, done.stderr
    found = gaining.summary["claim"]
    assert found["verdict"] == "confirmed" and found["tasks"] == 12 and found["split"] == "test"
    assert found["words"].startswith("confirmed: +67 [+")
    assert list(gaining.summary["test"]) == ["initial", "best", "final", "none"]
    assert found["words"] in done.stdout
    assert found["words"] in command("show", gaining.run).stdout
    assert found["words"] in command("report", gaining.run, "-o", "page.html").stdout or (
        found["words"] in Path("page.html").read_text()
    )
    command("package", gaining.run, "--plugin", "plugin")
    (skill,) = Path("plugin").rglob("SKILL.md")
    assert "confirmed: +67" in skill.read_text()
    scored = command("eval", "none", gaining.run, "--config", gaining.config)
    assert "confirmed: +67 [+" in scored.stdout
    (_, row) = json.loads(
        command("eval", "none", gaining.run, "--config", gaining.config, "--json").stdout
    )
    assert row["claim"]["gain"] == found["gain"]


def test_runs_of_earlier_versions_are_read_alike(gaining: Tiny) -> None:
    assert gaining.train().returncode == 0
    state, _ = read_state(gaining.run)
    said = said_of_run(state)
    assert state.done is not None
    state.done = state.done.model_copy(update={"claim": None})
    assert said_of_run(state) == said and claim_of_run(state) == gaining.summary["claim"]
    state.done = state.done.model_copy(update={"test_rollouts": {}})
    assert claim_of_run(state) is None


def test_without_a_test_split_some_selection_tasks_are_kept_for_the_end(tiny: Tiny) -> None:
    shutil.rmtree("tasks/test")
    shutil.rmtree("tasks/val")
    for number in range(21):
        tiny.task("val", f"val-{chr(97 + number)}-{number % 3}", wants(number % 3))
    plan = json.loads(tiny.train("--dry-run", "--json").stdout)
    assert plan["tasks"] == {"train": 3, "val": 14, "test": 7}
    assert "7 test tasks confirm a true gain of" in plan["confirms"]
    assert tiny.train().returncode == 0
    (created,) = tiny.events("run_created")
    names = {split: {item["id"] for item in items} for split, items in created["splits"].items()}
    assert not names["val"] & names["test"] and len(names["test"]) == 7
    (baseline,) = tiny.events("baseline_done")
    used = {row["task"] for row in baseline["rollouts"]}
    gates = [step["gate"] for step in tiny.events("step_done") if step["gate"]]
    used |= {row["task"] for gate in gates for row in gate["rollouts"]}
    assert used == names["val"]
    assert tiny.summary["claim"]["split"] == "held-out selection"
    assert "7 selection tasks are kept" in " ".join(n["text"] for n in tiny.events("noted"))
    scored = command("eval", tiny.run, "--config", tiny.config, "--split", "test", "--json")
    assert {row["task"] for row in json.loads(scored.stdout)[0]["tasks"]} == names["test"]
    assert tiny.train().returncode == 0  # It is opened again as it was.


def test_few_tasks_claim_nothing_and_say_so(tiny: Tiny) -> None:
    shutil.rmtree("tasks/test")
    assert "no gain can be confirmed" in tiny.train("--dry-run").stdout
    done = tiny.train()
    assert tiny.summary["claim"] is None
    assert "too few selection tasks (3)" in tiny.summary["no_claim"]
    assert tiny.summary["no_claim"] in done.stdout


def test_a_run_that_kept_no_edit_says_so(tiny: Tiny) -> None:
    tiny.own(
        "def nothing(rollouts, briefing, *, minibatch, batch=''):\n    return StageResult(())\n"
    )
    tiny.write(train__stages={"reflect": "own:nothing"})
    assert "no edit was kept" in tiny.train().stdout
    assert tiny.summary["claim"] is None


def test_tasks_with_the_same_content_are_held_out_together() -> None:
    tasks = [replace(a_task(f"t{n}"), digest=f"d{n // 2}") for n in range(40)]
    splits: dict[Any, Any] = {"train": (), "val": tuple(tasks), "test": ()}
    found = hold_out(splits, 1 / 3, 1)
    kept = {task.digest for task in found["test"]}
    assert len(kept) == 6 and len(found["test"]) == 12
    assert not kept & {task.digest for task in found["val"]}
    assert found == hold_out(splits, 1 / 3, 1) != hold_out(splits, 1 / 3, 2)
    assert hold_out(splits, 0.0, 1) == splits == hold_out(splits, 0.29, 1)
    tested = splits | {"test": (tasks[0],)}
    assert hold_out(tested, 1 / 3, 1) == tested


def test_other_arms_are_scored_by_choice(tiny: Tiny) -> None:
    assert FinalConfig().arms_for(100) == ("none",) and FinalConfig().arms_for(101) == ()
    assert FinalConfig(arms=("draft",)).arms_for(3) == ("draft",)
    tiny.write(final={"arms": []})
    few = json.loads(tiny.train("--dry-run", "--json").stdout)["rollouts"]
    tiny.write(final={"arms": ["none", "draft"]})
    plan = json.loads(tiny.train("--dry-run", "--json").stdout)
    assert plan["rollouts"] == few + 2 * 3
    assert {"stage": "draft", "calls": 1} in [
        {key: stage[key] for key in ("stage", "calls")} for stage in plan["stages"]
    ]
    assert tiny.train().returncode == 0
    assert list(tiny.summary["test"]) == ["initial", "best", "final", "none", "draft"]


def test_a_best_skill_can_be_had_without_one_edit(tiny: Tiny) -> None:
    assert tiny.train().returncode == 0
    listed = json.loads(command("edits", tiny.run, "--json").stdout)
    assert [one["content"] for one in listed] == ["- rule 0", "- rule 1"]
    assert "- rule 0" in command("edits", tiny.run).stdout
    name = listed[0]["name"]
    done = command("edits", tiny.run, "--without", name, "-o", "less", "--score")
    assert done.returncode == 0, done.stderr
    text = Path("less/my-skill/SKILL.md").read_text()
    assert "- rule 1" in text and "- rule 0" not in text
    assert f"without {name} in own:Writer: not confirmed: -33" in " ".join(done.stdout.split())
    for argv, said in (
        (["--without", "9.1", "-o", "x"], "no accepted edit 9.1; there are"),
        (["--without", name], "-o FOLDER writes it"),
        (["--score"], "--without STEP.N"),
    ):
        wrong = command("edits", tiny.run, *argv)
        assert wrong.returncode == 2 and said in wrong.stderr, wrong.stderr


SOFT = """
def partly(task, workspace, answer):
    said = (workspace / "said.txt").read_text()
    return Reward(0.95 if "- rule 0" in said else 0.2)
"""


def test_a_soft_metric_is_the_metric_everywhere(gaining: Tiny) -> None:
    gaining.own(SOFT)
    gaining.write(verifier="own:partly", gate={"metric": "soft"})
    done = gaining.train()
    assert "soft score" in done.stdout and "confirmed: +75 [+" in done.stdout
    best = gaining.summary["test"]["best"]
    assert best["metric"] == "soft" and best["score"]["value"] == pytest.approx(0.95)
    assert best["hard"]["value"] == 0 and best["gain"]["low"] > 0.3
    shown = command("show", gaining.run).stdout
    assert "0.950" in shown and "soft score" in shown
    page = command("report", gaining.run, "-o", "page.html")
    assert page.returncode == 0 and '"word":"soft score"' in Path("page.html").read_text()
    scored = command("eval", "none", gaining.run, "--config", gaining.config, "--tasks")
    assert "soft score" in scored.stdout and "fixed 12" in scored.stdout
    moved = command("transfer", gaining.run, "--config", gaining.config, "--json", "-o", "t")
    (cell,) = json.loads(moved.stdout)
    assert cell["metric"] == "soft" and cell["gain"] == pytest.approx(0.75)
    assert cell["verdict"] == "confirmed" and cell["visible_gain"] is not None


def test_rows_of_thousands_of_tasks_are_written_at_once() -> None:
    rng = random.Random(1)
    first, second = (
        tuple(
            a_rollout(a_task(f"t{n}", family=f"f{n % 7}"), float(rng.random() < rate))
            for _ in range(3)
            for n in range(1400)
        )
        for rate in (0.4, 0.5)
    )
    began = time.thread_time()
    row = Row("b", "direct", "m", second, Row("a", "direct", "m", first))
    told = row.to_json()
    assert time.thread_time() - began < 10
    assert len(told["by_task"]) == 1400 and told["claim"]["verdict"] == "confirmed"


@pytest.mark.parametrize(
    ("metric", "before", "after", "change"),
    [
        ("hard", 0.2, 0.95, "same"), ("soft", 0.2, 0.95, "better"), ("soft", 0.95, 0.2, "worse"),
        ("mixed", 0.2, 0.4, "better"), ("hard", 0.9, 1.0, "better"), ("soft", 0.1, 0.1, "same"),
    ],
)  # fmt: skip
def test_better_worse_and_same_are_what_the_metric_says(
    metric: Any, before: float, after: float, change: str
) -> None:
    assert Scorer(metric).change(Reward(before), Reward(after)) == change


def test_a_rollout_with_nearly_the_full_score_is_no_failure() -> None:
    soft, hard, mixed = (Scorer(metric) for metric in ("soft", "hard", "mixed"))  # type: ignore[arg-type]
    assert soft.succeeds(Reward(0.97)) and not soft.succeeds(Reward(0.6))
    assert not hard.succeeds(Reward(0.97)) and not mixed.succeeds(Reward(0.97))
    assert hard.succeeds(Reward(0.5, solved=True)) and not soft.succeeds(Reward(0.5, solved=True))
