"""A rollout as the optimizer reads it: text within a token budget, the most important first.

Everything that an agent or a tool wrote is untrusted: it is fenced and cleaned here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from skillopt.core.skill import Skill
from skillopt.core.text import CHARS_PER_TOKEN, estimate_tokens
from skillopt.core.types import Rollout

if TYPE_CHECKING:
    from atif import Step

SKILL_NOTE = "[the skill's text, which stands above]"
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x1b\\|\x07)?"  # OSC and other strings: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_TROUBLE = re.compile(
    r"traceback|\berror\b|\bexception\b|\bfailed\b|not found|no such|permission denied"
    r"|exit(?:ed with)? (?:code|status):? *[1-9]",
    re.IGNORECASE,
)
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


def clean(text: str) -> str:
    """Text without terminal escapes and control characters."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def fenced(text: str) -> str:
    """A text in a code fence that it cannot close: longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, text.rstrip("\n"), fence])


def render_rollout(
    rollout: Rollout,
    skill: Skill,
    tokens: int,
    *,
    feedback: str | None = None,
    answers: str = "",
) -> str:
    """One rollout as Markdown within about ``tokens``, the most important first.

    The order is: how it ended and whether the skill was opened, the verifier's feedback, the
    task, the final answer, then the steps, those around errors first. The skill's own text is
    replaced by a note wherever the agent read it.

    Args:
        rollout: the rollout to show.
        skill: the skill that it ran with.
        tokens: the most that the text may have.
        feedback: the verifier's, as far as the optimizer may see it; by default all of it.
        answers: the expected answers, if the config shows them.
    """
    said = rollout.reward.feedback if feedback is None else feedback
    status = f"{rollout.status.value}: {clean(rollout.message)}".removesuffix(": ")
    opened = {True: "yes", False: "no", None: "there was none"}[rollout.skill_activated]
    parts = [
        f"- ended: {' '.join(clip(status, 100).split())}",
        f"- score: {rollout.reward.soft:.2f} ({'' if rollout.reward.hard else 'not '}solved)",
        f"- skill opened: {opened}",
    ]
    if rollout.others_opened:
        parts.append(f"- other skills opened: {', '.join(rollout.others_opened)}")
    sections = (
        ("Verifier feedback", said, tokens // 4),
        *([("Expected", answers, tokens // 8)] if answers else ()),
        ("Task", "\n\nthen: ".join(rollout.task.prompts), tokens // 5),
        ("Final answer", rollout.answer, tokens // 8),
    )
    for title, text, share in sections:
        text = _without_skill(clean(text).strip(), skill)
        parts.append(f"\n{title}:\n{fenced(clip(text, share))}" if text else f"\n{title}: none")
    used = estimate_tokens("\n".join(parts))
    steps = _render_steps(rollout, skill, tokens - used)
    parts.append(f"\nSteps:\n{fenced(steps)}" if steps else "\nSteps: none recorded")
    return "\n".join(parts)


def _render_steps(rollout: Rollout, skill: Skill, tokens: int) -> str:
    """The agent's steps in order, as many as fit; those around errors are taken first."""
    trajectory = rollout.trajectory()
    steps = [s for s in trajectory.steps if s.source == "agent"] if trajectory else []
    texts = [clip(_step(step, skill), max(tokens // 4, 50)) for step in steps]
    chosen: set[int] = set()
    for index in _by_importance(texts):
        if tokens >= estimate_tokens(texts[index]):
            tokens -= estimate_tokens(texts[index]) + 1
            chosen.add(index)
    shown: list[str] = []
    for index, text in enumerate(texts):
        if index in chosen:
            shown.append(f"[step {index + 1} of {len(texts)}] {text}")
        elif index - 1 in chosen or index == 0:
            shown.append("[… steps left out …]")
    return "\n".join(shown)


def _by_importance(texts: Sequence[str]) -> list[int]:
    trouble = {i for i, text in enumerate(texts) if _TROUBLE.search(text)}

    def rank(index: int) -> tuple[int, int]:
        if index in trouble:
            return 0, index
        if index - 1 in trouble:
            return 1, index
        return (2, index) if index in (0, len(texts) - 1) else (3, index)

    return sorted(range(len(texts)), key=rank)


def _step(step: Step, skill: Skill) -> str:
    """What the agent said, called and got back, in plain text."""
    parts = [_text(step.message)]
    results = step.observation.results if step.observation else []
    outputs = {result.source_call_id: _text(result.content) for result in results}
    for call in step.tool_calls or []:
        parts.append(f"called {call.function_name}: {_arguments(call.arguments)}")
        parts.append(f"got: {outputs.pop(call.tool_call_id, 'no result')}")
    parts += [f"got: {text}" for text in outputs.values()]
    return "\n".join(_without_skill(clean(part).strip(), skill) for part in parts if part)


def _text(content: Any) -> str:
    """The text of ATIF content, which is a string or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if getattr(part, "text", None))


def _arguments(arguments: dict[str, Any]) -> str:
    """Arguments as a person would read them: a single text as it is, else JSON."""
    values = list(arguments.values())
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return json.dumps(arguments, ensure_ascii=False)


def _without_skill(text: str, skill: Skill) -> str:
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
