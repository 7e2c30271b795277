"""What each tracker is given of a run, with stand-ins for their packages."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harnesses.base import Status, Usage
from skillopt.config.schema import Config
from skillopt.core.skill import Skill
from skillopt.core.types import GateDecision
from skillopt.run import trackers
from skillopt.run.records import BaselineDone, RolloutRan, RunDone, StepDone, skill_made
from skillopt.run.state import State, fold
from skillopt.run.trackers import (
    TrackerError,
    change,
    check_trackers,
    files,
    measures,
    tracking,
)

SKILLS = [Skill("mine", "Use it.", f"# {name}") for name in ("first", "second", "third")]
FIRST, SECOND, THIRD = (skill.digest for skill in SKILLS)
BASELINE = BaselineDone(skill=FIRST, score=0.5, rollouts=[])
DONE = RunDone(reason="", final_selection=0.75, test={})


def step(number: int, candidate: str | None, accepted: bool | None, **row: Any) -> StepDone:
    gate = None if accepted is None else GateDecision(
        accepted=accepted, score_before=0.5, score_after=0.75, upper_bound=0.75, total=1,
        reason="", rollouts=(),
    )  # fmt: skip
    return StepDone(
        step=number, epoch=1, action="accept" if accepted else "reject",
        row={"step": number, "tokens": {"rollout": 7}} | row, rollouts=[], patches=[], report=[],
        candidate=candidate, gate=gate, rejected=None,
    )  # fmt: skip


def after(*steps: StepDone) -> State:
    return fold([*map(skill_made, SKILLS), BASELINE, *steps])


def test_the_numbers_of_a_step_are_those_that_are_known() -> None:
    row = {
        "rollout_hard": 0.25, "rollout_soft": None, "selection_hard": 1, "edit_budget": 4,
        "edits_applied": 2, "cost_usd": 0.0, "race": {"tokens": {"race": 9}}, "other": 5,
    }  # fmt: skip
    one = step(1, SECOND, True, **row)
    assert measures(one, after(one)) == {
        "rollout_hard": 0.25, "selection_hard": 1.0, "edit_budget": 4.0, "edits_applied": 2.0,
        "cost_usd": 0.0, "current_score": 0.75, "best_score": 0.75, "tokens/rollout": 7.0,
        "tokens/race": 9.0, "accepted": 1.0,
    }  # fmt: skip
    two = step(2, THIRD, False)
    assert measures(two, after(one, two))["accepted"] == 0.0
    assert "tokens/race" not in measures(two, after(one, two))


@pytest.mark.parametrize(
    ("steps", "before", "candidate", "current"),
    [
        ([(SECOND, True)], "first", "second", "second"),
        ([(SECOND, False)], "first", "second", "first"),
        ([(SECOND, True), (THIRD, True)], "second", "third", "third"),
        ([(SECOND, True), (THIRD, False)], "second", "third", "second"),
        ([(SECOND, True), (None, None)], "", "", "second"),
    ],
)
def test_a_change_is_what_the_candidate_differs_in_from_the_skill_before(
    steps: list[tuple[str | None, bool | None]], before: str, candidate: str, current: str
) -> None:
    made = [step(number, *one) for number, one in enumerate(steps, 1)]
    state = after(*made)
    said = change(made[-1], state)
    number = len(steps)
    if candidate:
        head, new, *_ = said.split("\n")
        assert (head, new) == ("--- before", "+++ candidate")
        assert f"\n-# {before}" in said and f"\n+# {candidate}" in said
    else:
        assert said == ""
    found = files(made[-1], state)
    assert found[f"steps/step_{number:04d}.diff"] == said
    assert f"# {current}" in found[f"skills/skill_v{number:04d}.md"] and len(found) == 2


class Calls:
    """Stands for any object of a tracker: keeps the calls of its methods."""

    def __init__(self, **returns: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.returns = returns

    def __getattr__(self, name: str) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            self.calls.append((name, *given, *sorted(named.items())))
            return self.returns.get(name)

        return called

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


def module(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    made = ModuleType(name)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def config() -> Config:
    return Config.model_construct(
        name="r", trackers=["tensorboard"], target=SimpleNamespace(name="m")
    )  # type: ignore[call-arg]


def listening(
    config: Any, name: str, folder: Path, state: State, said: list[str] | None = None
) -> AbstractContextManager[Any]:
    chosen = SimpleNamespace(
        name="r", trackers=[name], target=config.target, model_dump=lambda mode: {"mode": mode}
    )
    reported = [] if said is None else said
    return tracking(chosen, folder, state, reported.append)  # type: ignore[arg-type]


def test_tensorboard_gets_numbers_and_texts_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    writer, opened = Calls(), []
    module(monkeypatch, "tensorboardX", SummaryWriter=lambda at: opened.append(at) or writer)
    one = step(1, SECOND, True)
    state = after(one)
    with listening(config, "tensorboard", tmp_path, state) as (listen,):
        assert opened == [str(tmp_path / "tensorboard")] and listen.__qualname__ == "tensorboard"
        listen(BASELINE)
        listen(one)
        listen(DONE)
        assert not writer.named("close")
    assert writer.named("close") == [()] and writer.named("flush") == [()]
    numbers = {(name, value, at) for name, value, at in writer.named("add_scalar")}
    assert ("current_score", 0.5, 0) in numbers and ("best_score", 0.75, 1) in numbers
    texts = {name: text for name, text, at in writer.named("add_text") if at == 1}
    assert all(line.startswith("    ") for text in texts.values() for line in text.split("\n"))
    assert "    # second" in texts["skill"] and "    +# second" in texts["change"]


def test_wandb_gets_them_offline_and_the_best_skill_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    written: list[str] = []
    file = SimpleNamespace(write=written.append)
    artifacts: list[Calls] = []

    def artifact(name: str, *, type: str) -> Calls:
        artifacts.append(Calls(new_file=nullcontext(file)))
        artifacts[-1].calls.append(("made", name, type))
        return artifacts[-1]

    run, wandb = Calls(), Calls()
    wandb.returns["init"] = run
    monkeypatch.setenv("WANDB_MODE", "kept")
    monkeypatch.delenv("WANDB_MODE")
    module(monkeypatch, "wandb", init=wandb.init, Artifact=artifact)
    one = step(1, SECOND, True)
    state = after(one)
    with listening(config, "wandb", tmp_path, state) as (listen,):
        assert os.environ["WANDB_MODE"] == "offline"
        ((*given,),) = wandb.named("init")
        assert dict(given) == {
            "project": "skillopt", "name": "r", "id": "r", "dir": str(tmp_path),
            "resume": "allow", "config": {"mode": "json"},
        }  # fmt: skip
        for event in (BASELINE, one, DONE):
            listen(event)
    assert run.named("log") == [(measures(one, state), ("step", 1))]
    assert run.named("finish") == [()] and len(run.named("log_artifact")) == 2
    first, best = artifacts
    assert first.calls[0] == ("made", "step-0001", "skill")
    assert best.calls[0] == ("made", "best_skill", "skill")
    assert written == [*files(one, state).values()]
    assert first.named("new_file") == [(name,) for name in files(one, state)]
    names = [str(tmp_path / name) for name in ("best_skill.md", "history.json")]
    assert best.named("add_file") == [(name,) for name in names]


@pytest.mark.parametrize("known", [None, SimpleNamespace(experiment_id="7")])
@pytest.mark.parametrize("uri", ["", "http://tracking"])
def test_mlflow_gets_metrics_and_texts_in_one_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config, known: Any, uri: str
) -> None:
    info = SimpleNamespace(info=SimpleNamespace(run_id="R"))
    client = Calls(get_experiment_by_name=known, create_experiment="8", create_run=info)
    opened: list[str] = []
    module(monkeypatch, "mlflow")
    module(monkeypatch, "mlflow.tracking", MlflowClient=lambda at: opened.append(at) or client)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    one = step(1, SECOND, True)
    state = after(one)
    with listening(config, "mlflow", tmp_path, state) as (listen,):
        for event in (BASELINE, one, DONE):
            listen(event)
        assert not client.named("set_terminated")
    assert opened == [uri or f"sqlite:///{tmp_path}/mlflow.db"]
    made = [("skillopt", ("artifact_location", (tmp_path / "mlflow").as_uri()))]
    assert client.named("create_experiment") == ([] if known else made)
    assert client.named("create_run") == [("7" if known else "8", ("run_name", "r"))]
    assert client.named("set_terminated") == [("R",)]
    assert client.named("log_dict") == [("R", {"mode": "json"}, "config.json")]
    logged = {name: (value, step) for _, name, value, step in client.named("log_metric")}
    assert logged["best_score"] == (0.75, ("step", 1)) and len(logged) == len(measures(one, state))
    texts = {name: text for _, text, name in client.named("log_text")}
    assert texts == {**files(one, state), "best_skill.md": SKILLS[1].text}


def test_opentelemetry_has_a_span_as_long_as_the_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    span, tracer = Calls(), Calls()
    tracer.returns["start_span"] = span
    module(monkeypatch, "opentelemetry", trace=SimpleNamespace(get_tracer=lambda name: tracer))
    ran = RolloutRan(
        at=100.0, stage="gate", key="k", task="t", status=Status.AGENT_ERROR, seconds=2.5,
        usage=Usage(1, 10, 3, 5, None),
    )  # fmt: skip
    with listening(config, "opentelemetry", tmp_path, after()) as (listen,):
        listen(BASELINE)
        listen(ran)
    assert tracer.named("start_span") == [("rollout", ("start_time", 97_500_000_000))]
    assert span.named("end") == [(("end_time", 100_000_000_000),)]
    ((attributes,),) = span.named("set_attributes")
    assert attributes == {
        "skillopt.run": "r", "skillopt.stage": "gate", "skillopt.task": "t",
        "skillopt.status": "agent_error", "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
    }  # fmt: skip


def test_a_tracker_that_fails_is_reported_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no disk")

    said: list[str] = []
    module(monkeypatch, "tensorboardX", SummaryWriter=broken)
    with listening(config, "tensorboard", tmp_path, after(), said) as found:
        assert found == []
    assert len(said) == 1 and said[0].startswith("tracker tensorboard raised ValueError: no disk")
    writer = SimpleNamespace(close=broken)
    module(monkeypatch, "tensorboardX", SummaryWriter=lambda at: writer)
    with listening(config, "tensorboard", tmp_path, after(), said) as found:
        assert len(found) == 1
    assert len(said) == 2 and "no disk" in said[1]


def test_a_package_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    known = {"tensorboardX", "wandb"}
    monkeypatch.setattr(trackers, "find_spec", lambda name: name if name in known else None)
    check_trackers(SimpleNamespace(trackers=["tensorboard", "wandb"]))  # type: ignore[arg-type]
    with pytest.raises(TrackerError) as caught:
        check_trackers(SimpleNamespace(trackers=["wandb", "mlflow"]))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "trackers: mlflow: there is no package 'mlflow'; install it: "
        "pip install 'skillopt-harness[mlflow]'"
    )
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(TrackerError, match=r"trackers: wandb: .*'skillopt-harness\[wandb\]'"),
        listening(config, "wandb", tmp_path, after()),
    ):
        pass
