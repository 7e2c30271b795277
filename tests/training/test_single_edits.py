"""Single edits are judged: the good ones of a rejected bundle are kept, useless ones go again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.report.view import RunView
from skillopt.run.journal import read_records
from skillopt.run.records import CreditDone, RemovalDone
from skillopt.run.state import fold
from skillopt.training.accepted_edits import accepted_edits, without
from tests.helpers.small import untimed
from tests.helpers.tiny import Tiny, program, tiny

__all__ = ["tiny"]
pytestmark = pytest.mark.slow

MORE = """
import os
import signal
from pathlib import Path

BUNDLE = {bundle!r}


def reflect(rollouts, briefing, *, minibatch, batch=""):
    new = "- rule 0" not in briefing.skill.body
    edits = tuple(Edit("append", "", text) for text in BUNDLE) if new else ()
    return StageResult((Patch(edits, "", "failure"),))


def judge(task, workspace, answer):
    said = (workspace / "said.txt").read_text()
    kill = Path("kill")
    if kill.exists():
        there, missing = kill.read_text().split(",")
        if there in said and missing not in said:
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    number = int(task.name[-1])
    return Reward(float(f"- rule {{number}}" in said if number < 3 else "- harm" not in said))
"""
HARMFUL = ("- rule 0", "- harm", "- rule 1", "- rule 2")
BALLAST = ("- rule 0", "- nothing at all")
FOLDED = {"credit": 3.0, "prune": 3.0}


def begin(tiny: Tiny, bundle: tuple[str, ...], **settings: Any) -> None:
    """A training whose first step proposes a bundle; three of six tasks are solved without it, and
    not with ``- harm`` in the skill."""
    for split in ("train", "val", "test"):
        for number in (3, 4, 5):
            tiny.task(split, f"{split}-{number}", "exit 1\n")
    tiny.own(MORE.format(bundle=bundle))
    shares = {f"train__{kind}": share for kind, share in FOLDED.items()}
    tiny.write(
        **{
            "train__batch_size": 6,
            "train__epochs": 1,
            "train__learning_rate__schedule": "constant",
            **shares,
            **settings,
        }
    )


def history(run: Path) -> list[dict[str, Any]]:
    """The history without times."""
    return untimed(json.loads((run / "history.json").read_text()))


def body(tiny: Tiny) -> str:
    return (tiny.run / "best_skill.md").read_text().split("# Rules")[1].strip()


def test_of_a_bundle_with_one_harmful_edit_the_three_good_ones_are_kept(tiny: Tiny) -> None:
    begin(tiny, HARMFUL, train__prune=0)
    assert tiny.train().returncode == 0
    assert body(tiny) == "- rule 0\n- rule 1\n- rule 2"
    (row,) = history(tiny.run)
    assert row["action"] == "reject" and row["credit"]["action"] == "accept"
    assert row["credit"]["edits_applied"] == 3 and row["credit"]["harmful"] == 1
    assert tiny.summary["best_score"] == 1.0
    (done,) = [r for r in read_records(tiny.run) if isinstance(r, CreditDone)]
    assert [verdict.edits[0].content for verdict in done.verdicts] == list(HARMFUL)
    worse = [v.score_without > v.score_with for v in done.verdicts]
    assert worse == [False, True, False, False]
    assert all(v.company == 3 and v.outcomes == 2 * v.tasks > 0 for v in done.verdicts)
    (entry,) = json.loads((tiny.run / "rejected_edits.json").read_text())
    assert [edit["content"] for edit in entry["edits"]] == ["- harm"]
    assert len(entry["verdicts"]) == 4
    records = read_records(tiny.run)
    assert [e.name for e in accepted_edits(records)] == ["1.1", "1.2", "1.3"]
    assert without(records, "1.2").skill.body == "# Rules\n\n- rule 0\n- rule 2"


def test_an_edit_that_does_nothing_is_taken_out_at_the_epochs_end(tiny: Tiny) -> None:
    begin(tiny, BALLAST)
    assert tiny.train().returncode == 0
    assert body(tiny) == "- rule 0"
    (row,) = history(tiny.run)
    assert row["action"] == "accept"
    gone = {one["edit"]: one["action"] for one in row["removals"]}
    assert gone == {"append: '- rule 0'": "reject", "append: '- nothing at all'": "accept"}
    entries = json.loads((tiny.run / "rejected_edits.json").read_text())
    removed = [e["edits"][0]["content"] for e in entries if e["removed"]]
    assert removed == ["- nothing at all"]
    records = read_records(tiny.run)
    assert [edit.name for edit in accepted_edits(records)] == ["1.1"]
    assert without(records, "1.1").skill.body == "# Rules"
    shown = {entry["name"]: entry for entry in RunView(tiny.run).to_json()["entries"]}
    entry = shown["without edit 2 of step 1, epoch 1"]
    assert entry["action"] == "accept" and entry["diff"]
    assert entry["edits"][0]["edit"]["kind"] == "delete"
    printed = program("show", tiny.run).communicate()[0]
    assert "without an edit of step 1: accept" in printed


def test_edits_that_cannot_be_taken_out_are_skipped_once_with_the_reason(tiny: Tiny) -> None:
    begin(tiny, BALLAST, train__epochs=3)
    # The skill is rewritten by hand of a later edit: its text is not there any more.
    later = """
