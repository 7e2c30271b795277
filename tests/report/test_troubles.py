"""What the page tells of a run in trouble: failures, skipped steps, other inputs, how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status
from sandboxes.owner import current_owner
from skillopt import train
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill
from skillopt.core.types import GateDecision
from skillopt.report.document import failed_folder_of, folder_of, report
from skillopt.report.trajectory import LIVE, rollout_view
from skillopt.report.view import RunView, read_run
from skillopt.run.records import (
    AnyRecord,
    BaselineDone,
    EpochDone,
    Noted,
    RolloutRan,
    RunChanged,
    RunStopped,
    StageStarted,
    StepDone,
    skill_made,
)
from tests.helpers.command_line import skillopt
from tests.helpers.opened_page import Page
from tests.helpers.owners import owner_process
from tests.helpers.small import small_config
from tests.helpers.synthetic_run import (
    created,
    ran,
    rows,
    started,
    step_done,
    stored_result,
    write_log,
)

NAMES = {split: [f"{split}-{i}" for i in range(4)] for split in ("train", "val", "test")}
SKILL = Skill("mine", "Use it.", "- start")
CANDIDATE = Skill("mine", "Use it.", "- start\n- rule")
MARKUP = "no module <img src=x onerror='window.hacked=1'> numpy"
BEFORE = rows("initial", NAMES["val"], 0.5)
TEST = [True, None]
CHANGES: dict[str, list[Any]] = {
    "final.test": TEST,
    "config.final.test": TEST,
    "config.name": ["r", MARKUP],
    "tasks.test.test-9": [None, "ab" * 32],
}
DEAD = str(replace(current_owner(), started="0"))
"""The owner that a process of this number had that has ended."""


def failed(use: str, task: str, stage: str, message: str) -> RolloutRan:
    (row,) = rows(use, [task], 0)
    end = {"status": Status.INFRA_ERROR, "message": message}
    return ran(row, stage).model_copy(update=end)


def baseline() -> list[AnyRecord]:
    """Up to the first score; one rollout has failed twice before."""
    return [
        created("r", NAMES),
        started(DEAD),
        StageStarted(stage="baseline", total=4),
        failed("initial", "val-0", "baseline", "status 529"),
        failed("initial", "val-0", "baseline", "status 500"),
        *(ran(row, "baseline") for row in BEFORE),
        skill_made(SKILL),
        skill_made(CANDIDATE),
        BaselineDone(skill=SKILL.digest, score=0.5, rollouts=BEFORE),
    ]


def skipped(step: int, why: str) -> StepDone:
    done = step_done(step, rows(f"batch {step}", NAMES["train"], 0.5), BEFORE, BEFORE, SKILL, False)
    nothing = {"candidate": None, "gate": None, "rejected": None}
    return done.model_copy(update={"action": "skip", "skipped": why, **nothing})


def troubled() -> list[AnyRecord]:
    """Stopped, resumed with other inputs, a step skipped, and killed while it rolls out."""
    return [
        *baseline(),
        RunStopped(reason="interrupted"),
        RunChanged(
            config=created("r", NAMES).config,
            fingerprint={},
            splits=created("r", NAMES | {"test": ["test-9"]}).splits,
            changes=CHANGES,
        ),
        Noted(text="resumed with other inputs"),
        started(),
        Noted(text=f"step 1: {MARKUP}", step=1),
        skipped(1, f"no edit could be applied: {MARKUP}"),
        started(DEAD),
        StageStarted(stage="rollout", epoch=1, step=2, total=4),
        ran(rows("batch 2", ["train-1"], 1)[0], "rollout"),
        failed("batch 2", "train-2", "rollout", MARKUP),
        Noted(text="step 2: under way", step=2),
    ]


def shown(records: list[AnyRecord], root: Path) -> dict[str, Any]:
    write_log(root, records)
    return read_run(root).to_json()


def judged(**changes: Any) -> StepDone:
    """A step whose gate measured as it wanted."""
    done = step_done(1, rows("batch", NAMES["train"], 0.5), BEFORE, BEFORE, CANDIDATE, False)
    assert done.gate is not None
    decision = done.gate.model_dump() | changes
    accepted = decision["accepted"]
    kept = {"action": "accept", "rejected": None} if accepted else {"action": "reject"}
    return done.model_copy(update={"gate": GateDecision(**decision), **kept})


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ([], "not started"),
        ([started()], "running"),
        ([started(), StageStarted(stage="baseline", total=4)], "running"),
        ([started(DEAD)], "killed"),
        ([started(), RunStopped(reason="interrupted")], "stopped"),
        ([started(), RunStopped(reason="interrupted"), started()], "running"),
    ],
)
def test_what_a_run_is_doing_follows_its_last_event(
    more: list[AnyRecord], state: str, tmp_path: Path
) -> None:
    view = shown([created("r", NAMES), *more], tmp_path)
    assert view["state"] == state and view["initial_score"] is None


def test_a_process_that_dies_is_a_change_without_a_record(tmp_path: Path) -> None:
    with owner_process() as (process, owner):
        write_log(tmp_path, [created("r", NAMES), started(owner)])
        view = RunView(tmp_path)
        assert view.to_json()["state"] == "running" and not view.refresh()
        process.kill()
    assert view.refresh() and view.to_json()["state"] == "killed"
    assert not view.refresh()


def test_every_failure_for_infrastructure_has_its_reasons(tmp_path: Path) -> None:
    view = shown(troubled(), tmp_path)
    last, first = view["failures"]
    assert (last["task"], last["stage"], last["reasons"]) == ("train-2", "rollout", [MARKUP])
    assert (first["task"], first["attempts"]) == ("val-0", 2)
    assert first["reasons"] == ["status 529", "status 500"]
    assert (last["over"], first["over"]) == (False, True)
    cancelled = failed("x", "val-1", "gate", "cancelled")
    write_log(tmp_path, [cancelled.model_copy(update={"status": Status.CANCELLED})])
    grown = read_run(tmp_path)
    assert grown.to_json()["failures"] == view["failures"]
    assert list(grown.state.failures) == [last["key"]]


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.slow
def test_a_run_whose_service_fails_shows_why(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"upstreams.sim.error_rate": 1.0, "rollout_tries": 1}
    with pytest.raises(PausedError, match="simulated outage"):
        train(small_config(tmp_path, **settings))
    (root,) = (log.parent for log in (tmp_path / "runs").glob("*/events.jsonl"))
    view = read_run(root).to_json()
    assert view["state"] == "stopped" and "simulated outage" in view["stopped"]
    assert {one["task"] for one in view["failures"]} == {"logs-05", "reconcile-05"}
    for one in view["failures"]:
        assert "simulated outage" in one["reasons"][0] and one["stage"] == "baseline"
        folder = failed_folder_of(root, one["key"])
        steps = rollout_view(folder, LIVE)["steps"]
        assert [step["source"] for step in steps] == ["system", "user"]
        (
            folder / "trajectory.json"
        ).unlink()  # As if the agent had been lost: the wire log is left.
        assert rollout_view(folder, LIVE)["steps"] == steps
        told = skillopt("show", root, "--follow", one["key"][:16])
        assert "infra_error: not scored · " in told.stdout
        assert ": model service failed: status 500: simulated outage" in told.stdout


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    failure = failed("x", "val-0", "baseline", f"begin{'x' * 99_999}end")
    (found,) = shown([created("r", NAMES), failure], tmp_path)["failures"]
    (reason,) = found["reasons"]
    assert reason.startswith("begin") and reason.endswith("end") and len(reason) < 2_100


def test_the_file_holds_failures_within_its_bound(tmp_path: Path) -> None:
    """At most a quarter, those that were never scored first; the rest is as without them."""
    root = tmp_path / "r"
    write_log(root, [*troubled(), *(failed(f"more {i}", "val-1", "gate", "m") for i in range(5))])
    view = read_run(root)
    for failure in view.to_json()["failures"]:
        (row,) = rows("x", [failure["task"]], 0)
        row = row.model_copy(update={"key": failure["key"], "status": Status.INFRA_ERROR})
        stored_result(failed_folder_of(root, row.key), row, "t")
    for row in BEFORE:
        stored_result(folder_of(root, row.key), row, "t")

    def held(count: int) -> list[str]:
        text = report([view], count).partition('id="data">')[2].partition("</script>")[0]
        return list(json.loads(text)["trajectories"])

    assert held(0) == []
    assert [key.startswith("failed/") for key in held(3)] == [False] * 3
    assert [key.startswith("failed/") for key in held(4)] == [True, False, False, False]
    assert len([key for key in held(100) if key.startswith("failed/")]) == 7
    recovered = f"failed/{rows('initial', ['val-0'], 0)[0].key}"
    assert recovered == held(100)[6]


def test_notes_go_to_their_step_and_others_to_the_run(tmp_path: Path) -> None:
    view = shown(troubled(), tmp_path)
    (step,) = view["entries"]
    assert step["skipped"] == f"no edit could be applied: {MARKUP}"
    assert step["noted"] == [f"step 1: {MARKUP}"]
    assert [note["text"] for note in view["noted"]] == [
        "resumed with other inputs", "step 2: under way",
    ]  # fmt: skip


def test_a_failed_call_is_not_told_twice(tmp_path: Path) -> None:
    done = skipped(1, "the optimizer's replies were unusable: it was late")
    done.row["optimizer_errors"] = ["it was late"]
    notes: list[AnyRecord] = [Noted(text="step 1: it was late", step=1), Noted(text="own", step=1)]
    (step,) = shown([*baseline(), *notes, done], tmp_path)["entries"]
    assert (step["noted"], step["optimizer_errors"]) == (["own"], ["it was late"])


def test_an_epochs_end_without_a_slow_update_is_shown_if_it_did_something(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"candidate": None, "gate": None, "rejected": None, "row": {}}
    ends = [
        EpochDone(epoch=n, step=n, pairs=pairs, action="off", notes="mine", **nothing)
        for n, pairs in ((1, {}), (2, {"train-0": "stable"}))
    ]
    steps = [skipped(1, "no rollouts to reflect on"), skipped(2, "no rollouts to reflect on")]
    records = [*baseline(), steps[0], ends[0], steps[1], ends[1]]
    entries = shown(records, tmp_path)["entries"]
    assert [entry["name"] for entry in entries] == ["step 1", "step 2", "notes, epoch 2"]
    assert entries[2]["action"] == "off" and entries[2]["notes"] == "mine"


def test_changed_inputs_are_listed_once_and_their_tasks_are_known(tmp_path: Path) -> None:
    view = shown(troubled(), tmp_path)
    (changed,) = view["changes"]
    assert changed["after"] == 0
    assert changed["changes"] == [
        ["final.test", True, None],
        ["config.name", "r", MARKUP],
        ["tasks.test.test-9", None, "ab" * 32],
    ]
    splits = {task["name"]: task["split"] for task in view["tasks"]}
    assert (splits["test-9"], splits["test-0"], splits["val-0"]) == ("test", "", "val")


def test_a_gate_may_run_a_task_several_times(tmp_path: Path) -> None:
    """Tasks are counted, not rollouts; the score is the gate's, its interval over tasks."""
    candidate = tuple(row for n in range(3) for row in rows(f"c {n}", NAMES["val"], 0.25 * n + 0.5))
    again = tuple(rows("again", NAMES["val"], 0.25))
    step = judged(accepted=True, score_before=0.375, score_after=0.75, upper_bound=0.75,
                  rollouts=candidate, remeasured=again)  # fmt: skip
    view = shown([*baseline(), step], tmp_path)
    gate, point = view["entries"][0]["gate"], view["curve"][1]
    assert (gate["evaluated"], gate["total"], gate["rollouts"], gate["remeasured"]) == (4, 4, 12, 4)
    assert point["score"]["value"] == 0.75 and point["current"] == point["score"]
    assert point["score"]["low"] < 0.75 < point["score"]["high"] and point["measured"] == 4
    uses = [use["name"] for use in view["uses"]]
    assert uses[-2:] == ["step 1, gate", "step 1, current skill again"]
    assert view["rollouts"]["use"].count(len(uses) - 2) == 12


