"""Limits, stop conditions, prices and the plan: what a run may spend, and what it says of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.base import Status, Usage
from harnesses.gateway.plan_windows import PlanWindow
from skillopt import RunResult, train
from skillopt.config.loading import ConfigError
from skillopt.config.prices import load_prices, price_table
from skillopt.config.schema import (
    AllConfig,
    NoAcceptConfig,
    RunLimitsConfig,
    SpendingConfig,
    SpentConfig,
    TargetScoreConfig,
)
from skillopt.run.records import (
    RECORD,
    AnyRecord,
    JudgeAsked,
    PlanUsed,
    Replied,
    RolloutRan,
    RolloutsAsked,
    RunStarted,
    RunStopped,
    StageStarted,
)
from skillopt.run.spending import LimitReachedError, Meter, Spent
from skillopt.run.state import State
from skillopt.run.stop import make_stop
from skillopt.tasks.sources import load_splits
from skillopt.training.plan import make_plan
from skillopt.training.trainer import SkillOpt
from tests.helpers.command_line import skillopt, small_options
from tests.helpers.small import small_config, trained, untimed


def meter_of(limits: RunLimitsConfig, records: Iterable[AnyRecord]) -> Meter:
    meter = Meter(limits)
    for record in records:
        meter.add(record)
    return meter


def ran(stage: str, tokens: int = 10, usd: float | None = 0.5, at: float = 0.0) -> RolloutRan:
    usage = Usage(1, tokens, 0, 0, usd)
    return RolloutRan(
        at=at, stage=stage, key="k", task="t", status=Status.COMPLETED, usage=usage, seconds=1.0
    )


def started(at: float) -> RunStarted:
    return RunStarted(at=at, name="r", pid=1, host="h", epochs=1, steps=1, rollouts=1)


def test_the_meter_adds_up_by_stage_and_over_starts() -> None:
    records: list[AnyRecord] = [
        started(100.0),
        StageStarted(at=101.0, stage="rollout", total=1),
        ran("rollout", at=105.0),
        RunStopped(at=106.0, reason="interrupted"),
        # The hour in between was nobody's.
        started(3706.0),
        StageStarted(at=3707.0, stage="gate", total=1),
        ran("gate", 30, 1.0, at=3717.0),
        Replied(
            at=3717.0, id="i", stage="reflect", step=1, about="a", reply="{}",
            usage=Usage(1, 5, 0, 5, 0.25),
        ),
    ]  # fmt: skip
    meter = meter_of(RunLimitsConfig(), records)
    assert meter.stages["rollout"] == Spent(1, Usage(1, 10, 0, 0, 0.5), 5.0)
    assert meter.stages["gate"] == Spent(1, Usage(1, 30, 0, 0, 1.0), 10.0)
    total = meter.total
    assert (total.rollouts, total.tokens, total.usage.cost_usd) == (2, 50, 1.75)
    assert total.seconds == pytest.approx(1.0 + 5.0 + 1.0 + 10.0)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"tokens": 50}, "limits.tokens: 50 of 50 used"),
        ({"usd": 1.5}, "limits.usd: $1.5000 of $1.5 used"),
        ({"rollouts": 2}, "limits.rollouts: 2 run or running"),
        ({"seconds": 10}, "limits.seconds: 10 of 10 used"),
        ({"stages": {"gate": {"rollouts": 1}}}, "limits.stages.gate.rollouts: 1 run or running"),
        ({"stages": {"gate": {"seconds": 5}}}, "limits.stages.gate.seconds: 5 of 5 used"),
    ],
)
def test_a_limit_that_is_reached_is_named(limits: dict[str, Any], reason: str) -> None:
    records = [started(0.0), StageStarted(at=5.0, stage="gate", total=1)]
    spent = [ran("rollout", 20, 0.5, 5.0), ran("gate", 30, 1.0, 10.0)]
    meter = meter_of(RunLimitsConfig.model_validate(limits), [*records, *spent])
    with pytest.raises(LimitReachedError) as caught, meter.admit("gate", 10.0, rollout=True):
        pass
    assert str(caught.value) == reason


def test_below_a_limit_and_in_other_stages_work_begins() -> None:
    limits = {"tokens": 51, "usd": 1.6, "seconds": 11, "stages": {"gate": {"rollouts": 1}}}
    meter = meter_of(RunLimitsConfig.model_validate(limits), [started(0.0), ran("gate", 50, 1.5)])
    with meter.admit("rollout", 10.0, rollout=True):
        pass
    with pytest.raises(LimitReachedError), meter.admit("rollout", 11.0, rollout=True):
        pass


def test_a_cost_that_is_unknown_is_not_free() -> None:
    meter = meter_of(RunLimitsConfig(usd=100), [ran("rollout", usd=None)])
    with pytest.raises(LimitReachedError, match="an unknown cost"), meter.admit("gate", 0.0):
        pass


@given(limit=st.integers(1, 6), workers=st.integers(1, 8))
def test_rollouts_that_run_count_so_the_limit_is_never_passed(limit: int, workers: int) -> None:
    meter, begun = Meter(RunLimitsConfig(rollouts=limit)), []
    barrier = threading.Barrier(workers)

    def work() -> None:
        barrier.wait()
        for _ in range(3):
            try:
                with meter.admit("rollout", 0.0, rollout=True):
                    begun.append(1)
                    meter.add(ran("rollout"))
            except LimitReachedError:
                return

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == min(limit, 3 * workers)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return trained(tmp_path_factory.mktemp("limits"))


@pytest.fixture(scope="module")
def folder(whole: RunResult) -> Path:
    """Where that run is, and others find its rollouts."""
    return whole.folder.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit",
    [
        {"limits.rollouts": 5},
        {"limits.tokens": 8000},
        {"limits.seconds": 0.7},
        {"limits.stages": {"gate": {"rollouts": 1}}},
        {"limits.stages": {"reflect": {"tokens": 1}}},
    ],
    ids=str,
)
def test_a_limit_ends_the_run_cleanly_and_a_higher_one_goes_on(
    limit: dict[str, Any], whole: RunResult, tmp_path: Path
) -> None:
    settings = {"tasks.source": str(whole.folder.parent.parent / "small"), "workers": 2}
    stopped = train(small_config(tmp_path, **settings, **limit))
    assert not stopped.done and stopped.summary["stopped"].startswith("limits.")
    spent = stopped.summary["spent"]
    if "limits.rollouts" in limit:
        assert spent["rollouts"] == 5
    assert json.loads((stopped.folder / "summary.json").read_text()) == stopped.summary
    again = train(small_config(tmp_path, **settings))
    assert again.done
    assert untimed(again.history) == untimed(whole.history)
    assert again.summary["spent"]["rollouts"] == whole.summary["spent"]["rollouts"]


@pytest.mark.slow
def test_the_command_says_so_and_exits_with_4(folder: Path, whole: RunResult) -> None:
    options = [*small_options(folder), "--set", "limits.rollouts=3", "--set", "name=few"]
    options += ["--set", f"runs={folder / 'other'}"]
    done = skillopt("train", "quickstart/local", *options)
    assert done.returncode == 4, done.stderr
    assert "limits.rollouts: 3 run or running" in done.stdout
    assert "raise the limit" in done.stdout


def priced(tmp_path: Path) -> Path:
    table = tmp_path / "prices.yaml"
    table.write_text(
        "date: 2026-01-02\nmodels:\n  sim-*: {prompt: 100.0, cached: 10.0, completion: 500.0}\n"
    )
    return table


@pytest.mark.slow
def test_a_limit_on_money(whole: RunResult, tmp_path: Path) -> None:
    source = str(whole.folder.parent.parent / "small")
    config = small_config(
        tmp_path, **{"tasks.source": source, "prices": str(priced(tmp_path)), "limits.usd": 0.8}
    )
    result = train(config)
    assert not result.done and "limits.usd" in result.summary["stopped"]
    assert 0.8 <= result.summary["spent"]["usd"] < 2.5


def test_a_limit_on_money_needs_prices(folder: Path, whole: RunResult, tmp_path: Path) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text("date: 2026-01-02\nmodels: {}\n")
    config = small_config(folder, **{"prices": str(table), "limits.usd": 1})
    with pytest.raises(ConfigError, match=r"prices\.yaml: no price for 'sim-1'"):
        train(config)
    nested = [{"kind": "all", "of": [{"kind": "spent", "usd": 1}]}]
    with pytest.raises(ConfigError, match="no price for 'sim-1'"):
        train(small_config(folder, **{"prices": str(table), "stop": nested}))


def at(steps: int, last_accepted: int, best: float) -> State:
    return State(steps=steps, last_accepted=last_accepted, best_score=best)


def test_stop_conditions_compose() -> None:
    patience = NoAcceptConfig(kind="no_accept", steps=3)
    target = TargetScoreConfig(kind="target_score", score=0.9)
    spent = SpentConfig(kind="spent", tokens=100)
    both = AllConfig(kind="all", of=(patience, target))
    nothing, much = Spent(), Spent(usage=Usage(1, 90, 0, 10))
    assert make_stop([])(at(9, 0, 1.0), much) == ""
    assert make_stop([patience])(at(4, 2, 0.5), nothing) == ""
    assert make_stop([patience])(at(5, 2, 0.5), nothing) == "no accepted edit in 3 steps"
    assert make_stop([target])(at(5, 2, 0.9), nothing) == "selection score 0.900 reached 0.9"
    assert make_stop([spent])(at(0, 0, 0.0), much) == "stop.tokens: 100 of 100 used"
    assert make_stop([both])(at(5, 2, 0.5), nothing) == ""
    assert make_stop([both])(at(4, 2, 0.95), nothing) == ""
    assert " and " in make_stop([both])(at(5, 2, 0.95), nothing)
    assert make_stop([both, spent])(at(5, 2, 0.5), much).startswith("stop.tokens")


def test_a_run_stops_early_and_is_done(folder: Path, whole: RunResult) -> None:
    stop = [{"kind": "target_score", "score": 0.9}]
    result = train(small_config(folder, name="early", stop=stop))
    assert result.done and result.summary["stopped"] == "selection score 1.000 reached 0.9"
    assert len(result.history) == 1 and result.summary["test"]
    never = train(small_config(folder, name="never", stop=[{"kind": "no_accept", "steps": 1}]))
    assert len(never.history) == 2


def test_the_plan_counts_what_the_config_says(folder: Path, whole: RunResult) -> None:
    config = small_config(folder)
    splits = load_splits(config.tasks, config.seed, folder / "made")
    plan = make_plan(config, splits, SkillOpt(), price_table(config))
    assert (plan.epochs, plan.steps, plan.budgets) == (2, 2, (3, 2))
    counts = {stage.stage: stage.rollouts for stage in plan.stages if stage.rollouts}
    edits = {"credit": 3, "prune": 2}
    assert counts == {"baseline": 2, "rollout": 4, "gate": 8, **edits, "pairs": 4, "test": 6}
    strict = config.model_copy(update={"gate": config.gate.model_copy(update={"kind": "strict"})})
    plan_of_strict = make_plan(strict, splits, SkillOpt(), price_table(config))
    of_strict = {stage.stage: stage.rollouts for stage in plan_of_strict.stages}
    assert of_strict["gate"] == 6 and not edits.keys() & of_strict.keys()
    assert plan.usage.cost_usd == 0.0
    assert whole.summary["spent"]["rollouts"] <= plan.rollouts
    unknown = config.model_copy(update={"target": config.target.model_copy(update={"name": "x"})})
    assert make_plan(unknown, splits, SkillOpt(), price_table(config)).usage.cost_usd is None


def test_a_dry_run_prints_the_plan_and_runs_nothing(folder: Path) -> None:
    options = [*small_options(folder), "--set", "name=dry", "--set", "target.name=gpt-x"]
    shown = skillopt("train", "quickstart/local", *options, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "2 epochs, 2 steps" in shown.stdout and "cost unknown" in shown.stdout
    assert not (folder / "runs" / "dry").exists()
    data = json.loads(skillopt("train", "quickstart/local", *options, "--dry-run", "--json").stdout)
    assert "2 tasks cannot tell any gain from luck" in shown.stdout
    assert data["smallest_gain"] is None
    assert data["rollouts"] == 29 and data["usd"] is None and data["edit_budgets"] == [3, 2]


def test_a_limit_of_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"limits\.tokens: .*greater than or equal to 1"):
        small_config(folder, **{"limits.tokens": 0})
    with pytest.raises(ConfigError, match=r"limits\.stages\.gates"):
        small_config(folder, **{"limits.stages": {"gates": {"tokens": 1}}})
    assert SpendingConfig().usd is None
    assert load_prices(priced(folder)).cost("sim-1", Usage(1, 10_000, 0, 0)) == 1.0


def test_a_share_of_a_plans_window_is_known_after_a_restart_and_free_after_its_reset() -> None:
    window = PlanWindow("five_hour", 0.5, resets_at=1000.0)
    record = PlanUsed(at=1.0, service="claude", windows=(window,))
    kept = RECORD.validate_json(record.model_dump_json())
    meter = Meter(RunLimitsConfig(plan_share=0.5))
    meter.add(kept)
    with pytest.raises(LimitReachedError, match=r"limits\.plan_share: 50% of a window"):
        meter.admit("rollout", 999.0).__enter__()
    with meter.admit("rollout", 1000.0):
        pass
    meter = Meter(RunLimitsConfig(plan_share=0.6))
    meter.add(kept)
    with meter.admit("rollout", 999.0):
        pass
    assert meter.to_json()["plans"]["claude"][0]["used"] == 0.5


def test_a_plans_window_without_a_reset_stops_one_process_and_not_the_next() -> None:
    meter = Meter(RunLimitsConfig(plan_share=0.5))
    later = PlanWindow("seven_day", 0.2, 1e9)
    meter.add(PlanUsed(service="claude", windows=(PlanWindow("plan", 1.0), later)))
    with (
        pytest.raises(LimitReachedError, match="the same command again later"),
        meter.admit("gate", 0.0),
    ):
        pass
    meter.add(started(2.0))
    with meter.admit("gate", 0.0):
        assert meter.plans["claude"] == (later,)


def test_the_hours_between_a_kill_and_the_next_start_are_nobodys() -> None:
    """A process that is killed writes no last record."""
    records: list[AnyRecord] = [
        started(100.0), StageStarted(at=101.0, stage="rollout", total=1), ran("rollout", at=105.0),
        started(3705.0), StageStarted(at=3706.0, stage="gate", total=1), ran("gate", at=3708.0),
        RunStopped(at=3709.0, reason="interrupted"),
        # A remark of a person, or what a later start says before anything else.
        ran("gate", at=9000.0), ran("gate", at=9002.0),
    ]  # fmt: skip
    meter = meter_of(RunLimitsConfig(), records)
    seconds = {stage: spent.seconds for stage, spent in meter.stages.items()}
    assert seconds == {"": 2.0, "rollout": 4.0, "gate": 2.0 + 1.0 + 2.0}


def test_a_clock_that_goes_back_takes_no_time_back() -> None:
    records = [started(100.0), StageStarted(at=101.0, stage="gate", total=1)]
    meter = meter_of(RunLimitsConfig(seconds=2), [*records, ran("gate", at=90.0)])
    assert meter.total.seconds == 1.0
    with meter.admit("gate", 80.0):
        pass
    with pytest.raises(LimitReachedError, match=r"limits\.seconds: 2 of 2"):
        meter.admit("gate", 91.0).__enter__()


def replied(stage: str, inherited: bool, usd: float | None = 0.25) -> Replied:
    return Replied(
        at=0.0, id="i", stage=stage, step=1, about="a", reply="{}", inherited=inherited,
        usage=Usage(1, 5, 0, 5, usd),
    )  # fmt: skip


@pytest.mark.parametrize(("inherited", "usd"), [(False, 0.25), (True, 0.0)])
def test_a_reply_that_another_run_paid_for_costs_nothing(inherited: bool, usd: float) -> None:
    total = meter_of(RunLimitsConfig(), [replied("reflect", inherited)]).total
    assert (total.usage.cost_usd, total.tokens) == (usd, 0 if inherited else 10)


def test_a_judges_calls_count_under_the_judge_whatever_they_are_for() -> None:
    asked = JudgeAsked(at=0.0, key="k", task="t", usage=Usage(1, 7, 0, 3, 0.5))
    meter = meter_of(RunLimitsConfig(), [ran("gate"), asked, asked])
    assert meter.stages["gate"].usage == Usage(1, 10, 0, 0, 0.5)
    assert meter.stages["judge"] == Spent(0, Usage(2, 14, 0, 6, 1.0))
    assert [*meter.to_json()["stages"]] == ["gate", "judge"]


def test_a_rollout_that_is_asked_for_twice_is_one() -> None:
    meter = Meter(RunLimitsConfig())
    assert meter.ask("gate", ["a", "b", "a"]) == ["a", "b"]
    assert meter.ask("test", ["b", "c"]) == ["c"]
    assert meter.ask("test", ["a"]) == []
    meter.add(RolloutsAsked(at=0.0, stage="gate", keys=["c", "d"]))
    assert {stage: spent.asked for stage, spent in meter.stages.items()} == {"gate": 3, "test": 1}
    assert meter.to_json()["rollouts_asked"] == meter.total.asked == 4


@pytest.mark.parametrize(
    ("limits", "stage", "rollout", "reason"),
    [
        # One more is let through just below each, whatever is being asked for.
        ({"tokens": 51}, "gate", False, ""),
        ({"usd": 1.51}, "gate", False, ""),
        ({"rollouts": 3}, "gate", True, ""),
        ({"seconds": 10.5}, "gate", False, ""),
        # A model call is stopped by the rollouts that were run, not by those that run.
        ({"rollouts": 2}, "reflect", False, "limits.rollouts: 2 run or running"),
        # A stage's own limit counts what that stage has spent.
        (
            {"stages": {"gate": {"tokens": 30}}},
            "gate",
            False,
            "limits.stages.gate.tokens: 30 of 30",
        ),
        ({"stages": {"gate": {"tokens": 31}}}, "gate", False, ""),
        ({"stages": {"gate": {"tokens": 30}}}, "rollout", True, ""),
        (
            {"stages": {"gate": {"usd": 1.0}}},
            "gate",
            False,
            "limits.stages.gate.usd: $1.0000 of $1",
        ),
        ({"stages": {"gate": {"seconds": 5}}}, "gate", False, "limits.stages.gate.seconds: 5 of 5"),
        ({"stages": {"gate": {"seconds": 6}}}, "gate", False, ""),
        # The seconds since the last record are those of the stage that runs.
        ({"stages": {"rollout": {"seconds": 1}}}, "rollout", False, ""),
        # The whole run's limit is named first.
        ({"tokens": 50, "stages": {"gate": {"tokens": 1}}}, "gate", False, "limits.tokens: 50"),
    ],
)
def test_each_limit_binds_at_its_number_and_not_before(
    limits: dict[str, Any], stage: str, rollout: bool, reason: str
) -> None:
    records = [started(0.0), StageStarted(at=5.0, stage="gate", total=1)]
    spent = [ran("rollout", 20, 0.5, 5.0), ran("gate", 30, 1.0, 7.0)]
    meter = meter_of(RunLimitsConfig.model_validate(limits), [*records, *spent])
    try:
        with meter.admit(stage, 10.0, rollout=rollout):
            said = ""
    except LimitReachedError as error:
        said = str(error)
    assert said.startswith(reason) and bool(said) is bool(reason)


@pytest.mark.parametrize(
    ("limit", "rollout", "allowed"), [(1, True, False), (2, True, True), (1, False, True)]
)
def test_what_runs_counts_until_it_ends(limit: int, rollout: bool, allowed: bool) -> None:
    for limits in ({"rollouts": limit}, {"stages": {"gate": {"rollouts": limit}}}):
        meter = Meter(RunLimitsConfig.model_validate(limits))
        with meter.admit("gate", 0.0, rollout=True):
            if allowed:
                with meter.admit("gate", 0.0, rollout=rollout):
                    pass
            else:
                with pytest.raises(LimitReachedError):
                    meter.admit("gate", 0.0, rollout=rollout).__enter__()
        with pytest.raises(OSError), meter.admit("gate", 0.0, rollout=True):
            raise OSError("it failed")
        with meter.admit("gate", 0.0, rollout=True):
            pass


@pytest.mark.parametrize(
    ("limits", "running", "stage", "allowed"),
    [
        # The run's limit counts what runs in any stage.
        ({"rollouts": 2}, ["gate", "rollout"], "gate", False),
        ({"rollouts": 2}, ["rollout", "rollout"], "gate", False),
        ({"rollouts": 3}, ["gate", "rollout"], "gate", True),
        # A stage's own limit counts what runs in that stage.
        ({"stages": {"gate": {"rollouts": 2}}}, ["gate", "rollout"], "gate", True),
        ({"stages": {"gate": {"rollouts": 2}}}, ["rollout", "rollout", "test"], "gate", True),
        ({"stages": {"gate": {"rollouts": 2}}}, ["gate", "gate"], "gate", False),
        ({"stages": {"gate": {"rollouts": 2}}}, ["gate", "gate"], "rollout", True),
        # Both bind, each with its own count.
        ({"rollouts": 3, "stages": {"gate": {"rollouts": 1}}}, ["rollout"], "gate", True),
        ({"rollouts": 3, "stages": {"gate": {"rollouts": 1}}}, ["rollout", "gate"], "gate", False),
        ({"rollouts": 3, "stages": {"gate": {"rollouts": 9}}}, ["rollout"] * 3, "gate", False),
    ],
)
@pytest.mark.parametrize("run", [0, 1])
def test_what_runs_counts_in_the_run_and_in_its_own_stage(
    limits: dict[str, Any], running: list[str], stage: str, allowed: bool, run: int
) -> None:
    """And it is the same when the first of them has been run."""
    spent = [ran(each, 1, 0.0, 1.0) for each in running[:run]]
    meter = meter_of(RunLimitsConfig.model_validate(limits), [started(0.0), *spent])
    with ExitStack() as stack:
        for each in running[run:]:
            stack.enter_context(meter.admit(each, 1.0, rollout=True))
        for _ in range(2):  # A refusal is not counted.
            if allowed:
                with meter.admit(stage, 1.0, rollout=True):
                    pass
            else:
                with pytest.raises(LimitReachedError):
                    stack.enter_context(meter.admit(stage, 1.0, rollout=True))


def test_a_call_that_is_no_rollout_makes_no_room_for_one() -> None:
    for limits in ({"rollouts": 1}, {"stages": {"gate": {"rollouts": 1}}}):
        meter = Meter(RunLimitsConfig.model_validate(limits))
        with meter.admit("gate", 0.0):
            pass
        with meter.admit("gate", 0.0, rollout=True), pytest.raises(LimitReachedError):
            meter.admit("gate", 0.0, rollout=True).__enter__()


def test_a_limit_of_seconds_binds_though_the_clock_went_back() -> None:
    limits = RunLimitsConfig.model_validate({"seconds": 5})
    meter = meter_of(limits, [started(0.0), StageStarted(at=5.0, stage="gate", total=1)])
    with pytest.raises(LimitReachedError, match=r"limits\.seconds: 5 of 5 used"):
        meter.admit("gate", 4.5).__enter__()
    spent = SpentConfig(kind="spent", seconds=5)
    assert make_stop([spent])(State(), Spent(seconds=5.0)) == "stop.seconds: 5 of 5 used"
    assert make_stop([spent])(State(), Spent(seconds=4.9)) == ""


def test_one_of_several_windows_is_enough_and_no_share_is_no_limit() -> None:
    windows = (PlanWindow("five_hour", 0.1, 1000.0), PlanWindow("seven_day", 0.9, 2000.0))
    record = PlanUsed(service="claude", windows=windows)
    meter = meter_of(RunLimitsConfig(plan_share=0.5), [record])
    with pytest.raises(LimitReachedError, match="again after that"):
        meter.admit("rollout", 1.0).__enter__()
    with meter_of(RunLimitsConfig(), [record]).admit("rollout", 1.0):
        pass


@pytest.mark.parametrize(
    ("told", "services"),
    [
        ([("a", [0.4])], ""),
        ([("a", [0.5])], "a"),
        # What a service told last is what is known of it, not what it told first, nor the most.
        ([("a", [0.4]), ("a", [0.5])], "a"),
        ([("a", [0.9]), ("a", [0.4])], ""),
        ([("a", [0.9, 0.1]), ("a", [0.1])], ""),
        ([("a", [0.1]), ("a", [0.1, 0.9])], "a"),
        # Each service has its own windows.
        ([("a", [0.9]), ("b", [0.1])], "a"),
        ([("a", [0.1]), ("b", [0.9])], "b"),
        ([("a", [0.1]), ("b", [0.1]), ("a", [0.6])], "a"),
        ([("a", [0.6]), ("b", [0.6]), ("a", [0.1])], "b"),
        # A use that is not known is none.
        ([("a", [None])], ""),
        ([("a", [0.6]), ("a", [None])], ""),
        ([("a", [None, 0.6])], "a"),
    ],
)
def test_what_a_plan_told_last_counts(
    told: list[tuple[str, list[float | None]]], services: str
) -> None:
    records = [
        PlanUsed(service=name, windows=tuple(PlanWindow(f"w{n}", u, 9e9) for n, u in enumerate(us)))
        for name, us in told
    ]
    meter = meter_of(RunLimitsConfig(plan_share=0.5), records)
    if services:
        with pytest.raises(LimitReachedError, match=f"may be used; {services}: "):
            meter.admit("rollout", 1.0).__enter__()
    else:
        with meter.admit("rollout", 1.0):
            pass


def test_what_is_included_in_a_plan_is_marked_and_not_priced() -> None:
    own = Usage(1, 10, 0, 5, 0.0, included=True)
    assert Spent(usage=own).to_json()["included"] is True
    assert "included" not in Spent(usage=Usage(1, 10, 0, 5, 0.0)).to_json()
    assert Spent(seconds=1.23456).to_json()["seconds"] == 1.235
