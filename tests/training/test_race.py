"""Several candidates of a step race, and the gate judges the winner; one is as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.report.view import RunView
from skillopt.run.journal import read_records
from skillopt.run.records import RaceDone, RolloutRan, StepDone
from skillopt.run.state import fold
from tests.helpers.cells import ALL_CELLS
from tests.helpers.small import untimed
from tests.helpers.tiny import Tiny, program, refused, tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

MORE = """
import os
import random
import signal
import time
from pathlib import Path

PARTS = {parts!r}


class Slow(Writer):
    def run(self, request, site):
        time.sleep(random.random() * {delay})
        return super().run(request, site)


def reflect(rollouts, briefing, *, minibatch, batch=""):
    body = briefing.skill.body
    found = [[Edit("append", "", t) for t in part if t not in body] for part in PARTS]
    return StageResult(tuple(Patch(tuple(edits), "", "failure") for edits in found if edits))


def judge(task, workspace, answer):
    said = (workspace / "said.txt").read_text()
    kill = Path("kill")
    if kill.exists():
        there, missing, left = kill.read_text().split(",")
        if there in said and missing not in said:
            if int(left):
                kill.write_text(f"{{there}},{{missing}},{{int(left) - 1}}")
            else:
                kill.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
    number = int(task.name[-1])
    return Reward(float(f"- rule {{number % 3}}" in said and "- harm" not in said))
"""
PARTS = (("- harm",), ("- rule 0", "- rule 1"), ("- rule 2",))


def begin(tiny: Tiny, parts: object = PARTS, delay: float = 0.0, **settings: Any) -> None:
    """A training whose minibatches propose these edits; each rule solves two of six tasks."""
    for split in ("train", "val", "test"):
        for number in (3, 4, 5):
            tiny.task(split, f"{split}-{number}", "exit 1\n")
    tiny.own(MORE.format(parts=parts, delay=delay))
    tiny.write(
        **{
            "harness__name": "own:Slow",
            "train__batch_size": 6,
            "train__epochs": 2,
            "train__candidates": 3,
            "train__credit": 0,
            "train__prune": 0,
            "train__learning_rate__schedule": "constant",
            **settings,
        }
    )


def history(run: Path) -> list[dict[str, Any]]:
    """The history without times."""
    return untimed(json.loads((run / "history.json").read_text()))


def races(run: Path) -> list[RaceDone]:
    return [record for record in read_records(run) if isinstance(record, RaceDone)]


def test_the_gate_judges_the_best_of_the_minibatches_candidates(tiny: Tiny) -> None:
    begin(tiny)
    assert tiny.train().returncode == 0
    first, second = races(tiny.run)
    assert [[edit.content for edit in one.edits] for one in first.candidates] == [*map(list, PARTS)]
    assert first.winner == 1 and first.candidates[1].ended == ""
    assert all(one.ended for n, one in enumerate(first.candidates) if n != 1)
    # Without the first winner's edits two are left.
    assert [one.edits[0].content for one in second.candidates] == ["- harm", "- rule 2"]
    rows = history(tiny.run)
    assert [row["action"] for row in rows] == ["accept", "accept"]
    assert rows[0]["race"]["candidates"] == 3 and rows[0]["race"]["winner"] == 2
    assert tiny.summary["best_score"] == 1.0
    assert "harm" not in (tiny.run / "best_skill.md").read_text()
    step = tiny.run / "steps/step_0001"
    assert "- rule 2" in (step / "raced_3_candidate_skill.md").read_text()
    assert json.loads((step / "raced_1.json").read_text())


def test_losers_keep_their_outcomes_and_those_that_were_ahead_are_offered_again(tiny: Tiny) -> None:
    begin(tiny, train__epochs=1)
    assert tiny.train().returncode == 0
    (done,) = races(tiny.run)
    state = fold(read_records(tiny.run))
    for candidate in done.candidates:
        known = state.rewards_of(candidate.skill)
        assert all(row.reward in known[row.task] for row in candidate.rollouts)
        assert set(candidate.tasks) <= set(known)
    assert state.spent_on["race"] == sum(len(one.rollouts) for one in done.candidates) > 0
    lost = [entry for entry in state.tried if entry.action == "lost"]
    assert [entry.what for entry in lost] == ["candidate 1 of step 1", "candidate 3 of step 1"]
    ahead = {e.content for _, one in done.losers if one.gain > 0 for e in one.edits}
    assert {edit.content for edit in state.untried} == ahead
    assert not any(entry.edits[0].content == "- harm" for entry in state.memory)


def test_fresh_counts_the_outcomes_of_the_race_and_strict_runs_again(tiny: Tiny) -> None:
    for gate in ("fresh", "strict"):
        begin(tiny, name=gate, gate__kind=gate, train__epochs=1, runs=f"runs-{gate}")
        assert tiny.train().returncode == 0
        run = tiny.folder / f"runs-{gate}" / gate
        (done,) = races(run)
        (step,) = [r for r in read_records(run) if isinstance(r, StepDone)]
        assert step.gate is not None
        raced = {row.key for row in done.candidates[done.winner].rollouts}
        judged = {row.key for row in step.gate.rollouts}
        assert raced and judged and not raced & judged
        again = {row.task for row in step.gate.rollouts} & {*done.candidates[done.winner].tasks}
        if gate == "strict":  # The paper's gate has one outcome of each task, all of its own.
            assert len(step.gate.rollouts) == 6 and again


def test_sampling_asks_for_other_candidates_and_the_same_ones_do_not_race(tiny: Tiny) -> None:
    own = """
