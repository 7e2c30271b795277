"""Tasks that only ask which skills are opened: when they are over, what they are worth, and where
they are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harnesses.base import Openings
from skillopt.core.skill import Skill, SkillError
from skillopt.core.types import Task, Triggers
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.triggers import check_names, opened_reward, openings, openings_with
from tests.helpers.tiny import Tiny, command, refused, tiny

__all__ = ["tiny"]

SKILLS = {"mine": {"My Skill"}, "other": {"other"}, "third": {"third"}}


def task(triggers: Triggers | None) -> Task:
    return Task(name="t", instruction="x", digest="1", triggers=triggers)


@pytest.mark.parametrize(
    ("triggers", "wanted", "unwanted"),
    [
        (Triggers(("mine",)), {"mine"}, set()),
        (Triggers(("My Skill",)), {"mine"}, set()),
        (Triggers(not_opened=("mine",)), set(), {"mine"}),
        (Triggers(("mine", "other"), ("third",)), {"mine", "other"}, {"third"}),
        (Triggers(("mine",), no_others=True), {"mine"}, {"other", "third"}),
        (Triggers(no_others=True), set(), {"mine", "other", "third"}),
        (Triggers(("mine",), ("mine",)), {"mine"}, set()),
        (Triggers(not_opened=("unknown",)), set(), set()),
        (Triggers(("absent",)), {"absent"}, set()),
    ],
)
def test_what_is_to_be_opened_by_the_names_of_folders(
    triggers: Triggers, wanted: set[str], unwanted: set[str]
) -> None:
    found = openings(task(triggers), SKILLS, 3)
    assert found == Openings(frozenset(wanted), frozenset(unwanted), 3)


WANTED = Openings(frozenset({"mine"}), frozenset({"third"}), 3)
BOTH = Openings(frozenset({"mine", "other"}), frozenset(), 3)
NONE = Openings(frozenset(), frozenset({"mine"}), 3)


@pytest.mark.parametrize(
    ("until", "opened", "decided", "reward", "said"),
    [
        (WANTED, {"mine"}, True, 1, ""),
        (WANTED, set(), False, 0, "did not open mine, which is for this"),
        (WANTED, {"other"}, False, 0, "did not open mine, which is for this; opened other instead"),
        (WANTED, {"third"}, True, 0, "opened third, which is not for this"),
        (WANTED, {"mine", "third"}, True, 0, "opened third, which is not for this"),
        (WANTED, {"mine", "other"}, True, 1, ""),
        (BOTH, {"mine"}, False, 0, "did not open other"),
        (BOTH, {"mine", "other"}, True, 1, ""),
        (NONE, set(), False, 1, ""),
        (NONE, {"other"}, False, 1, ""),
        (NONE, {"mine"}, True, 0, "opened mine, which is not for this"),
    ],
)
def test_each_opening(
    until: Openings, opened: set[str], decided: bool, reward: float, said: str
) -> None:
    assert until.decided(frozenset(opened)) is decided
    found = opened_reward(until, opened, "mine")
    assert found.soft == found.hard == reward and said in found.feedback
    assert bool(found.feedback) is not bool(reward)
    should = "mine" in until.wanted
    assert found.metrics == {"should_open": float(should), "opened": float("mine" in opened)}


@pytest.mark.parametrize("skill", [None, "other"])
def test_a_skill_that_the_task_does_not_name_has_no_metrics(skill: str | None) -> None:
    assert opened_reward(WANTED, {"other"}, skill).metrics == {}


def test_a_task_for_a_skill_that_the_agent_does_not_have_is_refused() -> None:
    check_names(task(Triggers(("mine",), ("unknown",))), SKILLS)
    check_names(task(None), SKILLS)
    with pytest.raises(TaskError, match="t: absent is to be opened, and the agent has mine"):
        check_names(task(Triggers(("absent",))), SKILLS)
    with pytest.raises(TaskError, match="t: a, b is to be opened, and the agent has no skill; nam"):
        check_names(task(Triggers(("b", "a"))), {})


def test_the_openings_with_some_skills() -> None:
    mine, other = Skill("mine", "M.", "- M"), Skill("other", "O.", "- O")
    wanted = task(Triggers(("mine",), no_others=True))
    assert openings_with(wanted, mine, (other,), 2) == Openings(
        frozenset({"mine"}), frozenset({"other"}), 2
    )
    # Without the skill, what it is wanted for is not solved.
    assert openings_with(wanted, None, (other,), 2).wanted == {"mine"}
    with pytest.raises(TaskError, match="mine is to be opened"):
        openings_with(wanted, other, (), 2)
    with pytest.raises(SkillError, match="mine: has no text below the front matter"):
        openings_with(wanted, Skill("mine", "M.", ""), (), 2)


QUERIES = [{"query": f"Do {n}.", "should_trigger": n % 2 == 0} for n in range(6)]


def asked(tiny: Tiny, **settings: Any) -> Tiny:
    """The tiny training, whose tasks are queries for its skill."""
    tiny.put("my-skill/evals/trigger-queries.json", json.dumps(QUERIES))
    tiny.settings.pop("verifier")
    tiny.settings["train"].pop("stages")
    tasks = {"source": "my-skill", "split": [1, 1, 1]}
    own = {"tasks": tasks, "harness": {"name": "codex"}, "sandbox": {"kind": "docker"}}
    tiny.write(**own | settings)
    return tiny


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"harness": {"name": "direct"}}, "direct chat opens none: it always has the skill"),
        ({"harness": {"name": "codex", "mount": "instructions"}}, "harness.mount: instructions"),
        ({"harness": {"name": "codex", "mount": "both"}}, "harness.mount: both"),
        ({"triggers": {"calls": 0}}, "triggers.calls"),
        ({"triggers": {"call": 3}}, "did you mean 'calls'"),
        ({"train": {"only": "body"}}, "train.only: 'body' is not one of"),
        (
            {"tasks": {"source": "my-skill", "options": {"triggers": "leave_out"}}},
            "no case in it can be scored",
        ),
        (
            {"tasks": {"source": "my-skill", "options": {"triggers": "no"}}},
            "tasks.options.triggers",
        ),
    ],
)
def test_where_no_skill_is_opened_such_tasks_are_refused(
    settings: dict[str, Any], message: str, tiny: Tiny
) -> None:
    asked(tiny, **settings)
    refused(tiny.train("--dry-run"), message)


def test_training_the_description_alone_is_planned_as_that(tiny: Tiny) -> None:
    asked(tiny)
    train = {**tiny.settings["train"], "slow_update": True, "meta_skill": True, "epochs": 3}
    tiny.write(train=train)
    whole = json.loads(command("train", tiny.config, "--dry-run", "--json").stdout)
    done = command("train", tiny.config, "--dry-run", "--json", "--only", "description")
    assert done.returncode == 0, done.stderr
    alone = json.loads(done.stdout)
    stages = {stage["stage"]: stage["calls"] for stage in alone["stages"] if stage["calls"]}
    assert stages == {"reflect": 2 * alone["steps"]}
    assert {"slow", "merge", "rank"} <= {stage["stage"] for stage in whole["stages"]}
    refused(tiny.train("--only", "body"), "--only")


def test_a_skill_without_front_matter_has_no_description_to_train(tiny: Tiny) -> None:
    asked(tiny)
    tiny.put("my-skill/SKILL.md", "# Rules\n")
    refused(tiny.train("--dry-run", "--only", "description"), "it has no front matter")


def test_a_verifier_of_the_users_own_judges_such_tasks_instead(tiny: Tiny) -> None:
    asked(tiny, verifier="own:judge")
    tiny.write(harness={"name": "direct"})
    assert tiny.train("--dry-run").returncode == 0
