"""Trajectories in ATIF (Agent Trajectory Interchange Format v1.8), built from recorded exchanges:
the same form for every agent, complete also after a crash. Also whether a skill was opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnesses.base import Usage
from harnesses.gateway.exchange import MAIN
from harnesses.protocols.base import Message, ToolResult
from harnesses.protocols.base import ToolCall as Call
from harnesses.skills import skill_text
from harnesses.trajectories.threads import Turn, main_conversation

if TYPE_CHECKING:
    from atif import Agent, Step, SubagentTrajectoryRef, Trajectory

SCHEMA_VERSION = "ATIF-v1.8"
SPAWNING = ("Agent", "Task", "spawn_agent", "task")
"""The tools with which agents start sub-agents, without the names of groups."""
_Place = tuple[int, int]
"""The numbers of a call's turn in its thread, and of the call in its reply."""
SIDE_CHARS = 500
"""The length of a side request's reply in the trajectory."""


def build_trajectory(
    found: Sequence[Turn],
    *,
    agent: str,
    version: str,
    model: str,
    session_id: str,
    usage: Usage,
) -> Trajectory | None:
    """The whole trajectory, or None if the model was never reached.

    Sub-agents' conversations are in ``subagent_trajectories``, with references from the tool calls
    that started them; side requests are in ``extra``. If a conversation continues after a summary
    (compaction) or in a new process (resume), the ``extra`` of the step at the join records it.

    Args:
        found: the turns of one session.
        agent, version, model, session_id: recorded as they are.
        usage: of all exchanges, including side requests and failed tries.
    """
    from atif import Agent, FinalMetrics

    own = [turn for turn in found if turn.kind != "side"]
    # If an agent got no further than its title, that is the conversation.
    threads = _by_thread(own)
    if MAIN not in threads:
        threads = {MAIN: [replace(turn, thread=MAIN, kind="turn") for turn in own or found]}
    if not threads[MAIN]:
        return None
    tools = [
        _definition(tool.name, tool.description, tool.parameters)
        for tool in threads[MAIN][0].shown.tools
    ]
    who = Agent(name=agent, version=version, model_name=model, tool_definitions=tools or None)
    builder = _Builder(threads, who, session_id)
    if not builder.steps[MAIN]:
        return None
    whole = builder.build(MAIN)
    side = [turn for turn in found if turn.kind == "side"] if own else []
    return whole.model_copy(
        update={
            "session_id": session_id,
            "final_metrics": FinalMetrics(
                total_prompt_tokens=usage.prompt_tokens,
                total_completion_tokens=usage.completion_tokens,
                total_cached_tokens=usage.cached_tokens,
                total_cost_usd=usage.cost_usd,
                total_steps=len(whole.steps),
            ),
            "extra": {
                "side_requests": len(side),
                "failed_requests": sum(turn.reply is None for turn in threads[MAIN]),
                **({"side": [_side(turn) for turn in side]} if side else {}),
            },
        }
    )


def final_answer(found: Sequence[Turn]) -> str:
    """The last text of the model in the main conversation."""
    said = [turn.reply.text for turn in main_conversation(found) or found if turn.reply]
    return next((text for text in reversed(said) if text.strip()), "")


def skill_activated(found: Iterable[Turn], skill: Path | None) -> bool | None:
    """Whether the skill's body reached the model, by a tool, by injection or in the prompt.

    True if at least half of the body's lines occur in one message: a skill read with ``head -20``
    counts, the listing of its description does not. None without a skill.
    """
    if skill is None:
        return None
    # Messages come again with each request.
    messages = {id(message): message for turn in found for message in turn.shown.messages}
    return has_text(messages.values(), skill)


def has_text(messages: Iterable[Message], skill: Path) -> bool:
    """Whether one of some messages has at least half of the lines of a skill's body."""
    lines = body_lines(skill)
    texts = (
        text
        for message in messages
        for text in (message.text, *(result.text for result in message.results))
    )
    return bool(lines) and any(
        sum(line in text for line in lines) * 2 >= len(lines) for text in texts
    )


def skills_opened(found: Sequence[Turn], skills: Iterable[Path]) -> tuple[str, ...]:
    """The names of those skills whose body reached the model."""
    return tuple(skill.name for skill in skills if skill_activated(found, skill))


