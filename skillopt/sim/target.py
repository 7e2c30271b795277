"""The simulated model at work on a task: its next turn, from the conversation alone.

A scripted test instrument. It opens a fitting skill through the harness's own mechanism, looks at
the files, runs one procedure and reports. It follows a rule only if it has read it.
"""

from __future__ import annotations

import random
import re
from typing import cast

from harnesses.protocols.base import Conversation, Reply, ToolCall
from skillopt.sim.describing import content_words
from skillopt.sim.habits import Acting, Habit, Seen
from skillopt.sim.knowledge import Chore, habit_for, quirks_in
from skillopt.sim.prompt import (
    SHELLS,
    SKILL_TOOLS,
    ListedSkill,
    PromptTurn,
    call_id,
    listed_skills,
    opens_skill,
    shell_call,
    shell_of,
    task_index,
    task_text,
    text_read,
    turns,
)

_BUNDLED = frozenset(
    {
        "imagegen", "openai-docs", "skill-creator", "skill-installer", "deep-research",
        "update-config", "keybindings-help", "verify", "code-review", "simplify", "loop",
        "fewer-permission-prompts", "claude-api", "run", "init", "review", "security-review",
        "customize-opencode",
    }
)  # fmt: skip
"""Skills that come with the CLIs, none of which is about office chores."""

_GENERAL = frozenset({"chore", "office", "house"})
"""Words of a description that promise help with any chore."""

LEAST_SHARED = 2
"""Words of a request that a description must have, for the model to open a skill for work that it
does not know."""

_MARK = "<<'PY'"
_ATTEMPTS = 2


def reply(conversation: Conversation, rng: random.Random, noise: float) -> Reply:
    """The next turn of an agent that runs on this model.

    Args:
        conversation: all that the model is shown; nothing else is remembered.
        rng: seeded per rollout, not per request, so that a mistake lasts for the whole task.
        noise: probability in [0, 1] of a mistake: the model forgets every rule that it has read.
    """
    slip = rng.random() < noise
    index = task_index(conversation)
    if index is None:
        return Reply("What can I do for you?")
    instruction = task_text(conversation.messages[index])
    shell = shell_of(conversation)
    habit = habit_for(instruction)
    chore = habit if isinstance(habit, Chore) else None
    if shell is None and (habit is None or chore is not None):
        return Reply("I cannot tell for sure.")
    offered = listed_skills(conversation)
    offered = [one for one in offered if one.name not in _BUNDLED]
    alone = habit is not None and len(offered) < 2
    skill = _fitting(offered, habit) if alone else _described(offered, instruction, habit)
    if skill is not None and not any(
        opens_skill(turn.call, skill.name, skill.path) for turn in turns(conversation.messages)
    ):
        opening = open_skill(skill, conversation)
        if opening is not None:
            return opening
    text = "" if slip else text_read(conversation)
    if habit is not None and chore is None:
        knows = habit.rule_present(text)
        return cast(Acting, habit).turn(Seen(conversation, index, instruction, shell, knows))
    assert shell is not None
    return _work(conversation, index, instruction, chore, shell, text)


def _work(
    conversation: Conversation,
    index: int,
    instruction: str,
    habit: Chore | None,
    shell: str,
    text: str,
) -> Reply:
    """Look at the files, run the procedure, try once more if that failed, report."""
    done = turns(conversation.messages[index + 1 :])
    ran = [turn for turn in done if _MARK in _command(turn)]
    looked = any(_command(turn).startswith("ls -la") for turn in done)
    if not looked and not ran:
        return shell_call(
            shell, _look(instruction), "Let me look at the files first.", conversation
        )
    if habit is None:
        return Reply("Sorry, I do not know how to do this kind of task.")
    if ran and _succeeded(ran[-1]):
        return Reply("Done: the result is written as you asked.")
    if len(ran) >= _ATTEMPTS:
        return Reply("I tried twice, but my script failed; the result is not complete.")
    procedure = habit.better if habit.rule_present(text) else habit.naive
    said = "That failed; once more." if ran else "Now I do the work with a script."
    return shell_call(shell, procedure(instruction, quirks_in(text)), said, conversation)


def _fitting(skills: list[ListedSkill], habit: Habit | None) -> ListedSkill | None:
    """The skill whose description shares the most words with the task; None if none does."""
    if habit is None:
        return None
    wanted = _GENERAL | habit.topics
    best, most = None, 0
    for skill in skills:
        words = {word.rstrip("s") for word in re.findall(r"[a-z]+", skill.description.lower())}
        shared = len(words & {word.rstrip("s") for word in wanted})
        if shared > most:
            best, most = skill, shared
    return best


def _described(
    skills: list[ListedSkill], instruction: str, habit: Habit | None
) -> ListedSkill | None:
    """Of several skills, or for work that it does not know: the one whose description has the most
    words of the request; None if none has enough of them. Of work that it knows, one is enough."""
    known = " ".join(habit.topics) if habit else ""
    asked = content_words(f"{instruction} {known}")
    best, most = None, (1 if habit else LEAST_SHARED) - 1
    for skill in skills:
        shared = len(asked & content_words(skill.description))
        if shared > most:
            best, most = skill, shared
    return best


def open_skill(skill: ListedSkill, conversation: Conversation) -> Reply | None:
    """The turn that reads a skill with the harness's own mechanism; None if there is none."""
    said = f"The skill {skill.name} fits; I read it first."
    shell = shell_of(conversation)
    if skill.path is not None and shell is not None:
        return shell_call(shell, f"cat '{skill.path}'", said, conversation)
    opener = next((tool.name for tool in conversation.tools if tool.name in SKILL_TOOLS), None)
    if opener is None:
        return None
    call = ToolCall(call_id(conversation), opener, {SKILL_TOOLS[opener]: skill.name})
    return Reply(said, (call,), stop="tool_calls")


def _look(instruction: str) -> str:
    names = dict.fromkeys(re.findall(r"`([\w.-]+\.(?:csv|json|log|md|py|txt))`", instruction))
    heads = f"; head -n 5 {' '.join(names)} 2>/dev/null" if names else ""
    return f"ls -la{heads}; true"


def _command(turn: PromptTurn) -> str:
    return str(turn.call.arguments.get(SHELLS.get(turn.call.name, ""), ""))


def _succeeded(turn: PromptTurn) -> bool:
    """Whether a procedure printed what it wrote, since harnesses report exit codes differently."""
    result = turn.result
    return bool(result and not result.is_error and re.search(r"^wrote ", result.text, re.MULTILINE))
