"""A user's own harness, verifier, stages and stop condition: as objects, and by import path."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Outcome, Request, Status, Usage
from harnesses.harness import RolloutSite
from skillopt import Plugins, evaluate, train
from skillopt.config.loading import ConfigError
from skillopt.core.import_path import OwnCodeError, PluginError
from skillopt.core.types import Edit, Reward, Task
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import StageResult
from skillopt.run.events import Event, RolloutFinished
from skillopt.run.records import Noted, StepDone
from skillopt.run.spending import Spent
from skillopt.run.state import State
from skillopt.training.fingerprint import FingerprintError
from tests.helpers.small import small_config

pytestmark = pytest.mark.slow


class Echo:
    """An agent that writes what its skill says into a file."""

    name = "echo"

    def version(self) -> str:
        return "1"

    def run(self, request: Request, site: RolloutSite) -> Outcome:
        text = (request.skill / "SKILL.md").read_text() if request.skill else ""
        assert request.workspace is not None
        (request.workspace / "said.txt").write_text(text)
        time.sleep(0.01)
        return Outcome(Status.COMPLETED, "", "said", None, Usage(), True, "1", 0.0)


def has_rule(task: Task, workspace: Path, answer: str) -> Reward:
    """Full marks where the skill has the rule."""
    text = (workspace / "said.txt").read_text()
    return Reward(1.0 if "- the rule" in text and answer == "said" else 0.25, {}, "no rule")


def first_rule(edits: Any, briefing: Briefing) -> StageResult[tuple[Edit, ...]]:
    """A ranking that knows better."""
    return StageResult((Edit("append", "", "- the rule"),))


def after_one(state: State, spent: Spent) -> str:
    return "one is enough" if state.steps >= 1 else ""


OWN = {
    "harness.name": "tests.rollouts.test_plugins:Echo",
    "verifier": "tests.rollouts.test_plugins:has_rule",
    "train.stages": {"rank": "tests.rollouts.test_plugins:first_rule"},
    "stop": [{"kind": "custom", "path": "tests.rollouts.test_plugins:after_one"}],
}


def test_all_of_them_by_import_path(tmp_path: Path) -> None:
    seen: list[Event] = []
    result = train(small_config(tmp_path, **OWN), listeners=[seen.append])
    assert result.done and result.summary["stopped"] == "one is enough"
    assert result.best.body.endswith("- the rule")
    assert (result.summary["initial_score"], result.summary["best_score"]) == (0.0, 1.0)
    assert [event.step for event in seen if isinstance(event, StepDone)] == [1]
    rows = evaluate(
        small_config(tmp_path, **OWN), [result.folder, "none"], split="val", listeners=[]
    )
    assert [row.score.value for row in rows] == [1.0, 0.0]


def test_all_of_them_as_objects(tmp_path: Path) -> None:
    plugins = Plugins(Echo(), has_rule, {"rank": first_rule}, [after_one])
    config = small_config(tmp_path)
    result = train(config, plugins=plugins)
    assert result.summary["best_score"] == 1.0
    with pytest.raises(
        FingerprintError, match=r"own\.verifier: tests\.rollouts\.test_plugins:has_rule"
    ):
        train(config, plugins=Plugins(Echo(), stages={"rank": first_rule}, stop=[after_one]))


def test_a_verifier_that_raises_is_never_a_score(tmp_path: Path) -> None:
    def broken(task: Task, workspace: Path, answer: str) -> Reward:
        raise RuntimeError("no model loaded")

    def wild(task: Task, workspace: Path, answer: str) -> Reward:
        return Reward(7.0)

    config = small_config(tmp_path, rollout_tries=1)
    with pytest.raises(OwnCodeError, match="raised RuntimeError: no model loaded") as caught:
        train(config, plugins=Plugins(Echo(), broken))
    assert "in broken\n" in caught.value.traceback and "skillopt/" not in caught.value.traceback
    with pytest.raises(OwnCodeError, match=r"return a skillopt.Reward in \[0, 1\]"):
        train(config, plugins=Plugins(Echo(), wild), fork="wild")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"harness.name": "nowhere.at:all"}, "harness.name: nowhere.at:all: No module named"),
        (
            {"verifier": "tests.helpers.small:nothing"},
            "verifier: tests.helpers.small:nothing: module",
        ),
        (
            {"train.stages": {"rank": "tests.helpers.small:x"}},
            "train.stages.rank: tests.helpers.small:x",
        ),
        (
            {"stop": [{"kind": "custom", "path": "tests.helpers.small:x"}]},
            "stop: tests.helpers.small:x",
        ),
    ],
)
def test_a_path_that_leads_nowhere_is_named(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(PluginError) as caught:
        train(small_config(tmp_path, **settings))
    assert message in str(caught.value) and "PYTHONPATH" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"harness.name": "codx"}, "harness.name: 'codx' is not one of .*did you mean 'codex'"),
        ({"train.stages": {"rnak": "a:b"}}, r"train\.stages\.rnak"),
        ({"train.stages": {"rank": "no_colon"}}, "is not an import path"),
        ({"stop": [{"kind": "patience"}]}, "stop"),
        ({"train.update": "rewrites"}, r"train\.update: 'rewrites' is not one of"),
        ({"skill.init": "empty"}, "name: is required"),
        ({"skill.init": "empty", "skill.name": "x"}, "description: is required"),
    ],
)
def test_what_cannot_be_is_refused_by_the_config(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        small_config(tmp_path, **settings)


class Threshold:
    """A verifier with a setting."""

    def __init__(self, reward: float) -> None:
        self.reward = reward

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        return Reward(self.reward)


def fixed(task: Task, workspace: Path, answer: str, reward: float) -> Reward:
    return Reward(reward)


def captured(reward: float) -> Any:
    return lambda task, workspace, answer: Reward(reward)


def defined_again(reward: float) -> Any:
    space: dict[str, Any] = {"Reward": Reward}
    exec(f"def judge(task, workspace, answer):\n    return Reward({reward})\n", space)
    return space["judge"]


@pytest.mark.parametrize(
    "make", [Threshold, lambda r: partial(fixed, reward=r), captured, defined_again]
)
def test_a_corrected_verifier_is_another_one(make: Any, tmp_path: Path) -> None:
    """In one folder of runs: the old score is not found again, and the same verifier's is."""
    seen: list[Event] = []

    def score(reward: float) -> float:
        seen.clear()
        parts = Plugins(Echo(), make(reward))
        (row,) = evaluate(
            small_config(tmp_path), {"none": None}, split="val", plugins=parts,
            listeners=[seen.append],
        )  # fmt: skip
        return row.score.value

    def stored() -> list[bool]:
        return [event.stored for event in seen if isinstance(event, RolloutFinished)]

    assert (score(0.0), stored()) == (0.0, [False, False])
    assert (score(1.0), stored()) == (1.0, [False, False])
    assert (score(0.0), stored()) == (0.0, [True, True])
    assert (score(1.0), stored()) == (1.0, [True, True])


