"""``skillopt gate``, and whole runs with each gate through the command line, with a noisy model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.run.journal import read_records
from skillopt.run.records import StepDone
from skillopt.run.state import fold
from tests.helpers.command_line import skillopt, small_options

pytestmark = pytest.mark.slow  # Whole runs.

NOISY = ("--set", "upstreams.sim.noise=0.4", "--set", "upstreams.sim.seed=5")
INIT = "quickstart/local"


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    return small_options(tmp_path)


def test_a_check_names_what_changes_and_what_can_be_shown(
    tmp_path: Path, options: list[str]
) -> None:
    cost = skillopt("gate", "check", INIT, *options, "--runs", "3", "--dry-run", "--json")
    assert json.loads(cost.stdout)["rollouts"] == 6
    assert not (tmp_path / "runs" / "store").exists()
    said = skillopt("gate", "check", INIT, *options, "--runs", "3")
    assert said.returncode == 0, said.stderr
    assert "2 selection tasks, 3 runs of the initial skill" in said.stdout
    found = json.loads(skillopt("gate", "check", INIT, *options, "--runs", "3", "--json").stdout)
    assert (found["tasks"], found["runs"], found["flips"]) == (2, 3, 0)
    assert found["smallest_gain"] is None and found["with_tasks"]["8"] > 0.5


@pytest.mark.slow
def test_a_training_finds_the_rollouts_of_a_check(tmp_path: Path, options: list[str]) -> None:
    assert skillopt("gate", "check", INIT, *options).returncode == 0
    done = skillopt("train", INIT, *options, "--set", "train.epochs=1", "--json")
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["spent"]["stages"]
    assert stages.get("baseline", {"rollouts": 0})["rollouts"] == 0


def test_a_check_needs_a_skill(options: list[str]) -> None:
    settings = [*options, "--set", "skill={init: draft, name: a}"]
    failed = skillopt("gate", "check", INIT, *settings)
    assert failed.returncode == 2 and "there is no skill before the run" in failed.stderr


def test_the_split_is_named_if_it_has_no_tasks(tmp_path: Path, options: list[str]) -> None:
    failed = skillopt("train", INIT, *options, "--set", f"tasks.source={tmp_path / 'small/train'}")
    assert failed.returncode == 2
    assert "split has no tasks" in failed.stderr and "tasks.split (now 2:1:7)" in failed.stderr


@pytest.mark.slow
def test_few_selection_tasks_are_noted(tmp_path: Path, options: list[str]) -> None:
    done = skillopt("train", INIT, *options, "--set", "train.epochs=1")
    assert done.returncode == 0, done.stderr
    assert "selection: 2 tasks cannot tell any gain from luck" in done.stderr


def test_a_simulation_prints_a_line_for_each_rule() -> None:
    settings = ["--tasks", "9", "--pool", "A", "--runs", "2", "--steps", "3"]
    rules = ["--rule", "strict", "--rule", "fresh", "--rule", "gepa", "--equal"]
    said = skillopt("gate", "simulate", *settings, *rules)
    assert said.returncode == 0, said.stderr
    assert [row.split()[2] for row in said.stdout.splitlines() if " A " in row] == [
        "strict", "fresh", "gepa",
    ]  # fmt: skip
    rows = json.loads(skillopt("gate", "simulate", *settings, *rules, "--json").stdout)
    assert [row["rule"] for row in rows] == ["strict", "fresh", "gepa"]
    assert all(row["strict_at_equal"] is not None for row in rows)
    more = ["--bundle", "4", "--credit", "1", "--prune", "1", "--steps", "6", "--json"]
    (judged,) = json.loads(skillopt("gate", "simulate", *settings, "--rule", "fresh", *more).stdout)
    assert judged["gate_rollouts"] > rows[1]["gate_rollouts"]
    three = [*settings, "--rule", "fresh", "--candidates", "3", "--json"]
    (raced,) = json.loads(skillopt("gate", "simulate", *three).stdout)
    assert raced["gate_rollouts"] > rows[1]["gate_rollouts"]
    assert skillopt("gate", "simulate", "--pool", "Z").returncode == 2
    assert skillopt("gate", "simulate", "--rule", "nowhere:Gate", *settings).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["strict", "fresh"])
def test_a_noisy_run_is_the_same_with_any_number_of_workers(
    gate: str, tmp_path: Path, options: list[str]
) -> None:
    settings = [*options, *NOISY, "--set", f"gate.kind={gate}", "--set", "train.slow_update=false"]
    logs = []
    for name, many in (("one", 1), ("many", 6)):
        where = ["--set", f"runs={tmp_path / name}", "--set", f"workers={many}"]
        done = skillopt("train", INIT, *settings, *where, "--set", "train.epochs=2")
        assert done.returncode == 0, done.stderr
        found = [r for r in read_records(tmp_path / name / "quickstart-local")
                 if isinstance(r, StepDone)]  # fmt: skip
        decided = [record.gate for record in found]
        logs.append([one and one.model_dump(exclude={"rollouts", "remeasured"}) for one in decided])
        keys = [[row.key for row in (*g.rollouts, *g.remeasured)] for g in decided if g]
        assert all(len(set(each)) == len(each) for each in keys)
        logs[-1].append(keys)  # type: ignore[arg-type]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_rejected_candidates_and_earlier_skills_keep_their_evidence(
    tmp_path: Path, options: list[str]
) -> None:
    done = skillopt("train", INIT, *options, *NOISY, "--set", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    records = read_records(tmp_path / "runs" / "quickstart-local")
    state = fold(records)
    judged = [r for r in records if isinstance(r, StepDone) and r.gate and r.candidate]
    assert judged
    for record in judged:
        assert record.gate is not None and record.candidate is not None
        kept = state.evidence[record.candidate]
        assert {row.key for row in record.gate.rollouts} <= {
            key for found in kept.values() for key in found
        }
    assert min(map(len, state.rewards_of(state.initial).values())) >= 2
    assert state.lineage == [state.initial, *state.accepted][:-1]
