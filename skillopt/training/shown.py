"""What the optimizer is shown beyond a step's rollouts: the agent, earlier steps, and how much; and
how long it may think."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skillopt.config.schema import Config, GateConfig
from skillopt.config.upstreams import LlamaConfig
from skillopt.core.skill import Skill
from skillopt.core.types import Split, Task
from skillopt.optimizer.briefing import TRAJECTORY_TOKENS
from skillopt.optimizer.memory import MEMORY_TOKENS, remembered
from skillopt.run.state import State
from skillopt.tasks.harbor import only_triggers

FRAME_TOKENS = 1_500
"""Assumed tokens of an optimizer prompt without skill, memory and material."""
REPLY_TOKENS = 1_500
"""Assumed tokens of one optimizer reply."""
SILENCE_S = 1800.0
"""Seconds for which an optimizer may think in silence, unless the config says otherwise."""
LEAST_TRAJECTORY_TOKENS = 200
EARLIER_STEPS = 4
"""Steps whose failures are shown, and at least an epoch's."""
_USABLE = 0.9
"""Share of a model's context that is planned for, as tokens are estimated."""
_NAMES = {"codex": "Codex CLI", "claude-code": "Claude Code", "opencode": "OpenCode"}
_MOUNTS = {
    "native": "It sees only the skill's name and description with each request, and opens the "
    "skill when that seems to fit.",
    "instructions": "The skill's text is in the instructions that it always reads.",
    "both": "The skill's text is in the instructions that it always reads, and the skill is among "
    "those that it can open.",
}


def agent_paragraph(config: Config, splits: Mapping[Split, Sequence[Task]]) -> str:
    """What the agent is, how it gets the skill, and how it is judged.

    Args:
        config: the run's.
        splits: its tasks.
    """
    tasks = [task for own in splits.values() for task in own]
    direct = config.harness.name == "direct"
    questions = bool(tasks) and all(task.question for task in tasks)
    who = "Direct chat" if direct else _NAMES.get(config.harness.name, config.harness.name)
    whole = config.harness.mount == "native" and not config.skill.beside
    if direct and (questions or whole):
        gets = "The whole skill stands before each request."
    else:
        gets = _MOUNTS[config.harness.mount]
    tools = "It has no tools." if direct and questions else ""
    solved = "its answer is judged right" if questions else "all hidden checks of its task pass"
    if tasks and all(map(only_triggers, tasks)):
        solved = "it opens the skill that its task is for, and no other"
    parts = [
        f"{who} with the model {config.target.name}.",
        gets,
        tools,
        f"A run is solved when {solved}.",
        _score(config.gate),
    ]
    return " ".join(part for part in parts if part)


def _score(gate: GateConfig) -> str:
    match gate.metric:
        case "hard":
            return "The score that must rise is the share of solved tasks."
        case "soft":
            return (
                "The score that must rise is the mean reward, in which a task that is solved in "
                "part counts in part."
            )
    return (
        f"The score that must rise is the mean of {gate.mix:g} times the reward of a task, which "
        f"may be solved in part, and {1 - gate.mix:g} if it is solved."
    )


def trajectory_tokens(config: Config, limit: int) -> int:
    """Token budget of each rollout in a prompt: the config's, or less if a minibatch of them would
    not fit into the context of the optimizer model.

    Args:
        config: the run's.
        limit: the token limit for ``SKILL.md``.
    """
    optimizer = config.optimizer
    wanted = optimizer.trajectory_tokens or TRAJECTORY_TOKENS
    context = optimizer.context_tokens
    upstream = config.upstreams.get(optimizer.upstream)
    if context is None and isinstance(upstream, LlamaConfig):
        context = upstream.context
    if context is None:
        return wanted
    room = round(context * _USABLE) - FRAME_TOKENS - limit - MEMORY_TOKENS - REPLY_TOKENS
    return max(LEAST_TRAJECTORY_TOKENS, min(wanted, room // config.train.minibatch))


def silence_of(config: Config) -> float:
    """Seconds for which the optimizer's model may think in silence."""
    own = config.optimizer.timeout_s
    return min(SILENCE_S, config.patience.total) if own is None else own


def earlier(state: State, step: int, steps_in_epoch: int, current: Skill) -> dict[str, Any]:
    """What a step is shown of earlier ones, as arguments of a briefing.

    Args:
        state: the run's.
        step: the step, from 1.
        steps_in_epoch: steps of an epoch.
        current: the skill; proposals that it contains by now are not shown.
    """
    since = step - max(EARLIER_STEPS, steps_in_epoch)
    untried = [e for e in state.untried if not e.content or e.content.strip() not in current.body]
    return {
        "memory": remembered(state.memory, step, steps_in_epoch),
        "tried": tuple(state.tried),
        "untried": tuple(untried),
        "findings": {n: found for n, found in state.findings.items() if n >= since},
        "failures": state.failures_of,
    }
