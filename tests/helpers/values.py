"""Values for the optimizer's tests: tasks, rollouts, and models that answer by a script."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from atif import Agent, Observation, ObservationResult, Step, ToolCall, Trajectory
from pydantic import BaseModel

from harnesses.base import ModelSpec, Status, Usage
from skillopt.core.skill import Skill
from skillopt.core.types import Reward, Rollout, Task
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerModel, OptimizerReplyError
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.identity import RolloutIdentity

T = TypeVar("T", bound=BaseModel)

PROMPTS = Prompts()
"""For all: to make a template of one takes longer than most tests."""
SKILL = Skill("house-rules", "Use it for chores.", "# House rules\n\n- Read the request first.")


def a_task(name: str = "task-1", instruction: str = "Do the chore.", family: str = "") -> Task:
    here = Path("/nowhere")
    return Task(
        name=name,
        folder=here,
        instruction=instruction,
        family=family,
        workdir="/work",
        agent_timeout_s=1.0,
        verifier_timeout_s=1.0,
        memory_mb=64,
        cpus=1.0,
        disk_mb=1,
        docker_image=None,
        env=(),
        verifier_env=(),
        untrusted_programs=False,
        digest=name,
    )


def a_rollout(
    task: Task | None = None,
    reward: float = 0.0,
    feedback: str = "",
    *,
    activated: bool | None = True,
    status: Status = Status.COMPLETED,
    answer: str = "Done.",
    folder: Path = Path("/nowhere"),
) -> Rollout:
    task = task or a_task()
    return Rollout(
        key=task.name,
        task=task,
        status=status,
        message="" if status is Status.COMPLETED else "stopped after 60 s",
        reward=Reward(reward, {}, feedback),
        skill_activated=activated,
        answer=answer,
        usage=Usage(),
        duration_s=1.0,
        folder=folder,
    )


def keep_trajectory(folder: Path, calls: Sequence[tuple[str, str]]) -> Path:
    """Write a trajectory of shell calls, each a command and its output, as the store has it."""
    steps = [Step(step_id=1, source="user", message="Do the chore. SECRET SYSTEM WORDS")]
    for number, (command, output) in enumerate(calls, start=2):
        call = ToolCall(
            tool_call_id=f"c{number}", function_name="shell", arguments={"command": command}
        )
        result = ObservationResult(source_call_id=f"c{number}", content=output)
        steps.append(
            Step(
                step_id=number,
                source="agent",
                message="",
                tool_calls=[call],
                observation=Observation(results=[result]),
            )
        )
    trajectory = Trajectory(
        schema_version="ATIF-v1.8",
        session_id="s",
        agent=Agent(name="direct", version="1", model_name="m"),
        steps=steps,
    )
    (folder / "trajectory.json").write_text(trajectory.model_dump_json(exclude_none=True))
    return folder


class ScriptedOptimizer:
    """An optimizer model that answers by stage; a stage without an answer fails.

    Answers are what the schema takes, or a function from the prompt to it.
    """

    def __init__(self, **answers: dict[str, Any] | Callable[[str], dict[str, Any]]) -> None:
        self.answers = answers
        self.prompts: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()

    def ask(self, stage: str, about: str, system: str, prompt: str, schema: type[T]) -> T:
        with self._lock:
            self.prompts[stage].append(prompt)
        answer = self.answers.get(stage)
        if answer is None:
            raise OptimizerReplyError("malformed reply, also when asked again: reply: no JSON")
        return schema.model_validate(answer(prompt) if callable(answer) else answer)


def edit(content: str, kind: str = "append", target: str = "") -> dict[str, str]:
    """An edit as a reply has it."""
    return {
        "kind": kind, "target": target, "content": content, "reason": "because", "file": "",
    }  # fmt: skip


def a_briefing(model: OptimizerModel, **options: Any) -> Briefing:
    """A step's briefing on ``SKILL``, with an edit budget of 2."""
    return Briefing(
        **{"skill": SKILL, "budget": 2, "model": model, "seed": "1", "prompts": PROMPTS} | options
    )


def reflected(content: str, *runs: int) -> dict[str, Any]:
    """An edit as a reflection has it, with the numbers of the runs that it answers."""
    return {**edit(content), "runs": list(runs)}


def an_identity(**changes: Any) -> RolloutIdentity:
    """What identifies a rollout, changed as told."""
    base: dict[str, Any] = {
        "skill": "s1",
        "task": "t1",
        "agent": {"name": "codex", "version": "1"},
        "model": ModelSpec("up", "m", {"temperature": 0.5, "top_p": 1}),
        "service": {"kind": "sim", "seed": 0},
        "replicate": 0,
    }
    return RolloutIdentity(**{**base, **changes})


def a_result(folder: Path, **changes: Any) -> Rollout:
    """A rollout in a folder of a store, changed as told."""
    base: dict[str, Any] = {
        "key": "ab12",
        "identity": an_identity().to_json(),
        "task": a_task(),
        "status": Status.COMPLETED,
        "message": "",
        "reward": Reward(0.5, {"reward": 0.5}, "two rows differ"),
        "skill_activated": True,
        "answer": "done",
        "usage": Usage(2, 10, 5, 3, None),
        "agent_version": "1",
        "duration_s": 1.5,
        "folder": folder,
    }
    return Rollout(**{**base, **changes})
