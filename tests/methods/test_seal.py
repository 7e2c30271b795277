"""What a method gets: training tasks, a counted runner, a recorded model, and no more."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from skillopt import Plugins, RunResult, train
from skillopt.config.inputs import read_config
from skillopt.core.import_path import OwnCodeError
from skillopt.run.journal import LOG
from tests.helpers.conversation import Says
from tests.helpers.tiny import Tiny, tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

METHOD = '''
from dataclasses import replace

from skillopt.training.method import Estimate

SEEN = {{}}


class Mine:
    """Does what a test says."""

    def estimate(self, config, splits):
        SEEN["estimate"] = splits
        return Estimate(steps=1)

    def run(self, training):
        SEEN["training"] = training
{body}
'''


def run(tiny: Tiny, body: str, says: Says | None = None, **settings: Any) -> RunResult:
    """Train with a method whose ``run`` has this body."""
    lines = [f"        {line}" for line in body.strip().splitlines()]
    tiny.own(METHOD.format(body="\n".join(lines)))
    tiny.write(method__kind="own:Mine", **settings)
    if says is not None:
        tiny.write(optimizer={"upstream": "says", "name": "m"}, upstreams__says={"kind": "sim"})
    plugins = Plugins(upstreams={"says": says} if says else {})
    return train(read_config(tiny.config), plugins=plugins)


def seen() -> dict[str, Any]:
    found: dict[str, Any] = sys.modules["own"].SEEN
    return found


def test_of_tasks_that_decide_there_are_names_and_scores(tiny: Tiny) -> None:
    run(
        tiny,
        """
SEEN["splits"] = training.splits
SEEN["names"] = training.selection
better = replace(training.initial, body=training.initial.body + "\\n- rule 1")
SEEN["scores"] = training.select(better)
SEEN["some"] = training.select(better, ["val-2", "val-1"])
return training.choose(better, "done", 0.5)
""",
    )
    assert list(seen()["splits"]) == ["train"]
    assert [task.name for task in seen()["splits"]["train"]] == ["train-0", "train-1", "train-2"]
    assert seen()["names"] == ("val-0", "val-1", "val-2")
    assert [(one.task, one.score) for one in seen()["scores"]] == [
        ("val-0", 0.0), ("val-1", 1.0), ("val-2", 0.0)
    ]  # fmt: skip
    assert [one.score for one in seen()["some"]] == [0.0, 1.0]
    for split in ("val", "test"):
        tasks = seen()["estimate"][split]
        assert [task.name for task in tasks] == [f"{split}-{n}" for n in range(3)]
        assert not any(task.instruction or task.digest or task.folder.is_dir() for task in tasks)
    assert tiny.summary["best_score"] == pytest.approx(1 / 3)  # As measured, whatever was said.


def test_feedback_on_tasks_that_decide_has_no_answers(tiny: Tiny) -> None:
    source = """
import hashlib


def source(config, folder):
    from skillopt import Reward, Task

    def task(split, number):
        word = hashlib.sha256(f"{split}{number}".encode()).hexdigest()[:12]

        def judge(task, workspace, answer, rollout):
            return Reward(0.0, {}, f"{split}: expected {word}, got nothing")

        return Task(
            name=f"{split}-{number}", instruction=f"Do {split} {number}.", digest=word,
            answers=(word,), workspace=lambda folder: None, verify=judge,
        )

    return {split: [task(split, n) for n in range(3)] for split in ("train", "val", "test")}
"""
    body = """
SEEN["val"] = [one.feedback for one in training.select(training.initial)]
done = training.rollouts(training.initial, training.train)
SEEN["train"] = [training.feedback(one) for one in done]
SEEN["shown"] = [training.show(one, training.initial) for one in done]
return training.choose(training.initial, "done")
"""
    settings: dict[str, Any] = {"tasks": {"source": "own:source"}, "verifier": None}
    for sees in (False, True):
        lines = [f"        {line}" for line in body.strip().splitlines()]
        tiny.own(METHOD.format(body="\n".join(lines)) + source)
        tiny.write(method__kind="own:Mine", optimizer__sees_answers=sees, name=f"sees-{sees}")
        tiny.write(**settings)
        train(read_config(tiny.config))
        withheld = ["expected answer withheld" in text for text in seen()["val"]]
        assert withheld == [True] * 3  # Whatever the optimizer may see of training tasks.
        assert all("withheld" in text for text in seen()["train"]) is not sees
        assert all("Expected" in text for text in seen()["shown"]) is sees


def test_only_training_tasks_are_run(tiny: Tiny) -> None:
    with pytest.raises(OwnCodeError, match="'val-0' is no training task"):
        run(tiny, 'return str(training.rollouts(training.initial, SEEN["estimate"]["val"]))')


def test_a_fresh_sample_is_a_new_repetition(tiny: Tiny) -> None:
    run(
        tiny,
        """
skill, (one, *_) = training.initial, training.train
first = training.rollouts(skill, [one, one])
again = training.rollouts(skill, [one])
fresh = training.rollouts(skill, [one, one], fresh=True)
SEEN["keys"] = [rollout.key for rollout in (*first, *again, *fresh)]
SEEN["asked"] = training.asked
training.select(skill)
training.select(skill, fresh=True)
SEEN["with selection"] = training.asked
return training.choose(skill, "done")
""",
    )
    keys = seen()["keys"]
    assert keys[0] == keys[1] == keys[2] and len(set(keys)) == 3
    numbers = [json.loads((tiny.store / k[:2] / k / "result.json").read_text()) for k in keys[3:]]
    assert [found["identity"]["replicate"] for found in numbers] == [1, 2]
    assert seen()["asked"] == 3
    # The first selection scores are the baseline's, and the second are asked for anew.
    assert seen()["with selection"] == 3 + 3 + 3
    assert tiny.summary["rollouts_asked"] == 9


def test_what_is_said_is_recorded_priced_and_requested_once(tiny: Tiny) -> None:
    says = Says(lambda prompt: f"reply\x1b[31m to {prompt}")
    body = """
