"""The description alone: what the optimizer is shown, and which replies change the skill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harnesses.base import Status
from skillopt.core.skill import Layout, Skill, SkillError
from skillopt.core.types import Rollout
from skillopt.optimizer.describe import check_description, describe
from skillopt.optimizer.model import StageResult
from tests.helpers.values import SKILL, ScriptedOptimizer, a_briefing, a_rollout, a_task

MISSED = a_rollout(
    a_task("1", "Add the amounts."),
    0.0,
    "did not open house-rules, which is for this",
    activated=False,
)
WON = a_rollout(a_task("2", "Draw a chart."), 0.0, "opened house-rules, which is not for this")
RIGHT = a_rollout(a_task("3", "Reconcile."), 1.0)
OTHER = a_rollout(a_task("4", "Tag it."), 1.0, activated=False).model_copy(
    update={"others_opened": ("release",)}
)


def described(
    reply: dict[str, Any] | None, *rollouts: Rollout, **options: Any
) -> tuple[StageResult[Skill], list[str]]:
    model = ScriptedOptimizer(**({"reflect": reply} if reply else {}))
    found = describe(rollouts or (MISSED, RIGHT), a_briefing(model, **options), start=SKILL)
    return found, model.prompts["reflect"]


def test_requests_are_shown_with_what_was_opened_for_them() -> None:
    reply = {"reasoning": "r", "description": "Use it for amounts."}
    found, (prompt,) = described(reply, MISSED, WON, RIGHT, OTHER)
    assert found.value == replace(SKILL, description="Use it for amounts.")
    wrong, right = prompt.split("## Decided wrongly")[1].split("## Decided rightly")
    assert "Opened no skill (did not open house-rules" in wrong and "Add the amounts." in wrong
    assert "Opened this skill (opened house-rules, which is not" in wrong
    assert "Opened this skill:" in right and "Opened release:" in right and "Tag it." in right


@pytest.mark.parametrize(
    ("description", "problem"),
    [
        ("Use it for amounts.", ""),
        ("  Use it\n for   amounts. ", ""),
        ("x" * 1024, ""),
        ("x" * 1025, "1025 characters, and 1024 are allowed"),
        ("", "the description is empty"),
        (" \n ", "the description is empty"),
        ("Use it \x1b[31m now.", "control characters"),
    ],
)
def test_each_description(description: str, problem: str) -> None:
    found, prompts = described({"reasoning": "r", "description": description})
    if problem:
        assert found.value == SKILL and problem in found.errors[0]
        assert len(prompts) == 2 and problem in prompts[1] and problem not in prompts[0]
    else:
        assert found.value.description == " ".join(description.split())
        assert found.value.body == SKILL.body and not found.errors and len(prompts) == 1


class Guard:
    """Knows one word of a task."""

    def refusal(self, before: Skill, after: Skill) -> str:
        return "it copies a word" if "quicksilver" in after.description else ""


@pytest.mark.parametrize(
    ("description", "max_tokens", "problem"),
    [
        ("Use it for amounts.", 1000, ""),
        ("Use it for quicksilver.", 1000, "it copies a word"),
        ("Use it for amounts. " * 20, 60, "the skill would be longer"),
    ],
)
def test_a_description_passes_the_guard_of_all_edits(
    description: str, max_tokens: int, problem: str
) -> None:
    reply = {"reasoning": "r", "description": description}
    found, prompts = described(reply, guard=Guard(), max_tokens=max_tokens)
    assert (found.value == SKILL) is bool(problem) and len(prompts) == (2 if problem else 1)
    assert problem in found.errors[0] and problem in prompts[1] if problem else not found.errors


def test_a_request_that_was_not_scored_is_neither_right_nor_wrong() -> None:
    lost = WON.model_copy(update={"status": Status.INFRA_ERROR})
    reply = {"reasoning": "r", "description": "Use it for amounts."}
    found, prompts = described(reply, lost, RIGHT)
    assert found.value == SKILL and not prompts
    found, (prompt,) = described(reply, lost, MISSED, RIGHT)
    assert "Draw a chart." not in prompt and found.calls[0].about == "1 of 2 requests"


def test_a_malformed_reply_changes_nothing() -> None:
    found, _ = described(None)
    assert found.value == SKILL and "malformed reply" in found.errors[0]


def test_where_all_was_right_nobody_is_asked() -> None:
    found, prompts = described({"reasoning": "r", "description": "x"}, RIGHT, OTHER)
    assert found.value == SKILL and not prompts and not found.calls


def test_fields_of_the_skill_that_the_reply_has_no_place_for_stay() -> None:
    files = {"references/a.md": b"a\n"}
    start = replace(SKILL, files=files, extra={"license": "MIT"})
    reply = {"reasoning": "r", "description": "Use it for amounts."}
    made = describe([MISSED], a_briefing(ScriptedOptimizer(reflect=reply)), start=start).value
    assert made == replace(start, description="Use it for amounts.")


def test_a_skill_without_text_cannot_be_seen_to_be_opened() -> None:
    with pytest.raises(SkillError, match="house-rules has no text below the front matter"):
        check_description(replace(SKILL, body=" \n"))


def test_plain_markdown_has_no_place_for_a_description() -> None:
    check_description(SKILL)
    with pytest.raises(SkillError, match="mine has no front matter"):
        check_description(Skill("mine", "Rules", "# Rules", layout=Layout("# Rules\n")))
