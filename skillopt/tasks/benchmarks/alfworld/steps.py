"""The reference's way to play by chat alone: each step is a fresh prompt, the reply has one action.

The rule from reply to command is that of microsoft/SkillOpt (alfworld/rollout.py, then
vendor/alfworld_projection.py), with all its edges; the prompts say the same in other words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HISTORY = 2
"""The pairs of observation and command that a prompt shows."""
WELCOME = "Your task is to: "
"""Begins the task in the first observation."""
_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_CHINESE = re.compile("[\u4e00-\u9fff]")
_FORMAT = """\
It is your turn. First think about the situation, between <think> and </think>. Then choose one of \
the possible commands and give it between <action> and </action>."""


@dataclass(frozen=True)
class Sent:
    """What a reply comes to.

    Args:
        command: that is given to the game.
        valid: whether the reply has the whole format; the game does not mind.
        fallback: why the command is ``look`` instead of one in the reply; None if it is not.
        recorded: the action as the reply has it.
    """

    command: str
    valid: bool
    fallback: Literal["empty", "no-action"] | None
    recorded: str


def sent(reply: str) -> Sent:
    """The command in a reply; ``look`` if there is none.

    A reply counts if it has an action in lower-case tags. The command is then what is between the
    first opening and the first closing tag of the reply in lower case, which may be nothing.
    """
    text = reply.strip()
    match = _ACTION.search(text)
    if match is None:
        return Sent("look", True, "no-action" if text else "empty", "look")
    lower = text.lower()
    start, end = lower.find("<action>") + len("<action>"), lower.find("</action>")
    valid = "<think>" in text and "</think>" in text and not _CHINESE.search(text)
    return Sent(lower[start:end].strip(), valid, None, match[1].strip())


def prompt(observations: Sequence[str], commands: Sequence[str], admissible: Sequence[str]) -> str:
    """The prompt of a step.

    Args:
        observations: all so far, the current one last.
        commands: those given so far, one less.
        admissible: the commands that are possible now.
    """
    current = f"What you see now: {observations[-1]}\nThe commands that are possible now:\n"
    current += "\n".join(f"'{command}'" for command in admissible)
    opening = "You act in a household by text commands."
    if not commands:
        return f"{opening} {current}\n\n{_FORMAT}\n"
    first = max(len(commands) - HISTORY, 0)
    history = "\n".join(
        f"[Observation {n + 1}: '{observations[n]}', Action {n + 1}: '{commands[n]}']"
        for n in range(first, len(commands))
    )
    return (
        f"{opening} {WELCOME}{task_in(observations[0])}\n"
        f"You have taken {len(commands)} steps. The last {len(commands) - first}, with what you "
        f"saw before each:\n{history}\n\nThis is step {len(commands) + 1}. {current}\n\n{_FORMAT}\n"
    )


def task_in(observation: str) -> str:
    """The task that the first observation names; "" if it names none."""
    return observation.partition(WELCOME)[2].strip()