def test_a_gate_may_decide_on_a_part_of_the_split(tmp_path: Path) -> None:
    part = tuple(rows("c", NAMES["val"][:2], 1))
    accepted = judged(accepted=True, score_after=0.9, upper_bound=1.0, rollouts=part)
    point = shown([*baseline(), accepted], tmp_path / "a")["curve"][1]
    assert point["score"]["value"] == 0.9 and (point["measured"], point["total"]) == (2, 4)
    rejected = judged(score_after=None, upper_bound=0.5, rollouts=part * 2)
    view = shown([*baseline(), rejected], tmp_path / "b")
    assert view["curve"][1]["score"] is None and view["curve"][1]["bound"] == 0.5
    assert view["entries"][0]["gate"]["evaluated"] == 2


def test_a_current_skill_that_is_measured_again_has_its_new_score(tmp_path: Path) -> None:
    again = tuple(rows("again", NAMES["val"], 0))
    view = shown([*baseline(), judged(score_before=0.25, remeasured=again)], tmp_path)
    first, second = view["curve"]
    assert first["current"]["value"] == 0.5 and second["current"]["value"] == 0.25
    assert second["score"]["value"] == 0.5
    assert view["current_score"] == 0.25


def test_rows_that_a_method_of_ones_own_did_not_score_do_not_count(tmp_path: Path) -> None:
    step = judged()
    lost = step.rollouts[0].model_copy(update={"status": Status.INFRA_ERROR})
    step = step.model_copy(update={"rollouts": [lost, *step.rollouts[1:]]})
    view = shown([*baseline(), step], tmp_path)
    assert view["rollouts"]["use"].count(view["entries"][0]["batch"]) == 3
    assert view["entries"][0]["rollout"]["value"] == pytest.approx(1 / 3)


