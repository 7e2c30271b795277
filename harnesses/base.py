"""What a harness is: the request it takes, the outcome it returns, and the protocol between.

A harness knows nothing of training. It is given an instruction, a workspace, a skill folder, a
model and limits; it gives back a trajectory, a final answer, usage and a status.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sandboxes.base import Limits

if TYPE_CHECKING:
    from atif import Trajectory

    from harnesses.companion import Companion


MountMode = Literal["native", "instructions", "both"]
"""How an agent is given the skill: in its place for skills, where it finds it by its description;
in its file of instructions, which it always reads; or both."""


Mode = Literal["batch", "interactive"]
"""How an agent program is run: for one task without a terminal, or on one as a person does."""


class Status(StrEnum):
    """How a rollout ended. Only the first three are verdicts on the agent; see design §2."""

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
    """A model behind the gateway: which upstream serves it, under which name, sampled how."""

    upstream: str
    name: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields for every request, as the upstream's protocol names them."""


@dataclass(frozen=True)
class Usage:
    """Tokens and money of one or many model calls. ``cost_usd`` None means unknown, not free."""

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
        )

    @classmethod
    def total(cls, usages: Iterable[Usage]) -> Usage:
        """A sum whose cost does not depend on the order of its parts."""
        given = list(usages)
        costs = [usage.cost_usd for usage in given if usage.cost_usd is not None]
        known = len(costs) == len(given)
        return replace(sum(given, cls()), cost_usd=math.fsum(costs) if known else None)


@dataclass(frozen=True)
class Budget:
    """What one rollout may ask of the model. Beyond it requests are refused, and the rollout ends
    as ``agent_error``."""

    requests: int = 200
    tokens: int = 20_000_000
    """Prompt and completion tokens of all requests together; cached ones count."""


@dataclass(frozen=True)
class Request:
    """One rollout to run."""

    id: str
    instruction: str
    image: str
    workspace: Path | None
    """Host folder that becomes the agent's working directory; None for a question without tools."""
    workdir: str
    """Where the workspace appears inside the sandbox."""
    skill: Path | None
    """Skill folder (its name is the skill's name), mounted read-only; None for a run without."""
    model: ModelSpec
    timeout_s: float
    limits: Limits
    budget: Budget
    seed: int
    """Passed to models that take one; with the same seed ``sim`` answers the same."""
    env: Mapping[str, str]
    """The task's own environment variables."""
    record: Path
    """Host folder, exists, empty: the wire log, the CLI's transcript and logs land here."""
    home: Path | None = None
    """Host folder that a copy of is the agent's home at first; None for an empty one."""
    mount: MountMode = "native"
    beside: tuple[Path, ...] = ()
    """Folders of other skills, named unlike each other and ``skill``; always mounted natively."""
    follow_ups: tuple[str, ...] = ()
    """What the user says after each turn's end, one turn each, in the same conversation."""
    companion: Companion | None = None
    """What the agent can talk to outside its sandbox. It is for this request alone, and closed by
    whoever runs that; :func:`harnesses.agents.outcome.recorded` does it."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the user says, turn by turn."""
        return (self.instruction, *self.follow_ups)


@dataclass(frozen=True)
class Outcome:
    """What came of a request. ``message`` says what happened when status is not ``completed``."""

    status: Status
    message: str
    answer: str
    trajectory: Trajectory | None
    usage: Usage
    skill_activated: bool | None
    """Whether the skill's text reached the model; None when the request had no skill."""
    version: str
    duration_s: float
    others_opened: tuple[str, ...] = ()
    """Names of the skills beside it whose text reached the model."""
