"""A trajectory in ATIF (Agent Trajectory Interchange Format v1.8), built from what went over the
wire: the same shape for every agent, whole also after a crash. Also: was the skill opened?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnesses.base import Usage
from harnesses.protocols.base import Conversation, Message, ProtocolError, Reply
from harnesses.protocols.registry import CODECS
from harnesses.skills import skill_text

if TYPE_CHECKING:
    from atif import Step, Trajectory

    from harnesses.gateway import Exchange

SCHEMA_VERSION = "ATIF-v1.8"


@dataclass(frozen=True)
class Turn:
    """One exchange as a conversation: what the model was shown, and what it said."""

    shown: Conversation
    reply: Reply | None
    started: float


def turns(exchanges: Iterable[Exchange]) -> list[Turn]:
    """The exchanges that can be read, in order of their requests."""
    found = []
    for exchange in sorted(exchanges, key=lambda e: e.started):
        try:
            shown = CODECS[exchange.protocol].read_request(exchange.request)
        except ProtocolError:
            continue  # The upstream answered 400 to it; it stays in wire.jsonl.
        found.append(Turn(shown, exchange.reply, exchange.started))
    return found


def main_conversation(found: Sequence[Turn]) -> list[Turn]:
    """The turns of the task itself, without side requests such as titles or summaries.

    Side requests have no tools, or begin with another user message than the first request that
    has tools. A chat without any tools is all main conversation.
    """
    tooled = [turn for turn in found if turn.shown.tools]
    if not tooled:
        return list(found)
    opening = _first_user(tooled[0].shown)
    return [turn for turn in tooled if _first_user(turn.shown) == opening]


def build_trajectory(
    exchanges: Iterable[Exchange],
    *,
    agent: str,
    version: str,
    model: str,
    session_id: str,
    usage: Usage,
) -> Trajectory | None:
    """The whole trajectory, or None when the model was never reached.

    Args:
        exchanges: of one session.
        agent, version, model, session_id: recorded as they are.
        usage: of all exchanges, side requests and failed tries included.
    """
    from atif import Agent, FinalMetrics, Trajectory

    found = turns(exchanges)
    main = main_conversation(found)
    if not main:
        return None
    steps = _steps(main)
    tools = [
        _definition(tool.name, tool.description, tool.parameters) for tool in main[0].shown.tools
    ]
    return Trajectory(
        schema_version=SCHEMA_VERSION,
        session_id=session_id,
        agent=Agent(name=agent, version=version, model_name=model, tool_definitions=tools or None),
        steps=steps,
        final_metrics=FinalMetrics(
            total_prompt_tokens=usage.prompt_tokens,
            total_completion_tokens=usage.completion_tokens,
            total_cached_tokens=usage.cached_tokens,
            total_cost_usd=usage.cost_usd,
            total_steps=len(steps),
        ),
        extra={
            "side_requests": len(found) - len(main),
            "failed_requests": sum(turn.reply is None for turn in main),
        },
    )


def final_answer(exchanges: Iterable[Exchange]) -> str:
    """The last text that the model said in the main conversation."""
    said = [turn.reply.text for turn in main_conversation(turns(exchanges)) if turn.reply]
    return next((text for text in reversed(said) if text.strip()), "")


def skill_activated(exchanges: Iterable[Exchange], skill: Path | None) -> bool | None:
    """Whether the skill's body was put before the model, by a tool, by injection or in the prompt.

    True when at least half of the body's lines occur in one message: a skill read with
    ``head -20`` counts, the listing of its description does not. None without a skill.
    """
    if skill is None:
        return None
    lines = body_lines(skill)
    if not lines:
        return False
    for turn in turns(exchanges):
        for message in turn.shown.messages:
            for text in (message.text, *(result.text for result in message.results)):
                if sum(line in text for line in lines) * 2 >= len(lines):
                    return True
    return False


def skills_opened(exchanges: Iterable[Exchange], skills: Iterable[Path]) -> tuple[str, ...]:
    """The names of those skills whose body was put before the model."""
    known = tuple(exchanges)
    return tuple(skill.name for skill in skills if skill_activated(known, skill))


def body_lines(skill: Path) -> list[str]:
    """The lines of ``SKILL.md`` after the front matter that are not blank."""
    return [line.strip() for line in skill_text(skill).body.splitlines() if line.strip()]


def _steps(main: Sequence[Turn]) -> list[Step]:
    from atif import Step

    results = {r.call_id: r for t in main for m in t.shown.messages for r in m.results}
    steps: list[Step] = []
    seen: Counter[tuple[str, str]] = Counter()
    for turn in main:
        now: Counter[tuple[str, str]] = Counter()
        for message in turn.shown.messages:
            if message.role == "assistant" or not message.text:
                continue
            now[message.role, message.text] += 1
            if now[message.role, message.text] > seen[message.role, message.text]:
                steps.append(
                    Step(
                        step_id=len(steps) + 1,
                        timestamp=_time(turn.started),
                        source=message.role,
                        message=message.text,
                    )
                )
        seen |= now
        if turn.reply is not None:
            steps.append(_agent_step(len(steps) + 1, turn.reply, turn.started, results))
    return steps


def _agent_step(number: int, reply: Reply, started: float, results: Mapping[str, Any]) -> Step:
    from atif import Metrics, Observation, ObservationResult, Step, ToolCall

    calls = [
        ToolCall(tool_call_id=c.id, function_name=c.name, arguments=dict(c.arguments))
        for c in reply.calls
    ]
    observed = [
        ObservationResult(source_call_id=c.id, content=results[c.id].text)
        for c in reply.calls
        if c.id in results
    ]
    return Step(
        step_id=number,
        timestamp=_time(started),
        source="agent",
        message=reply.text,
        reasoning_content=reply.reasoning or None,
        tool_calls=calls or None,
        observation=Observation(results=observed) if observed else None,
        llm_call_count=1,
        metrics=Metrics(
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
            cached_tokens=reply.usage.cached_tokens,
        ),
    )


def _first_user(shown: Conversation) -> Message | None:
    return next((m for m in shown.messages if m.role == "user" and m.text), None)


def _definition(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": dict(parameters)}
    return {"type": "function", "function": function}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
