"""What may still change when a run is resumed: what its finished part did not depend on."""

from __future__ import annotations

from typing import Any

import pytest

from harnesses.base import Usage
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.resources import resource
from skillopt.rollouts.upstreams import service_of
from skillopt.run.records import (
    BaselineDone,
    EpochDone,
    MethodDone,
    Replied,
    RunCreated,
    RunDone,
    StageStarted,
)
from skillopt.run.state import State, fold
from skillopt.training.fingerprint import SHOWN, FingerprintError, Since, changes, since


def replied(reply: str | None = "{}") -> Replied:
    return Replied(id="i", stage="reflect", step=1, about="a", reply=reply, usage=Usage())


def epoch(number: int, notes: str = "") -> EpochDone:
    return EpochDone(
        epoch=number, step=number, pairs={}, action="off", candidate=None, gate=None,
        rejected=None, notes=notes, row={},
    )  # fmt: skip


CREATED = RunCreated(format=1, name="r", config={}, fingerprint={"skill.digest": "d"}, splits={})
DRAFTED = CREATED.model_copy(update={"fingerprint": {"skill.draft.name": "mine"}})
BASELINE = BaselineDone(skill="s0", score=0.5, rollouts=[])
STEP = StageStarted(stage="rollout", epoch=1, step=1, total=1)
BEFORE_STEPS = StageStarted(stage="baseline", total=1)
CHOSEN = MethodDone(skill="s1", score=0.5, asked=1, budget=None, reason="")
PAIRS = StageStarted(stage="pairs", epoch=1, step=2, total=1)
DONE = RunDone(reason="", final_selection=0.5, test={}, test_rollouts={})


@pytest.mark.parametrize(
    ("key", "records", "free"),
    [
        # Until something depends on it, all may change.
        ("harness.version", [], True),
        ("harness.version", [BEFORE_STEPS], True),
        ("harness.version", [BASELINE], False),
        ("gate.metric", [BASELINE], False),
        ("gate.kind", [BASELINE], True),
        ("gate.kind", [BASELINE, BEFORE_STEPS], True),
        ("gate.kind", [BASELINE, STEP], False),
        ("gate.kind", [BASELINE, CHOSEN], False),
        ("train.batch_size", [BASELINE, STEP], False),
        ("tasks.val.a", [BASELINE], False),
        ("tasks.train.a", [BASELINE], True),
        ("tasks.train.a", [BASELINE, STEP], False),
        ("own.verifier", [BASELINE], False),
        ("own.harness", [BASELINE, STEP, DONE], True),
        ("own.gate", [BASELINE, STEP], False),
        # The optimizer counts from its first reply on.
        ("optimizer.name", [BASELINE, STEP], True),
        ("optimizer.name", [BASELINE, STEP, replied(None)], True),
        ("optimizer.name", [BASELINE, STEP, replied()], False),
        # What an epoch's end does, from the first that compares on.
        ("train.slow_update", [BASELINE, STEP, epoch(1)], True),
        ("train.slow_update", [BASELINE, STEP, epoch(1), epoch(2)], False),
        ("train.slow_update", [BASELINE, STEP, PAIRS], False),
        ("train.slow_update", [BASELINE, STEP, epoch(1, "notes")], True),
        ("train.meta_skill", [BASELINE, STEP, epoch(1, "notes")], False),
        ("own.stages.meta", [BASELINE, STEP, epoch(1, "notes")], False),
        ("own.stages.slow", [BASELINE, STEP, epoch(1, "notes")], True),
        # The test, when all is done.
        ("tasks.test.a", [BASELINE, STEP, epoch(1), epoch(2)], True),
        ("tasks.test.a", [BASELINE, STEP, DONE], False),
        ("final.test", [BASELINE, STEP, DONE], False),
        # A draft of the initial skill depends on what drafted it.
        ("seed", [CREATED, BASELINE], True),
        ("seed", [DRAFTED, BASELINE], False),
        ("optimizer.sampling.top_p", [DRAFTED, BASELINE], False),
        ("tasks.train.a", [DRAFTED, BASELINE], False),
        ("train.batch_size", [DRAFTED, BASELINE], True),
    ],
)  # fmt: skip
def test_a_key_may_change_until_something_depends_on_it(
    key: str, records: list[Any], free: bool
) -> None:
    state = fold(records)
    if free:
        assert changes({key: 1, "skillopt": "1"}, {key: 2, "skillopt": "1"}, state, "r") == {
            key: [1, 2]
        }
    else:
        with pytest.raises(FingerprintError, match=f"r: this run .*\n  {key}: 1 -> 2\n"):
            changes({key: 1}, {key: 2}, state, "r")
    assert changes({key: 1}, {key: 1}, state, "r") == {}


