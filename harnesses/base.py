"""A rollout as a harness runs it: the request that it takes, and the outcome that it returns.

A harness knows nothing of training. It takes an instruction, a workspace, a skill folder, a model
and limits; it returns a trajectory, a final answer, usage and a status.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sandboxes.base import Limits, Mount

if TYPE_CHECKING:
    from atif import Trajectory

    from harnesses.companion import Companion


MountMode = Literal["native", "instructions", "both"]
"""How an agent gets the skill: in its folder of skills, where it finds it by its description; in
its file of instructions, which it always reads; or both."""


Mode = Literal["batch", "interactive"]
"""How a command-line agent is run: for one task without a terminal, or on a terminal as a person
does."""


class Status(StrEnum):
    """How a rollout ended. Only the first three are verdicts on the agent."""

    COMPLETED = "completed"
    AGENT_TIMEOUT = "agent_timeout"
    AGENT_ERROR = "agent_error"
    INFRA_ERROR = "infra_error"
    CANCELLED = "cancelled"

    @property
    def scored(self) -> bool:
        return self in (Status.COMPLETED, Status.AGENT_TIMEOUT, Status.AGENT_ERROR)


@dataclass(frozen=True)
class ModelSpec:
    """A model behind the gateway: the upstream that serves it, its name there, and its sampling."""

    upstream: str
    name: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are added to every request, named as in the upstream's protocol."""


@dataclass(frozen=True)
class Usage:
    """Tokens and cost of one or many model calls. ``cost_usd`` None means unknown, not free."""

    requests: int = 0
    prompt_tokens: int = 0
    """Input tokens, those read from the provider's cache or written to it included."""
    cached_tokens: int = 0
    """Read from the provider's cache."""
    completion_tokens: int = 0
    cost_usd: float | None = 0.0
    cache_write_tokens: int = 0
    """Written to the provider's cache for some minutes."""
    cache_write_long_tokens: int = 0
    """Written to it for an hour or more."""
    estimated: bool = False
    """Whether the service did not report some of the counts, so that they are estimates."""
    included: bool = False
    """Whether a plan pays for some of the calls, which then have no cost of their own."""

    def __add__(self, other: Usage) -> Usage:
        unknown = self.cost_usd is None or other.cost_usd is None
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_long_tokens + other.cache_write_long_tokens,
            self.estimated or other.estimated,
            self.included or other.included,
        )

    @classmethod
    def total(cls, usages: Iterable[Usage]) -> Usage:
        """The sum of usages; its cost does not depend on their order."""
        given = list(usages)
        costs = [usage.cost_usd for usage in given if usage.cost_usd is not None]
        known = len(costs) == len(given)
        return replace(sum(given, cls()), cost_usd=math.fsum(costs) if known else None)


@dataclass(frozen=True)
class Budget:
    """The limits on one rollout's model requests. Requests beyond them are refused, and the rollout
    ends as ``agent_error``."""

    requests: int = 200
    tokens: int = 20_000_000
    """Prompt and completion tokens of all requests together, including cached ones."""


@dataclass(frozen=True)
class Openings:
    """When a request that only asks which skills the agent opens is over.

    Args:
        wanted: names of skill folders that are to be opened. It is over when all are.
        unwanted: names of those that are not. It is over when one is.
        calls: model calls of the main conversation after which it is over anyway.
    """

    wanted: frozenset[str]
    unwanted: frozenset[str]
    calls: int

    def decided(self, opened: frozenset[str]) -> bool:
        """Whether these openings decide."""
        return bool(opened & self.unwanted) or bool(self.wanted and self.wanted <= opened)


@dataclass(frozen=True)
class Request:
    """One rollout to run."""

    id: str
    instruction: str
    image: str
    workspace: Path | None
    """Host folder that becomes the agent's working directory; None for a question without tools."""
    workdir: str
    """The path of the workspace inside the sandbox."""
    skill: Path | None
    """Skill folder, named as the skill, mounted read-only; None for a run without a skill."""
    model: ModelSpec
    timeout_s: float
    limits: Limits
    budget: Budget
    seed: int
    """The seed for models that take one; with the same seed ``sim`` gives the same answers."""
    env: Mapping[str, str]
    """Environment variables of the task."""
    record: Path
    """Host folder, exists and is empty; the wire log, transcripts and logs are written to it."""
    home: Path | None = None
    """Host folder whose copy is the agent's home at first; None for an empty home."""
    mount: MountMode = "native"
    beside: tuple[Path, ...] = ()
    """Folders of other skills, all with different names; always mounted natively."""
    follow_ups: tuple[str, ...] = ()
    """The user's further messages in the same conversation, each sent when a turn has ended."""
    question: bool = False
    """Whether direct chat answers without its shell, although there is a workspace."""
    pictures: tuple[str, ...] = ()
    """Pictures in the workspace, by relative path, that are shown with the instruction; agents that
    take none find them where the instruction says."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Host folders that are mounted read-only, by their paths inside the sandbox."""
    companion: Companion | None = None
    """An object outside the sandbox that the agent can talk to. It serves this request alone.
    Whoever runs the request closes it: :func:`harnesses.agents.outcome.recorded` does."""
    led: bool = False
    """Whether the companion leads direct chat, which then has no tools: it is sent
    ``{"reply": TEXT}``, with null before the first reply, and answers ``{"prompt": TEXT}``, which
    is all that the model is shown next, or without a prompt at the end. It is of no effect in other
    agents."""
    max_turns: int | None = None
    """The most model replies in direct chat; by default the harness's own limit."""
    root: bool = False
    """Whether the agent is root of its container."""
    keep_as: str = ""
    """Name of the image in which its container is kept, as ``SandboxSpec.keep_as``."""
    openings: Openings | None = None
    """When it is over because skills have been opened, or have not; None if it runs to its end.
    It is then completed, and its agent gets no further reply."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """The user's messages, turn by turn."""
        return (self.instruction, *self.follow_ups)

    @property
    def folder_mounts(self) -> tuple[Mount, ...]:
        """The mounts of ``folders``."""
        return tuple(Mount(str(folder), place) for place, folder in self.folders.items())


@dataclass(frozen=True)
class Outcome:
    """The result of a request. ``message`` explains a status other than ``completed``."""

    status: Status
    message: str
    answer: str
    trajectory: Trajectory | None
    usage: Usage
    skill_activated: bool | None
    """Whether the skill's text reached the model; None if the request had no skill."""
    version: str
    duration_s: float
    """Seconds from start to end, by the clock on the wall."""
    others_opened: tuple[str, ...] = ()
    """Names of the other skills whose text reached the model."""
    service_s: float = 0.0
    """Seconds of ``duration_s`` that were lost to the model service: queue, failed tries and the
    pauses after them, silence. They do not count against the agent's time limit."""