def test_a_gate_may_name_tasks_that_the_run_does_not_know(tmp_path: Path) -> None:
    view = shown([*baseline(), judged(fixed=("elsewhere",), broken=())], tmp_path)
    (number,) = view["entries"][0]["gate"]["fixed"]
    assert view["tasks"][number]["name"] == "elsewhere"


def test_what_is_not_the_projects_own_is_named(tmp_path: Path) -> None:
    usual = created("r", NAMES)
    assert shown([usual], tmp_path / "paper")["parts"] == {"gate": "strict"}
    usual.config["gate"]["kind"] = "auto"
    assert shown([usual], tmp_path / "usual")["parts"] == {}
    first = created("r", NAMES)
    first.config["gate"]["kind"] = "mine:Gate"
    first.config["method"] = {"kind": "mine:Method"}
    first.fingerprint.update({"own.verifier": "mine:check@2", "own.stages.rank": "mine:rank"})
    assert shown([first], tmp_path / "own")["parts"] == {
        "gate": "mine:Gate", "method": "mine:Method", "verifier": "mine:check@2",
        "stages.rank": "mine:rank",
    }  # fmt: skip


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A function that opens the report of some records."""
    pages: list[Page] = []

    def open_(records: list[AnyRecord], **context: Any) -> Page:
        root = tmp_path / str(len(pages)) / "r"
        write_log(root, records)
        for failure in RunView(root).to_json()["failures"]:
            (row,) = rows("x", [failure["task"]], 0)
            row = row.model_copy(update={"key": failure["key"], "status": Status.INFRA_ERROR})
            stored_result(failed_folder_of(root, row.key), row, failure["reasons"][-1])
        file = root / "report.html"
        file.write_text(report([read_run(root)], 40), "utf-8")
        context = {"viewport": {"width": 1200, "height": 900}} | context
        pages.append(Page(browser, file, **context))
        return pages[-1]

    yield open_
    for page in pages:
        assert page.page.evaluate("window.hacked") is None
        page.check()
        page.context.close()


@pytest.mark.browser
def test_failures_are_listed_and_lead_to_what_is_left_of_them(opened: Any) -> None:
    page = opened(troubled())
    listed = page.page.locator("section", has_text="Failed for infrastructure")
    assert MARKUP in listed.inner_text()
    assert "1 rollout failed at first and succeeded later" in listed.inner_text()
    page.page.locator("[data-failed]").first.click()
    page.page.wait_for_selector(".viewer .step.agent")
    assert page.texts(".viewer h2")[0] == "train-2 not scored"
    assert MARKUP in page.texts(".viewer .card.refused")[0]
    assert "not scored" in page.texts(".viewer .note")[1]
    page.page.locator(".viewer summary", has_text="out.txt").first.click()
    assert MARKUP in page.texts(".viewer details[open] pre")[0]
    page.page.keyboard.press("n")
    page.page.wait_for_selector(".viewer h2 >> text=val-0")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("more", "facts", "verdict"),
    [
        ([], "not started", "Not started: nothing has been run yet."),
        ([started()], "running", "Running: starting. No score yet"),
        ([started(), StageStarted(stage="baseline", total=4)], "running",
         "Running: baseline (0 of at most 4). No score yet"),
        ([started(DEAD)], "killed", "Not done: its process was killed; the same command resumes"),
        ([started(), RunStopped(reason="interrupted")], "stopped", "Not done: interrupted"),
        ([started(), RunStopped(reason="interrupted"), started()], "running", "Running: starting"),
    ],
)  # fmt: skip
def test_a_run_is_shown_from_its_first_second(
    opened: Any, more: list[AnyRecord], facts: str, verdict: str
) -> None:
    page = opened([created("r", NAMES), *more])
    assert page.texts(".titles .note")[0].endswith(f" · {facts}")
    assert verdict in page.texts(".verdict")[0]
    for place, text in (("steps", "No step is done yet"), ("tasks", "Nothing of this split"),
                        ("rollouts", "0 rollouts"), ("rejected", "has rejected nothing"),
                        ("skill", "No skill has a score yet"), ("config", "codex")):  # fmt: skip
        page.go(place)
        page.page.wait_for_selector(f"main >> text={text}")


@pytest.mark.browser
def test_a_killed_run_says_where(opened: Any) -> None:
    verdict = opened(troubled()).texts(".verdict")[0]
    assert "50 % → 50 % on 4 selection tasks" in verdict
    assert "killed in epoch 1 of 1, step 2 of 4, rollout (1 of at most 4)" in verdict


@pytest.mark.browser
def test_a_skipped_step_says_why_and_has_its_notes(opened: Any) -> None:
    page = opened(troubled())
    page.go("steps/step%201")
    why = f"no edit could be applied: {MARKUP}"
    assert page.texts("nav .why") == [why]
    assert page.texts("main .facts") == [f"Nothing to judge: {why}"]
    assert page.texts("main li") == [f"step 1: {MARKUP}"]


@pytest.mark.browser
def test_changed_inputs_and_notes_of_the_run_are_in_the_overview(opened: Any) -> None:
    page = opened(troubled())
    changed = page.page.locator("section", has_text="Inputs changed").inner_text()
    assert "before the end of step 1" in changed
    assert "final.test: true → (none)" in changed and f"config.name: r → {MARKUP}" in changed
    assert "tasks.test.test-9: (none) → abababababab…" in changed
    notes = page.page.locator("section", has=page.page.locator("h2", has_text="Notes"))
    assert "step 2: under way" in notes.inner_text() and "step 1" not in notes.inner_text()


@pytest.mark.browser
def test_a_skill_that_is_never_opened_has_a_hint(opened: Any) -> None:
    never = [row.model_copy(update={"skill_activated": False}) for row in BEFORE]
    first, *rest = baseline()
    rest[-1] = rest[-1].model_copy(update={"rollouts": never})
    hint = "an agent decides by the skill's description whether to open it"
    assert hint in opened([first, *rest]).texts(".verdict .hint")[0]
    assert opened(baseline()).texts(".hint") == []


@pytest.mark.browser
def test_an_own_gate_is_named_and_its_repetitions_are_counted(opened: Any) -> None:
    first, *rest = baseline()
    first = created("r", NAMES)
    first.config["gate"]["kind"] = "mine:Gate"
    candidate = tuple(row for n in range(2) for row in rows(f"c {n}", NAMES["val"], 0.5 + n))
    page = opened([first, *rest, judged(rollouts=candidate, remeasured=tuple(BEFORE))])
    assert "Set up with gate: mine:Gate" in page.texts(".verdict")[0]
    page.go("steps/step%201")
    assert page.texts("main .facts p")[0] == (
        "Gate (mine:Gate): compared (4 of 4 selection tasks, 8 rollouts of the candidate, "
        "4 new rollouts of the current skill)."
    )
    page.go("tasks")
    page.page.wait_for_selector(".heat td[data-index]")
    cells = page.page.locator(".heat td[data-index]")
    titles = [cells.nth(i).get_attribute("title") for i in range(cells.count())]
    assert titles.count("val-3, step 1: 1 of 2 solved") == 1
    assert titles.count("val-0, step 1: 2 of 2 solved") == 1
    assert [t for t in titles if t and "step 1, current" in t]


@pytest.mark.browser
def test_trouble_fits_a_phone(opened: Any) -> None:
    page = opened(troubled(), viewport={"width": 360, "height": 800})
    for place in ("overview", "steps", "rollouts"):
        page.go(place)
        page.page.wait_for_selector(f".tab[aria-current] >> text={place}")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 360, place