def test_a_verifier_that_cannot_be_identified_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    own = Threshold(1.0)
    with (tmp_path / "log").open("w") as log:
        own.__dict__["log"] = log
        for use in (train, lambda c, plugins: evaluate(c, {"none": None}, plugins=plugins)):
            with pytest.raises(PluginError, match=r"verifier: .*Threshold: its attribute 'log' is"):
                use(small_config(tmp_path), plugins=Plugins(Echo(), own))
        own.__dict__["version"] = "1"
        assert evaluate(small_config(tmp_path), {"none": None}, plugins=Plugins(Echo(), own))


def test_the_code_of_a_harness_makes_other_rollouts_and_the_same_run(tmp_path: Path) -> None:
    class Silent(Echo):
        def run(self, request: Request, site: RolloutSite) -> Outcome:
            return replace(super().run(request, site), answer="")

    config = small_config(tmp_path)
    before, after = Plugins(Echo(), has_rule), Plugins(Silent(), has_rule)
    keys = [
        [r.key for r in evaluate(config, {"none": None}, plugins=parts)[0].rollouts]
        for parts in (before, after, before)
    ]
    assert keys[0] == keys[2] and not set(keys[0]) & set(keys[1])
    train(config, plugins=replace(before, stop=[after_one]))
    seen: list[Event] = []
    train(config, plugins=replace(after, stop=[after_one]), listeners=[seen.append])
    (note,) = [event.text for event in seen if isinstance(event, Noted)]
    assert "own.harness" in note