SEEN["replies"] = [
    training.say("", "a"),
    training.say("", "a"),
    training.say("be brief", "a", about="x", stage="apply"),
    training.say("be brief", "a", about="x", stage="apply"),
]
return training.choose(training.initial, "done")
"""
    run(tiny, body, says)
    assert seen()["replies"] == ["reply to a"] * 2 + ["reply to be brief\na"] * 2
    assert says.prompts == ["a", "a", "be brief\na"]  # By default each call is one of its own.
    replies = tiny.events("replied")
    assert [(r["stage"], r["about"], json.loads(r["reply"])) for r in replies] == [
        ("reflect", "call 1", "reply to a"),
        ("reflect", "call 2", "reply to a"),
        ("apply", "x", "reply to be brief\na"),
    ]
    assert tiny.summary["spent"]["stages"]["reflect"]["tokens"] == 40
    log = tiny.run / LOG
    kept = [line for line in log.read_text().splitlines() if '_done"' not in line]
    log.write_text("\n".join(kept) + "\n")
    run(tiny, body, says)
    assert len(says.prompts) == 3


def test_limits_hold_for_whoever_asks(tiny: Tiny) -> None:
    body = """
for _ in range(20):
    training.begin_step()
    training.rollouts(training.initial, training.train, fresh=True)
    training.end_step(training.initial, None, "nothing")
return "never"
"""
    result = run(tiny, body, limits={"rollouts": 10})
    assert not result.done and "limits.rollouts" in tiny.summary["stopped"]
    assert tiny.summary["spent"]["rollouts"] == 10
    assert tiny.summary["steps"] == 2 and tiny.summary["rollouts_asked"] == 9


@pytest.mark.parametrize(
    ("settings", "reason", "steps"),
    [
        ({"method__rollouts": 6}, "method.rollouts: 6 of 6 rollouts asked for", 2),
        (
            {"method__rollouts": 7},
            "method.rollouts: 9 of 7 rollouts asked for, 2 more than allowed",
            3,
        ),
        ({"stop": [{"kind": "no_accept", "steps": 4}]}, "4", 4),
    ],
)
def test_a_step_begins_unless_the_budget_or_a_stop_condition_ends_it(
    tiny: Tiny, settings: dict[str, Any], reason: str, steps: int
) -> None:
    body = """
while not (reason := training.begin_step()):
    training.rollouts(training.initial, training.train, fresh=True)
    training.end_step(training.initial, None, "nothing")
return training.choose(training.initial, reason)
"""
    run(tiny, body, **settings)
    assert reason in tiny.summary["stopped"] and tiny.summary["steps"] == steps
    assert tiny.summary["rollouts_asked"] == 3 * steps
    (done,) = tiny.events("method_done")
    assert (done["asked"], done["budget"]) == (3 * steps, settings.get("method__rollouts"))


def test_a_result_that_cannot_be_run_is_replaced_and_said(tiny: Tiny) -> None:
    tiny.put("other/SKILL.md", "---\nname: other\ndescription: d\n---\n\nOther.\n")
    body = """
bad = replace(training.initial, name="other")
SEEN["scores"], SEEN["asked"] = training.select(bad), training.asked
return training.choose(bad, "done")
"""
    result = run(tiny, body, skill__beside=["other"])
    assert [one.score for one in seen()["scores"]] == [0.0] * 3 and seen()["asked"] == 0
    assert "named 'other' like the skill itself" in seen()["scores"][0].feedback
    assert result.best == result.initial and tiny.summary["accepted"] == 0
    assert "the method's result cannot be used" in json.dumps(tiny.events("noted"))


def test_what_an_edit_could_not_have_is_a_note(tiny: Tiny) -> None:
    body = """
long = replace(training.initial, body=training.initial.body + "\\n- word" * 3000)
return training.choose(long, "done")
"""
    result = run(tiny, body)
    assert "- word" in result.best.body  # Published methods know no limit.
    notes = json.dumps(tiny.events("noted"))
    assert "which an edit could not have" in notes and "skill.max_tokens" in notes
    assert "skill.max_tokens" in tiny.events("method_done")[0]["findings"][0]


@pytest.mark.parametrize("budget", [1, 9, 10])
def test_skillopt_has_the_same_budget(tiny: Tiny, budget: int) -> None:
    """The baseline is its own, as its gate compares with it; then 3 rollouts a step and the
    gate's."""
    method = {"kind": "skillopt", "rollouts": budget}
    tiny.write(method=method, gate={"kind": "strict"}, train__epochs=3)
    assert tiny.train().returncode == 0
    asked = tiny.summary["rollouts_asked"]
    keys = {key for record in tiny.events("rollouts_asked") for key in record["keys"]}
    assert len(keys) == tiny.summary["spent"]["rollouts_asked"]
    assert f"method.rollouts: {asked} of {budget} rollouts asked for" in tiny.summary["stopped"]
    assert tiny.summary["steps"] == {1: 0, 9: 1, 10: 2}[budget]
