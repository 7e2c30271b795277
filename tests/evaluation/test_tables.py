"""Finished runs and their methods side by side, from logs that are written here."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status, Usage
from skillopt.core.skill import Skill
from skillopt.core.text import estimate_tokens
from skillopt.core.types import GateDecision, RolloutRow
from skillopt.evaluation.claim import claim
from skillopt.evaluation.method_table import Comparison, MethodPair, MethodRuns, methods_of
from skillopt.evaluation.run_table import (
    CostsOf,
    FinishedRun,
    Point,
    RunRow,
    compare_runs,
    read_finished,
    rows_of,
    to_csv,
)
from skillopt.evaluation.stats import Estimate, difference_of_runs, mean, mean_of_runs
from skillopt.run.folder import RunError
from skillopt.run.journal import LOG
from skillopt.run.records import (
    AnyRecord,
    BaselineDone,
    JudgeAsked,
    MethodDone,
    Replied,
    RolloutRan,
    RolloutsAsked,
    RunCreated,
    RunDone,
    RunStarted,
    StageStarted,
    StepDone,
    skill_made,
)

START, BETTER = Skill("mine", "Use it.", "# A"), Skill("mine", "Use it.", "# A\n\n- rule one")
MADE = [skill_made(one).model_copy(update={"at": 0.0}) for one in (START, BETTER)]
TESTS = [f"t{number}" for number in range(10)]


def row(task: str, key: str, hard: float) -> RolloutRow:
    return RolloutRow(
        key=key, task=task, family="", status=Status.COMPLETED, hard=hard, soft=hard,
        skill_activated=None, feedback="", message="", usage=Usage(),
    )  # fmt: skip


def rows(use: str, solved: int, keys: Mapping[str, str] | None = None) -> list[RolloutRow]:
    """The first so many of the test tasks are solved; those of one key share a rollout."""
    known = keys or {}
    return [
        row(name, known.get(name, f"{use}-{name}"), float(number < solved))
        for number, name in enumerate(TESTS)
    ]


def ran(
    stage: str, key: str, tokens: int, usd: float | None = 0.25, at: float = 15.0
) -> RolloutRan:
    return RolloutRan(
        at=at, stage=stage, key=key, task="t", status=Status.COMPLETED, seconds=1.0,
        usage=Usage(1, tokens, 0, 1, usd),
    )  # fmt: skip


def asked(stage: str, *keys: str) -> RolloutsAsked:
    return RolloutsAsked(at=12.0, stage=stage, keys=[*keys])


def created(**config: Any) -> RunCreated:
    known = {"seed": 1, "harness": {"name": "codex"}, "target": {"name": "m"}} | config
    fingerprint = {"seed": str(known["seed"]), "method.kind": known.get("method", {}).get("kind")}
    return RunCreated(
        at=0.0, format=1, name="r", config=known, fingerprint=fingerprint,
        splits={"test": [{"id": name, "family": "", "digest": name} for name in TESTS]},
    )  # fmt: skip


def step(number: int, accepted: bool, after: float) -> StepDone:
    gate = GateDecision(
        accepted=accepted, score_before=0.25, score_after=after, upper_bound=after, total=4,
        reason="", rollouts=(),
    )  # fmt: skip
    return StepDone(
        at=15.0, step=number, epoch=1, action="accept", row={}, rollouts=[], patches=[], report=[],
        candidate=BETTER.digest, gate=gate, rejected=None,
    )  # fmt: skip


def records(
    solved: int = 8, *, accepted: bool = True, test: Mapping[str, Any] | None = None,
    made: RunCreated | None = None, more: Sequence[AnyRecord] = (),
) -> list[AnyRecord]:  # fmt: skip
    """A run of a step, in whose test so many tasks are solved, and four by the initial skill."""
    arms = {"initial": rows("initial", 4), "final": rows("final", solved)}
    return [
        made or created(), *MADE,
        RunStarted(at=10.0, name="r", pid=1, host="h", epochs=1, steps=1, rollouts=9),
        StageStarted(at=10.0, stage="baseline", total=4),
        asked("baseline", "b1", "b2"), ran("baseline", "b1", 10, at=12.0),
        BaselineDone(at=12.0, skill=START.digest, score=0.25, rollouts=[]),
        asked("rollout", "r1"), ran("rollout", "r1", 20, at=15.0),
        ran("rollout", "r1", 5, at=15.0), *more, step(1, accepted, 0.75),
        RolloutsAsked(at=15.0, stage="final", keys=["f1"]), ran("final", "f1", 100, at=16.5),
        RunDone(at=17.0, reason="", final_selection=0.75 if accepted else 0.25,
                test={}, test_rollouts=arms if test is None else test),
    ]  # fmt: skip


def written(root: Path, found: Sequence[AnyRecord]) -> Path:
    root.mkdir(parents=True)
    (root / LOG).write_text("".join(one.model_dump_json() + "\n" for one in found))
    return root


def finished(root: Path, *many: Sequence[AnyRecord]) -> list[FinishedRun]:
    return read_finished([written(root / f"run{n}", one) for n, one in enumerate(many)])


def scored(solved: int) -> list[list[float]]:
    return [[float(number < solved)] for number in range(10)]


def test_the_row_of_a_run_is_what_its_log_says(tmp_path: Path) -> None:
    reply = Replied(
        at=15.0,
        id="i",
        stage="reflect",
        step=1,
        about="a",
        reply=None,
        usage=Usage(2, 30, 9, 7, 1.0),
    )
    other = reply.model_copy(update={"id": "j", "inherited": True})
    judge = JudgeAsked(at=15.0, key="k", task="t", usage=Usage(1, 3, 0, 4, 0.5))
    made = created(method={"kind": "gepa", "rollouts": 2}, seed=7)
    (found,) = compare_runs(
        [written(tmp_path / "a", records(made=made, more=[reply, other, judge]))]
    )
    assert (found.run, found.method, found.seed, found.budget) == ("a", "gepa", 7, 2)
    assert found.score == mean([score for (score,) in scored(8)], [1.0] * 10, 10)
    assert found.over_start == claim(scored(4), scored(8), [1.0] * 10, "test")
    assert found.over_none is found.over_first is None
    assert (found.asked, found.overshoot, found.rollouts) == (3, 1, 4)
    assert found.asked_tokens is None, "nobody here has run b2"
    assert (found.optimizer, found.judge) == (CostsOf(2, 37), CostsOf(1, 7))
    assert found.target == CostsOf(4, 139) and found.usd == 2.5
    assert (found.seconds, found.skill_tokens) == (7.0, estimate_tokens(BETTER.text))
    assert found.findings == () and found.curve == (Point(2, 0.25), Point(3, 0.75))
    printed = found.to_json()
    assert "usage" not in printed and printed["optimizer"] == 37 and printed["judge_calls"] == 1
    assert (printed["overshoot"], printed["usd"], printed["included"]) == (1, 2.5, False)
    assert printed["over_start"] == found.over_start.to_json() and printed["over_none"] is None
    assert json.loads(json.dumps(printed))["curve"] == [
        {"asked": 2, "score": 0.25}, {"asked": 3, "score": 0.75},
    ]  # fmt: skip


def test_other_runs_are_compared_with_the_first(tmp_path: Path) -> None:
    arms = {
        "initial": rows("initial", 4), "final": rows("x", 1), "best": rows("initial", 4),
        "none": rows("none", 2),
    }  # fmt: skip
    kept = records(accepted=False, test=arms, made=created(seed=2))
    first, second = compare_runs([
        written(tmp_path / "a", records()), written(tmp_path / "b", kept),
    ])  # fmt: skip
    assert first.over_first is None
    # The skill that it started from is current and best: its last score is what counts.
    assert second.score.value == 0.1
    assert second.over_none is not None and second.over_none.gain.value == pytest.approx(-0.1)
    assert second.over_first == claim(scored(8), scored(1), [1.0] * 10, "test")


@pytest.mark.parametrize(
    ("keys", "extra", "tokens"),
    [
        (("b2",), [], 11 + 11 + 27),
        ((), [], None),
        (("b2",), ["none"], None),
    ],
)
def test_what_was_asked_for_costs_what_whoever_ran_it_has_used(
    tmp_path: Path, keys: tuple[str, ...], extra: list[str], tokens: int | None
) -> None:
    more = [asked("rollout", *extra)] if extra else []
    other = [ran("gate", key, 10) for key in keys]
    runs = finished(tmp_path, records(more=more), records(made=created(seed=2), more=other))
    assert rows_of(runs)[0].asked_tokens == tokens


def test_tasks_of_the_same_content_count_as_one(tmp_path: Path) -> None:
    same = {"t0": "same", "t1": "same"}
    arms = {"initial": rows("i", 4, same), "final": rows("f", 8, same)}
    (run,) = finished(tmp_path, records(test=arms))
    assert run.weights == {"t0": 2.0} | dict.fromkeys(TESTS[2:], 1.0)
    assert rows_of([run])[0].score.value == 0.8 and run.scores(run.best)[0] == [1.0]


def test_a_run_is_named_by_its_folder_or_path_and_counts_once(tmp_path: Path) -> None:
    one = written(tmp_path / "x" / "a", records())
    other = written(tmp_path / "y" / "a", records(made=created(seed=2)))
    third = written(tmp_path / "b", records(made=created(seed=3)))
    (tmp_path / "link").symlink_to(one)
    found = read_finished([one, third, other, tmp_path / "link", one])
    assert [run.name for run in found] == [str(one), "b", str(other)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (records()[:-1], "is not finished; 'skillopt train' goes on with it"),
        (records()[1:], "is not finished"),
        (records(test={}), "has no scores on a test split"),
        (records(test={"initial": rows("i", 4)}), "has no scores on a test split"),
        (records(test={"final": rows("f", 4)}), "has no scores on a test split"),
        (records(test={"initial": rows("i", 4), "best": rows("f", 4)}), "has no scores on a test"),
    ],
)
def test_a_run_without_scores_is_refused(
    tmp_path: Path, found: Sequence[AnyRecord], said: str
) -> None:
    with pytest.raises(RunError, match=f"a: {said}"):
        read_finished([written(tmp_path / "a", found)])


def test_runs_of_other_agents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run1 has other agents than run0"):
        finished(tmp_path, records(), records(made=created(harness={"name": "direct"})))


def test_what_an_earlier_version_did_not_count_is_unknown(tmp_path: Path) -> None:
    old = [one for one in records() if not isinstance(one, RolloutsAsked)]
    (found,) = rows_of(finished(tmp_path, old))
    assert (found.asked, found.asked_tokens, found.curve, found.overshoot) == (None, None, (), 0)
    limited = created(method={"kind": "gepa", "rollouts": 2})
    old = [one for one in records(made=limited) if not isinstance(one, RolloutsAsked)]
    assert compare_runs([written(tmp_path / "b", old)])[0].overshoot is None


def test_a_method_that_decides_by_itself_may_not_have_asked_for_the_baseline(
    tmp_path: Path,
) -> None:
    def chosen(count: int) -> list[AnyRecord]:
        done = MethodDone(
            skill=BETTER.digest, score=0.5, asked=count, budget=None, reason="", findings=["long"]
        )
        found = [one for one in records() if not isinstance(one, StepDone)]
        return [*found[:-3], done, *found[-3:]]

    runs = finished(tmp_path, chosen(1), chosen(3), chosen(2), chosen(0))
    assert [run.keys for run in runs] == [{"r1"}, {"b1", "b2", "r1"}, None, None]
    own, whole, part, nothing = rows_of(runs)
    assert nothing.curve == (Point(0, 0.25), Point(0, 0.75))
    assert own.findings == ("long",) and (own.asked, whole.asked, part.asked) == (1, 3, 2)
    assert own.asked_tokens == 27 and part.asked_tokens is None
    assert own.curve == (Point(0, 0.25), Point(1, 0.75)) and whole.curve[0] == Point(2, 0.25)


def test_a_curve_has_the_points_at_which_the_score_changes(tmp_path: Path) -> None:
    same = [step(1, False, 0.25), asked("rollout", "r3")]
    (run,) = finished(tmp_path, records(more=same))
    assert run.curve == (Point(2, 0.25), Point(4, 0.75))
    late = [*records(accepted=False)]
    (flat,) = finished(tmp_path / "flat", late)
    assert flat.curve == (Point(2, 0.25), Point(3, 0.25))


def test_runs_as_csv_have_a_line_each(tmp_path: Path) -> None:
    arms = {"initial": rows("i", 4), "final": rows("f", 8), "none": rows("n", 0)}
    runs = finished(tmp_path, records(), records(made=created(seed=2), test=arms))
    found = rows_of(runs)
    text = to_csv(found)
    first, second = csv.DictReader(text.splitlines())
    assert (first["run"], first["seed"], second["seed"]) == ("run0", "1", "2")
    assert float(first["test"]) == 0.8 and float(first["test_low"]) == found[0].score.low
    assert float(first["over_start"]) == pytest.approx(0.4)
    assert first["over_none"] == first["over_none_p"] == first["over_first_verdict"] == ""
    assert second["over_none_verdict"] == "confirmed" and float(second["over_first"]) == 0.0
    assert float(second["over_none_p"]) == pytest.approx(2 / 2**8)
    assert (first["budget"], first["rollouts_asked"], first["overshoot"]) == ("", "3", "0")
    assert (first["rollouts_run"], first["target_calls"], first["target_tokens"]) == (
        "4",
        "4",
        "139",
    )
    assert (first["usd"], first["seconds"], first["findings"]) == ("1.0", "7.0", "")
    assert "\r" not in text and to_csv([]) == "\n"


def test_the_runs_of_a_method_differ_in_their_seed_alone(tmp_path: Path) -> None:
    gepa = {"method": {"kind": "gepa"}}
    runs = finished(
        tmp_path, records(8, made=created(seed=1)), records(6, made=created(seed=1, **gepa)),
        records(9, made=created(seed=2)), records(5, made=created(seed=2, **gepa)),
    )  # fmt: skip
    methods = methods_of(runs)
    assert [(one.name, len(one.runs)) for one in methods] == [("skillopt", 2), ("gepa", 2)]
    found = Comparison.of(runs, {"lost": "it was killed"})
    first, second = found.methods
    assert (first.runs, first.seeds, first.scores) == (("run0", "run2"), (1, 2), (0.8, 0.9))
    scores = methods[0].scores_of("best")
    assert scores is not None and (scores.trials, scores.different) == (10, 1)
    assert first.score == mean_of_runs(scores) and first.score.value == pytest.approx(0.85)
    assert first.over_none is None and first.over_start.value == pytest.approx(0.45)
    assert first.words == "skillopt: 85 % over 2 runs: 80 with seed 1, 90 with seed 2"
    assert first.to_json()["words"] == first.words
    assert second.score.value == pytest.approx(0.55)
    (pair,) = found.pairs
    assert (pair.method, pair.other) == ("gepa", "skillopt")
    assert pair.over_tasks.gain.value == pytest.approx(-0.3) and pair.over_runs is not None
    assert pair.over_runs.value == pytest.approx(-0.3)
    assert found.about == "codex with m: solved on 10 different test tasks, the same for all"
    assert found.remarks == ["lost is not finished: it was killed"]
    printed = found.to_json()
    assert [one["run"] for one in printed["runs"]] == ["run0", "run1", "run2", "run3"]
    assert printed["pairs"][0]["over_runs"]["value"] == pair.over_runs.value
    assert printed["failed"] == {"lost": "it was killed"} and printed["unlike"] == []


def unalike(solved: int, use: str) -> list[AnyRecord]:
    """A run whose skills have rollouts of their own."""
    arms = {"initial": rows("initial", 4), "final": rows(use, solved), "none": rows("none", 0)}
    return records(test=arms, made=created(seed=int(use)))


def test_intervals_are_over_runs_with_skills_of_their_own(tmp_path: Path) -> None:
    runs = finished(tmp_path, unalike(8, "1"), unalike(9, "2"), unalike(6, "3"))
    (method,) = methods_of(runs)
    best, start, none = (method.scores_of(role) for role in ("best", "initial", "none"))
    assert best is not None and start is not None and none is not None
    assert (best.values, best.different, start.different) == ((0.8, 0.9, 0.6), 3, 1)
    found = Comparison.of(runs, {}).methods[0]
    assert found.score == mean_of_runs(best) and found.score.low is not None
    assert found.over_start == difference_of_runs(start, best)
    assert found.over_none == difference_of_runs(none, best)
    assert method.by_task()[8] == [0.0, 1.0, 0.0] and method.trials == 30
    assert method.scores_of("other") is None


def test_a_single_run_or_a_copy_says_nothing_of_other_seeds(tmp_path: Path) -> None:
    single = Comparison.of(finished(tmp_path, records()), {})
    (method,) = single.methods
    assert method.over_start.low is None and method.score.low is None and single.pairs == []
    copies = finished(tmp_path / "copies", records(), records())
    assert not methods_of(copies)[0].known
    seeds = finished(tmp_path / "seeds", records(), records(made=created(seed=2)))
    assert methods_of(seeds)[0].known
    human = {"kind": "human"}
    (one,) = methods_of(finished(tmp_path / "human", records(made=created(method=human))))
    assert one.known, "no seed changes what a person wrote"
    nobody = Comparison.of([], {})
    assert (nobody.about, nobody.rows, nobody.methods) == ("no run is finished", [], [])


def test_a_skill_against_itself_has_no_interval(tmp_path: Path) -> None:
    arms = {"initial": rows("same", 4), "final": rows("same", 4)}
    runs = finished(
        tmp_path, records(accepted=False, test=arms),
        records(accepted=False, test=arms, made=created(seed=2, method={"kind": "skillopt"})),
    )  # fmt: skip
    found = Comparison.of(runs, {}).methods
    assert [one.over_start for one in found] == [Estimate(0.0)] * len(found)


def test_methods_of_one_kind_are_told_apart_by_their_first_run(tmp_path: Path) -> None:
    runs = finished(tmp_path, records(), records(made=created()), records())
    other = runs[1].created.model_copy(update={"fingerprint": {"train.epochs": 2}})
    changed = FinishedRun(**{**vars(runs[1]), "created": other, "name": "second"})
    found = methods_of([runs[0], changed, runs[2]])
    assert [one.name for one in found] == ["skillopt (run0)", "skillopt (second)"]
    told = Comparison.of([runs[0], changed], {})
    assert told.unlike and told.remarks == told.unlike


@pytest.mark.parametrize(
    ("over_runs", "verdict", "words"),
    [
        (Estimate(0.4, 0.1, 0.7), "confirmed", "+40 [+10, +70] over runs"),
        (Estimate(0.4, -0.1, 0.9), "not confirmed", "] over runs"),
        (Estimate(-0.4, -0.7, -0.1), "not confirmed", "] over runs"),
        (None, "confirmed", "; of single runs, so it says nothing about other seeds"),
    ],
)
def test_tasks_and_runs_must_both_confirm_a_method(
    over_runs: Estimate | None, verdict: str, words: str
) -> None:
    tasks = claim(scored(0), scored(10))
    pair = MethodPair("gepa", "skillopt", tasks, over_runs)
    assert pair.verdict == pair.to_json()["verdict"] == verdict
    assert pair.words.startswith(f"gepa against skillopt: {verdict}: +100 [")
    assert "points over tasks (exact p = 0.002)" in pair.words and pair.words.endswith(words)
    assert pair.to_json()["over_runs"] == (vars(over_runs) if over_runs else None)
    few = MethodPair("a", "b", claim([[0.0]], [[1.0]]), None)
    assert "exact p" not in few.words


def test_a_row_without_a_budget_has_none_to_exceed() -> None:
    def overshoot(asked: int | None, budget: int | None) -> int | None:
        made = object.__new__(RunRow)
        vars(made).update(asked=asked, budget=budget)
        return made.overshoot

    assert [overshoot(5, None), overshoot(None, 5), overshoot(5, 5), overshoot(4, 5)] == [
        0,
        None,
        0,
        0,
    ]
    assert overshoot(6, 5) == 1 and CostsOf.of([]) == CostsOf(0, 0)
    assert MethodRuns("m", "none", ()).known