def body_lines(skill: Path) -> list[str]:
    """The lines of ``SKILL.md`` after the front matter that are not blank."""
    return [line.strip() for line in skill_text(skill).body.splitlines() if line.strip()]


@dataclass
class _Builder:
    """Builds the trajectories of all threads, each with those that it started."""

    threads: Mapping[str, Sequence[Turn]]
    agent: Agent
    session_id: str
    begun: dict[str, tuple[str, _Place]] = field(default_factory=dict)
    """The thread and the place of the tool call that started each sub-agent's thread."""
    ids: dict[str, dict[_Place, str]] = field(default_factory=dict)
    """The ids of each thread's calls, which are unique in it."""
    steps: dict[str, list[Step]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = {thread: _ids(found) for thread, found in self.threads.items()}
        left = [thread for thread in self.threads if thread != MAIN]
        for parent, found in self.threads.items():
            results = _results(found)
            for place, call in _calls(found):
                result = results.get(place)
                for thread in left:
                    if thread != parent and _began(call, result, thread, self.threads[thread][0]):
                        self.begun[thread] = parent, place
                        left.remove(thread)
                        break
        self.steps = {thread: self._steps(thread) for thread in self.threads}

    def build(self, thread: str) -> Trajectory:
        from atif import Trajectory

        below = [sub for sub, (parent, _) in self.begun.items() if parent == thread]
        if thread == MAIN:  # Those that no call is seen to have started.
            below += [sub for sub in self.threads if sub not in (MAIN, *self.begun)]
        filled = [sub for sub in below if self.steps[sub]]
        return Trajectory(
            schema_version=SCHEMA_VERSION,
            session_id=self.session_id,
            trajectory_id=None if thread == MAIN else thread,
            agent=self.agent
            if thread == MAIN
            else self.agent.model_copy(update={"tool_definitions": None}),
            steps=self.steps[thread],
            subagent_trajectories=[self.build(sub) for sub in filled] or None,
        )

    def _steps(self, thread: str) -> list[Step]:
        found = self.threads[thread]
        results = _results(found)
        steps: list[Step] = []
        seen: Counter[tuple[str, str]] = Counter()
        part, summarised = found[0].part, False
        for number, turn in enumerate(found):
            if turn.kind == "compaction" and turn is not found[0]:
                # The agent itself wrote its prompt, and the conversation is known.
                summarised = True
            else:
                joins = ["compaction"] * summarised + ["resume"] * (turn.part != part)
                now = Counter(_key(m) for m in turn.shown.messages if _is_said(m))
                steps += _new_messages(turn, seen, len(steps), joins)
                # After a summary the conversation is counted from the start.
                seen = now if summarised else seen | now
                part, summarised = turn.part, False
            if turn.reply is not None:
                own = {k: result for (n, k), result in results.items() if n == number}
                steps.append(self._agent_step(len(steps) + 1, turn, number, own))
        return steps

    def _agent_step(
        self, step: int, turn: Turn, number: int, results: Mapping[int, ToolResult]
    ) -> Step:
        """The step of a turn; ``results`` are those of its calls, by their number in the reply."""
        from atif import Metrics, Observation, ObservationResult, Step, ToolCall

        reply = turn.reply
        assert reply is not None
        observed = []
        ids = [self.ids[turn.thread][number, n] for n in range(len(reply.calls))]
        for n, id in enumerate(ids):
            refs = self._refs(turn.thread, (number, n))
            result = results.get(n)
            if result is not None or refs:
                observed.append(
                    ObservationResult(
                        source_call_id=id,
                        content=result.text if result else None,
                        subagent_trajectory_ref=refs or None,
                    )
                )
        return Step(
            step_id=step,
            timestamp=_time(turn.started),
            source="agent",
            message=reply.text,
            reasoning_content=reply.reasoning or None,
            tool_calls=[
                ToolCall(tool_call_id=id, function_name=c.name, arguments=dict(c.arguments))
                for id, c in zip(ids, reply.calls, strict=True)
            ]
            or None,
            observation=Observation(results=observed) if observed else None,
            llm_call_count=1,
            metrics=Metrics(
                prompt_tokens=reply.usage.prompt_tokens,
                completion_tokens=reply.usage.completion_tokens,
                cached_tokens=reply.usage.cached_tokens,
            ),
            extra={"kind": "compaction"} if turn.kind == "compaction" else None,
        )

    def _refs(self, thread: str, call: _Place) -> list[SubagentTrajectoryRef]:
        from atif import SubagentTrajectoryRef

        return [
            SubagentTrajectoryRef(trajectory_id=sub, session_id=self.session_id)
            for sub, began in self.begun.items()
            if began == (thread, call)
        ]


def _new_messages(
    turn: Turn, seen: Counter[tuple[str, str]], before: int, joins: Sequence[str]
) -> list[Step]:
    """Steps for the messages since the turn before; the first of the user has the joins."""
    from atif import Step

    steps: list[Step] = []
    now: Counter[tuple[str, str]] = Counter()
    for message in turn.shown.messages:
        if not _is_said(message):
            continue
        now[_key(message)] += 1
        if now[_key(message)] > seen[_key(message)]:
            steps.append(
                Step(
                    step_id=before + len(steps) + 1,
                    timestamp=_time(turn.started),
                    source=message.role,
                    message=message.text,
                )
            )
    if joins and steps:
        # Agents may repeat their system prompt.
        at = next((n for n, step in enumerate(steps) if step.source == "user"), 0)
        joined = {"extra": {"joins": list(joins)}}
        copied = {"is_copied_context": True} if "compaction" in joins else {}
        steps[at] = steps[at].model_copy(update={**joined, **copied})
    return steps


def _by_thread(found: Iterable[Turn]) -> dict[str, list[Turn]]:
    threads: dict[str, list[Turn]] = {}
    for turn in found:
        threads.setdefault(turn.thread, []).append(turn)
    return threads


def _calls(found: Sequence[Turn]) -> Iterator[tuple[_Place, Call]]:
    for number, turn in enumerate(found):
        for n, call in enumerate(turn.reply.calls if turn.reply else ()):
            yield (number, n), call


def _ids(found: Sequence[Turn]) -> dict[_Place, str]:
    """The ids of a thread's calls; one that comes again is numbered."""
    made: Counter[str] = Counter()
    ids: dict[_Place, str] = {}
    for place, call in _calls(found):
        made[call.id] += 1
        ids[place] = call.id if made[call.id] == 1 else f"{call.id}#{made[call.id]}"
    return ids


def _results(found: Sequence[Turn]) -> dict[_Place, ToolResult]:
    """The results of a thread's calls. Ids may come again with each reply, so a call's result is
    the first one of its id that the model had not been shown when it made the call."""
    shown = [_results_by_id(turn) for turn in found]
    results: dict[_Place, ToolResult] = {}
    made: Counter[tuple[int, str]] = Counter()
    for (number, n), call in _calls(found):
        before = len(shown[number].get(call.id, ()))
        at = before + made[number, call.id]
        made[number, call.id] += 1
        for later in shown[number + 1 :]:
            known = later.get(call.id, ())
            if len(known) < before:
                break  # The conversation began anew, without this call.
            if len(known) > at:
                results[number, n] = known[at]
                break
    return results


def _results_by_id(turn: Turn) -> dict[str, list[ToolResult]]:
    found: dict[str, list[ToolResult]] = {}
    for message in turn.shown.messages:
        for result in message.results:
            found.setdefault(result.call_id, []).append(result)
    return found


def _began(call: Call, result: ToolResult | None, thread: str, first: Turn) -> bool:
    """Whether a tool call started a sub-agent: its result names it, or both have the same text."""
    # The name of a tool in a group is prefixed with that of the group.
    if call.name.rpartition("__")[2] not in SPAWNING:
        return False
    if result is not None and thread in result.text:
        return True
    opening = "\n".join(m.text for m in first.shown.messages if m.role == "user")
    texts = (call.arguments.get(key) for key in ("prompt", "message"))
    return any(isinstance(text, str) and text.strip() and text in opening for text in texts)


def _is_said(message: Message) -> bool:
    return message.role != "assistant" and bool(message.text)


def _key(message: Message) -> tuple[str, str]:
    return message.role, message.text


def _side(turn: Turn) -> dict[str, Any]:
    said = turn.reply.text if turn.reply else ""
    return {"timestamp": _time(turn.started), "for": turn.label, "reply": said[:SIDE_CHARS]}


def _definition(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": dict(parameters)}
    return {"type": "function", "function": function}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
