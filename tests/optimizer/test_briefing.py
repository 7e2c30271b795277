"""What a briefing asks, shows and refuses, for all stages alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from skillopt.core.types import Task
from skillopt.optimizer.model import OptimizerRefusedError, OptimizerReplyError
from skillopt.optimizer.render import view
from skillopt.optimizer.replies import Repair
from tests.helpers.values import PROMPTS, SKILL, a_briefing, a_rollout, a_task

NOTHING = {"reasoning": "", "edits": []}


class Asked:
    """An optimizer that keeps what it is asked, and refuses the first prompts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.abouts: list[str] = []
        self.prompts: list[str] = []

    def ask(self, stage: str, about: str, system: str, prompt: str, schema: Any) -> Any:
        self.abouts.append(about)
        self.prompts.append(prompt)
        if self.errors:
            raise self.errors.pop(0)
        return schema.model_validate(NOTHING)


class Guard:
    """Knows one word that belongs to a task."""

    def refusal(self, before: object, after: Any) -> str:
        return "it copies a word" if "quicksilver" in after.body else ""

    def redact(self, task: Task, text: str) -> str:
        return text.replace("quicksilver", f"[withheld of {task.name}]")

    def answers(self, task: Task, tokens: int) -> str:
        return f"quicksilver, {tokens}"


@pytest.mark.parametrize(
    ("number", "about"), [(1, "this"), (2, "candidate 2, this"), (3, "candidate 3, this")]
)
def test_each_candidate_but_the_first_has_questions_of_its_own(number: int, about: str) -> None:
    model = Asked()
    briefing = a_briefing(model).again(number)
    briefing.ask("apply", "this", "repair", Repair, {"refused": [], "budget": 1})
    assert model.abouts == [about]


@pytest.mark.parametrize("files", [True, False])
def test_a_question_shows_the_skill_that_it_is_about_with_its_files(files: bool) -> None:
    model = Asked()
    old = replace(SKILL, files={"references/a.md": b"of the old one"})
    new = replace(old, body="# Newer", files={"references/a.md": b"of the new one"})
    briefing = a_briefing(model, skill=old, edit_files=files)
    values = {"refused": [], "budget": 1}
    briefing.ask("apply", "this", "repair", Repair, values, skill=new)
    briefing.ask("apply", "this", "repair", Repair, values)
    about_new, about_old = model.prompts
    assert "# Newer" in about_new and SKILL.body not in about_new
    assert SKILL.body in about_old and "# Newer" not in about_old
    assert ("of the new one" in about_new) is ("of the old one" in about_old) is files
    assert "of the old one" not in about_new and "of the new one" not in about_old


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ("Short.", []),
        ("quicksilver", ["it copies a word"]),
        ("long " * 200, ["the skill would be longer"]),
        ("quicksilver " * 100, ["the skill would be longer", "it copies a word"]),
    ],
)
@pytest.mark.parametrize("guarded", [True, False])
def test_all_reasons_to_refuse_a_change_are_told(
    body: str, reasons: list[str], guarded: bool
) -> None:
    guard: Any = Guard() if guarded else None
    briefing, after = a_briefing(Asked(), guard=guard, max_tokens=60), replace(SKILL, body=body)
    expected = [r for r in reasons if guarded or "copies" not in r]
    found = briefing.refusals(SKILL, after)
    assert len(found) == len(expected)
    assert all(text.startswith(r) for text, r in zip(found, expected, strict=True))
    assert briefing.refusal(SKILL, after) == (found[0] if found else "")


@pytest.mark.parametrize(
    ("refused", "abouts", "shares"),
    [
        (0, ["this"], [1.0]),
        (1, ["this", "this, 50% of the material"], [1.0, 0.5]),
        (2, ["this", "this, 50% of the material", "this, 20% of the material"], [1.0, 0.5, 0.2]),
    ],
)
def test_a_refused_prompt_is_asked_again_with_less(
    refused: int, abouts: list[str], shares: list[float]
) -> None:
    model, given = Asked(*[OptimizerRefusedError("too long")] * refused), list[float]()
    assert _ask_fitting(model, given).edits == []
    assert (model.abouts, given) == (abouts, shares)


@pytest.mark.parametrize(
    ("errors", "asked"),
    [
        ([OptimizerRefusedError("too long")] * 3, 3),
        # A reply that cannot be read is no reason to show less.
        ([OptimizerReplyError("malformed")], 1),
        ([OptimizerRefusedError("too long"), OptimizerReplyError("malformed")], 2),
    ],
)
def test_what_no_shorter_prompt_mends_is_raised(errors: Sequence[Exception], asked: int) -> None:
    model = Asked(*errors)
    with pytest.raises(type(errors[-1])):
        _ask_fitting(model, [])
    assert len(model.abouts) == asked


def _ask_fitting(model: Asked, given: list[float]) -> Repair:
    def values(share: float) -> dict[str, object]:
        given.append(share)
        return {"refused": [], "budget": 1}

    return a_briefing(model).ask_fitting("apply", "this", "repair", Repair, values)


@pytest.mark.parametrize(
    ("guarded", "sees_answers", "feedback", "answers"),
    [
        (True, True, "not quicksilver", "quicksilver, 300"),
        (True, False, "not [withheld of t]", ""),
        (False, True, "not quicksilver", ""),
        (False, False, "not quicksilver", ""),
    ],
)
def test_answers_are_shown_or_withheld(
    guarded: bool, sees_answers: bool, feedback: str, answers: str
) -> None:
    guard: Any = Guard() if guarded else None
    briefing = a_briefing(Asked(), guard=guard, sees_answers=sees_answers)
    shown = briefing.view(a_rollout(a_task("t"), feedback="not quicksilver"))
    assert (shown.feedback, shown.expected) == (feedback, answers)


@pytest.mark.parametrize(
    ("given", "shown"), [(None, "the verifier's"), ("", ""), ("redacted", "redacted")]
)
def test_feedback_that_may_not_be_seen_is_not_seen(given: str | None, shown: str) -> None:
    """Also if nothing is left of it."""
    rollout = a_rollout(a_task("t"), feedback="the verifier's")
    assert view(rollout, SKILL, feedback=given).feedback == shown


def test_what_is_not_solved_of_a_step_has_failed() -> None:
    assert a_briefing(Asked(), ran=7, solved=3, prompts=PROMPTS).failed == 4
