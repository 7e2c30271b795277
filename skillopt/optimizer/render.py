"""A rollout as the optimizer reads it: text within a token budget, the most important first.

Everything that an agent or a tool wrote is untrusted: it is fenced and cleaned here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from skillopt.core.logs import excerpt
from skillopt.core.skill import Skill
from skillopt.core.text import CHARS_PER_TOKEN, estimate_tokens, without_escapes
from skillopt.core.types import Rollout
from skillopt.optimizer.steps import ShownStep, agent_steps, render_steps

SKILL_NOTE = "[the skill's text, which stands above]"
ANSWER_NOTE = "[the final answer, which stands above]"
REPEATED_LINES, REPEATED_CHARS = 4, 200
"""The least of a passage that is replaced by a reference to an earlier rollout."""
_LINE_NUMBER = re.compile(r"^\s*\d+\s*[→│|:\t]\s?")


def clip(text: str, tokens: int) -> str:
    """Head and tail of a text that is longer than ``tokens``, with a note on what is left out."""
    room = max(tokens, 0) * CHARS_PER_TOKEN
    if len(text) <= room:
        return text
    head = room * 2 // 3
    tail = room - head
    left_out = len(text) - room
    return f"{text[:head]}\n[… {left_out} characters left out …]\n{text[len(text) - tail :]}"


def fenced(text: str) -> str:
    """A text in a code fence that it cannot close: longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, text.rstrip("\n"), fence])


@dataclass(frozen=True)
class View:
    """One rollout as far as the optimizer may see it, before it is cut to a budget.

    Args:
        head: how it ended, its score, and whether the skill was opened, as a Markdown list.
        feedback: the verifier's.
        expected: the expected answers, if the config shows them.
        task: the user's messages.
        answer: the agent's last words.
        steps: what the agent did.
    """

    head: str
    feedback: str
    expected: str
    task: str
    answer: str
    steps: tuple[ShownStep, ...] = ()

    def outcome(self, tokens: int) -> str:
        """How it ended: head, feedback and expected answers within about ``tokens``."""
        parts = [self.head, _section("Verifier feedback", self.feedback, tokens)]
        if self.expected:
            parts.append(_section("Expected", self.expected, tokens // 2))
        return "\n".join(parts)

    def text(self, tokens: int) -> str:
        """All of it within about ``tokens``, the most important first."""
        parts = [
            self.outcome(tokens // 4),
            _section("Task", self.task, tokens // 5, cut=clip),
            _section("Final answer", self.answer, tokens // 8, cut=clip),
        ]
        used = estimate_tokens("\n".join(parts))
        steps = render_steps(self.steps, tokens - used)
        parts.append(f"\nSteps:\n{fenced(steps)}" if steps else "\nSteps: none recorded")
        return "\n".join(parts)


def view(rollout: Rollout, skill: Skill, *, feedback: str | None = None, answers: str = "") -> View:
    """A rollout as the optimizer may see it. The skill's own text is replaced by a note wherever
    the agent read it; what the final answer repeats of the last step is not shown twice.

    Args:
        rollout: the rollout to show.
        skill: the skill that it ran with.
        feedback: the verifier's, as far as the optimizer may see it; by default all of it.
        answers: the expected answers, if the config shows them.
    """

    def clean(text: str) -> str:
        return without_skill(without_escapes(text).strip(), skill)

    status = f"{rollout.status.value}: {without_escapes(rollout.message)}".removesuffix(": ")
    opened = {True: "yes", False: "no", None: "there was none"}[rollout.skill_activated]
    head = [
        f"- ended: {' '.join(clip(status, 100).split())}",
        f"- score: {rollout.reward.soft:.2f} ({'' if rollout.reward.hard else 'not '}solved)",
        f"- skill opened: {opened}",
    ]
    if rollout.others_opened:
        head.append(f"- other skills opened: {', '.join(rollout.others_opened)}")
    answer = clean(rollout.answer)
    steps = agent_steps(rollout.trajectory(), clean, SKILL_NOTE)
    if steps and answer and steps[-1].said == answer:
        steps[-1] = replace(steps[-1], said=ANSWER_NOTE)
    return View(
        head="\n".join(head),
        feedback=clean(rollout.reward.feedback if feedback is None else feedback),
        expected=clean(answers),
        task=clean("\n\nthen: ".join(rollout.task.prompts)),
        answer=answer,
        steps=tuple(steps),
    )


def render_rollout(
    rollout: Rollout,
    skill: Skill,
    tokens: int,
    *,
    feedback: str | None = None,
    answers: str = "",
) -> str:
    """One rollout as Markdown within about ``tokens``; the arguments are those of :func:`view`."""
    return view(rollout, skill, feedback=feedback, answers=answers).text(tokens)


def _section(
    title: str, text: str, tokens: int, cut: Callable[[str, int], str] | None = None
) -> str:
    if not text:
        return f"\n{title}: none"
    shown = cut(text, tokens) if cut else excerpt(text, max(tokens, 0) * CHARS_PER_TOKEN)
    return f"\n{title}:\n{fenced(shown)}"


def without_repeats(texts: Sequence[str], named: str = "trajectory") -> list[str]:
    """Texts in which a passage of an earlier one is replaced by a reference to that.

    Only passages among the steps are replaced, as task and feedback are to be read in their place.

    Args:
        texts: rendered rollouts, in the order of the prompt.
        named: what the prompt calls them, with numbers from 1.
    """
    known: dict[str, tuple[int, int]] = {}
    lines_of: list[list[str]] = []
    shown: list[str] = []
    for number, text in enumerate(texts, start=1):
        head, mark, steps = text.partition("\nSteps:\n")
        lines = steps.split("\n")
        shown.append(head + mark + "\n".join(_referring(lines, known, lines_of, named)))
        lines_of.append(lines)
        for index, line in enumerate(lines):
            if len(line) > 10:
                known.setdefault(line, (number, index))
    return shown


def _referring(
    lines: Sequence[str],
    known: dict[str, tuple[int, int]],
    earlier: Sequence[Sequence[str]],
    named: str,
) -> Iterator[str]:
    index = 0
    while index < len(lines):
        number, start = known.get(lines[index], (0, 0))
        length = 0
        if number:
            there = earlier[number - 1]
            while (
                index + length < len(lines)
                and start + length < len(there)
                and lines[index + length] == there[start + length]
                and not re.match(r"\[step |\[sub-agent |`{3,}$", lines[index + length])
            ):
                length += 1
        size = sum(len(line) for line in lines[index : index + length])
        if length >= REPEATED_LINES and size >= REPEATED_CHARS:
            yield f"[{length} lines as in {named} {number}]"
            index += length
        else:
            yield lines[index]
            index += 1


def without_skill(text: str, skill: Skill) -> str:
    """Replace passages of the skill, including those that a tool shows with line numbers."""
    if not skill.body:
        return text
    known = {line.strip() for line in skill.text.split("\n")} - {""}
    shown: list[str] = []
    run: list[str] = []
    for line in [*text.split("\n"), None]:
        if line is not None and _LINE_NUMBER.sub("", line).strip() in known | {""}:
            run.append(line)
            continue
        shown += _passage(run)
        run = []
        if line is not None:
            shown.append(line)
    return "\n".join(shown)


def _passage(run: Iterable[str]) -> list[str]:
    """Replace lines that all occur in the skill, unless they are too few to be sure."""
    lines = list(run)
    if len("".join(lines).strip()) < 40:
        return lines
    return [SKILL_NOTE]