def rank(edits, briefing):
    number = getattr(briefing.model, "number", 1)
    return StageResult((edits[min(number, len(edits)) - 1],))
"""
    begin(tiny, train__candidates_by="sampling", train__epochs=1)
    tiny.own(MORE.format(parts=PARTS, delay=0.0) + own)
    tiny.write(
        train__stages={"reflect": "own:reflect", "rank": "own:rank", "merge": "own:merge"},
    )
    tiny.own(
        MORE.format(parts=PARTS, delay=0.0)
        + own
        + """
def merge(patches, briefing, *, batch):
    return StageResult(Patch(tuple(edit for patch in patches for edit in patch.edits)))
"""
    )
    assert tiny.train().returncode == 0
    (done,) = races(tiny.run)
    assert [one.edits[0].content for one in done.candidates] == ["- harm", "- rule 0", "- rule 1"]
    begin(tiny, (("- rule 0",),), name="alone", train__candidates_by="sampling")
    tiny.write(train__stages={"reflect": "own:reflect"})
    assert tiny.train().returncode == 0
    run = tiny.folder / "runs/alone"
    assert not races(run)
    notes = [note.text for note in fold(read_records(run)).notes_of_run]
    assert "step 1: no race, as 1 of 3 candidates differ" in notes
    assert history(run)[0]["action"] == "accept"


def test_one_candidate_leaves_no_trace_of_races(tiny: Tiny) -> None:
    begin(tiny, train__candidates=1)
    assert tiny.train().returncode == 0
    assert not races(tiny.run)
    assert "race" not in "".join(path.name for path in tiny.run.rglob("*"))
    assert all("race" not in row for row in history(tiny.run))
    created = tiny.events("run_created")[0]
    assert not [key for key in created["fingerprint"] if "candidates" in key]


@pytest.mark.parametrize("by", ["minibatch", "sampling"])
def test_workers_and_delays_do_not_change_a_byte(tiny: Tiny, by: str) -> None:
    found = []
    for workers in (1, 4, 16):
        name = f"with-{workers}"
        begin(
            tiny, delay=0.02, name=name, runs=f"{name}-{by}", workers=workers,
            train__candidates_by=by,
        )  # fmt: skip
        assert tiny.train().returncode == 0
        run = tiny.folder / f"{name}-{by}" / name
        ran = sorted(r.key for r in read_records(run) if isinstance(r, RolloutRan))
        files = {
            path.relative_to(run): path.read_bytes()
            for path in run.rglob("*")
            if path.is_file() and path.parent.name.startswith("step_")
        }
        found.append((history(run), (run / "best_skill.md").read_bytes(), ran, files.keys()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("left", range(14) if ALL_CELLS else (0, 2, 9))
@pytest.mark.parametrize("gate", ["fresh", "strict"])
def test_a_run_killed_between_rollouts_ends_the_same(tiny: Tiny, gate: str, left: int) -> None:
    begin(tiny, name="whole", gate__kind=gate, workers=1)
    assert tiny.train().returncode == 0
    whole = (history(tiny.run), (tiny.run / "best_skill.md").read_bytes())
    ran = sorted(r.key for r in read_records(tiny.run) if isinstance(r, RolloutRan))
    tiny.write(name="killed", runs="other-runs")
    tiny.put("kill", f"- rule 0,nothing,{left}")
    for code in (-9, 0):
        started = program("train", tiny.config)
        started.communicate(timeout=120)
        assert started.returncode == code
    run = tiny.folder / "other-runs" / "killed"
    assert (history(run), (run / "best_skill.md").read_bytes()) == whole
    again = sorted(r.key for r in read_records(run) if isinstance(r, RolloutRan))
    assert again == ran
    assert len([r.step for r in races(run)]) == len({r.step for r in races(run)})


def test_a_fork_takes_the_rollouts_of_races_over(tiny: Tiny) -> None:
    begin(tiny)
    assert tiny.train().returncode == 0
    whole = history(tiny.run)
    assert tiny.train("--fork", "again").returncode == 0
    run = tiny.folder / "runs/again"
    assert history(run) == whole
    assert not [r for r in read_records(run) if isinstance(r, RolloutRan)]


def test_plan_show_and_report_tell_of_races(tiny: Tiny) -> None:
    begin(tiny)
    planned = json.loads(tiny.train("--dry-run", "--json").stdout)
    stages = {stage["stage"]: stage for stage in planned["stages"]}
    assert tiny.train().returncode == 0
    ran = sum(len(one.rollouts) for done in races(tiny.run) for one in done.candidates)
    assert 0 < ran <= stages["race"]["rollouts"]
    printed = program("show", tiny.run).communicate()[0]
    assert "race: 2 of 3" in printed
    view = RunView(tiny.run).to_json()
    entry = next(one for one in view["entries"] if one["name"] == "step 1")
    assert entry["race"]["gains"][1] > 0 and entry["edits"]
    assert "step 1, race, candidate 3" in json.dumps(view)


def test_candidates_by_minibatch_need_patches(tiny: Tiny) -> None:
    begin(tiny, train__update="full_rewrite")
    refused(tiny.train(), "candidates_by", "sampling")