def test_a_key_that_is_new_or_gone_is_a_difference_too() -> None:
    state = State()
    found = changes({"seed": 1, "edits.max_tokens": 5}, {"seed": 1, "gate.kind": "x"}, state, "r")
    assert found == {"edits.max_tokens": [5, None], "gate.kind": [None, "x"]}


@pytest.mark.parametrize(
    ("count", "more"), [(1, ""), (SHOWN, ""), (SHOWN + 1, "… and 1 more"), (20, "… and 8 more")]
)
def test_many_differences_are_counted(count: int, more: str) -> None:
    before = {f"harness.options.{n:02}": 1 for n in range(count)}
    now = dict.fromkeys(before, 2)
    with pytest.raises(FingerprintError) as caught:
        changes(before, now, fold([BASELINE]), "r")
    lines = str(caught.value).splitlines()
    assert sum("1 -> 2" in line for line in lines) == min(count, SHOWN)
    assert [line.strip() for line in lines if "more" in line] == ([more] if more else [])


@pytest.mark.parametrize(
    ("key", "judged"),
    [("own.verifier", True), ("tasks.val.a", True), ("judge.model", True), ("seed", False)],
)
def test_what_may_be_judged_again_is_said_to_be(key: str, judged: bool) -> None:
    with pytest.raises(FingerprintError) as caught:
        changes({key: 1}, {key: 2}, fold([BASELINE, STEP]), "runs/r")
    assert ("skillopt rejudge runs/r" in str(caught.value)) is judged


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("gate.metric", Since.BASELINE), ("gate", Since.STEPS), ("gate.block", Since.STEPS),
        ("train.slow_tasks", Since.EPOCH_ENDS), ("train", Since.STEPS), ("final.x", Since.TEST),
        ("tasks.test.x", Since.TEST), ("own.harness", Since.NEVER), ("own.x", Since.STEPS),
        ("own.stages.slow", Since.EPOCH_ENDS), ("own.stages.rank", Since.STEPS),
    ],
)  # fmt: skip
def test_the_longest_beginning_of_a_key_counts(key: str, part: Since) -> None:
    assert since(key) is part


@pytest.mark.parametrize(
    ("setting", "decides"),
    [
        ({"key_env": "OTHER_KEY"}, False),
        ({"max_concurrency": 3}, False),
        ({"base_url": "http://other.example/v1"}, True),
        ({"kind": "anthropic"}, True),
    ],
)
def test_what_pays_for_a_service_is_not_what_it_answers(
    setting: dict[str, Any], decides: bool
) -> None:
    base = {"kind": "openai-compatible", "base_url": "http://a.example/v1", "key_env": "A_KEY"}

    def service(**changed: Any) -> dict[str, Any]:
        config = config_with({**base, **changed})
        return service_of(config, config.target, {})

    assert (service(**setting) != service()) is decides
    own = service_of(
        config_with(base),
        config_with(base).target,
        {"upstreams.up": "digest", "upstreams.other": "no"},
    )
    assert own["own"] == "digest" and "own" not in service()


def config_with(upstream: dict[str, Any]) -> Config:
    """The quickstart's config with a service for its target."""
    settings = {"upstreams": {"up": upstream}, "target.upstream": "up", "optimizer.upstream": "up"}
    return load_config(resource("configs") / "quickstart" / "local.yaml", Config, settings)