def reflect(rollouts, briefing, *, minibatch, batch=""):
    body = briefing.skill.body
    edits = tuple(Edit("append", "", e) for e in BUNDLE)
    if "- rule 0" in body:
        edits = (Edit("replace", "- rule 0", "- rule 0 and - rule 1"),)
    if "- rule 1" in body:
        edits = ()
    return StageResult((Patch(edits, "", "failure"),))
"""
    tiny.own(MORE.format(bundle=BALLAST) + later)
    assert tiny.train().returncode == 0
    removals = [r for r in read_records(tiny.run) if isinstance(r, RemovalDone)]
    skipped = [r for r in removals if r.skipped]
    assert [(r.of_step, r.number) for r in skipped] == [(1, 0)]
    assert "a later change concerns the same text" in skipped[0].skipped
    assert "- rule 1" in body(tiny) and "nothing" not in body(tiny)


@pytest.mark.parametrize("kind", ["credit", "prune"])
def test_a_share_of_zero_and_the_papers_gate_judge_no_single_edit(tiny: Tiny, kind: str) -> None:
    begin(tiny, HARMFUL if kind == "credit" else BALLAST, **{f"train__{kind}": 0})
    assert tiny.train().returncode == 0
    assert "- rule 0" not in body(tiny) if kind == "credit" else "nothing" in body(tiny)
    kinds = {"credit": CreditDone, "prune": RemovalDone}
    assert not [r for r in read_records(tiny.run) if isinstance(r, kinds[kind])]
    tiny.write(name="strict", gate__kind="strict", train__credit=None, train__prune=None)
    assert tiny.train().returncode == 0
    assert not [r for r in read_records(tiny.run) if isinstance(r, CreditDone | RemovalDone)]


@pytest.mark.parametrize(("share", "groups"), [(0.2, 0), (0.4, 2), (3.0, 4)])
def test_rollouts_stay_within_their_share(tiny: Tiny, share: float, groups: int) -> None:
    begin(tiny, HARMFUL, train__credit=share, train__prune=0)
    assert tiny.train().returncode == 0
    records = read_records(tiny.run)
    done = [record for record in records if isinstance(record, CreditDone)]
    # Each edit is left out if that is enough for two tasks, else each half, else none.
    assert [len(record.verdicts) for record in done] == [groups] * bool(groups)
    measured = sum(len(rows) for record in done for rows in record.rollouts.values())
    judged = fold(records).spent_on["gate"]
    assert not done or measured + 6 <= share * judged


@pytest.mark.parametrize("bundle", [HARMFUL, BALLAST], ids=["credit", "prune"])
def test_workers_do_not_change_a_byte(tiny: Tiny, bundle: tuple[str, ...]) -> None:
    found = []
    for workers in (1, 4):
        begin(tiny, bundle, name=f"with-{workers}", workers=workers)
        assert tiny.train().returncode == 0
        found.append((history(tiny.run), (tiny.run / "best_skill.md").read_bytes()))
    assert found[0] == found[1]


def test_a_stop_condition_is_followed_by_removals_also_after_a_kill(tiny: Tiny) -> None:
    stop = [{"kind": "target_score", "score": 0.6}]
    begin(tiny, BALLAST, train__batch_size=3, stop=stop, name="whole")
    assert tiny.train().returncode == 0
    assert body(tiny) == "- rule 0" and tiny.summary["steps"] == 1
    whole, reason = history(tiny.run), tiny.summary["stopped"]
    assert "0.6" in reason
    tiny.write(name="killed", runs="other-runs")
    tiny.put("kill", "- nothing,- rule 0")
    for code in (-9, 0):
        started = program("train", tiny.config)
        started.communicate(timeout=120)
        assert started.returncode == code
    run = tiny.folder / "other-runs" / "killed"
    assert history(run) == whole
    assert json.loads((run / "summary.json").read_text())["stopped"] == reason


@pytest.mark.parametrize(
    ("bundle", "skill"),
    [(HARMFUL, "- harm,- rule 1"), (HARMFUL, "- harm,- rule 2"), (BALLAST, "- rule 0,nothing")],
    ids=["credit", "credit-late", "prune"],
)
def test_a_run_killed_between_the_rollouts_of_single_edits_ends_the_same(
    tiny: Tiny, bundle: tuple[str, ...], skill: str
) -> None:
    begin(tiny, bundle, name="whole")
    assert tiny.train().returncode == 0
    whole = (history(tiny.run), (tiny.run / "best_skill.md").read_bytes())
    tiny.write(name="killed", runs="other-runs")
    tiny.put("kill", skill)
    killed = program("train", tiny.config)
    killed.communicate(timeout=120)
    assert killed.returncode == -9
    again = program("train", tiny.config)
    assert again.communicate(timeout=120) and again.returncode == 0
    run = tiny.folder / "other-runs" / "killed"
    assert (history(run), (run / "best_skill.md").read_bytes()) == whole
