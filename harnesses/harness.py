"""What a harness is: an agent that can be run on a task, and the place where a rollout runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harnesses.base import Outcome, Request
from harnesses.gateway.gateway import Gateway
from sandboxes.base import SandboxFactory
from sandboxes.proxy import Visit


@dataclass(frozen=True)
class RolloutSite:
    """Where rollouts run: the gateway, what makes sandboxes, and the relay's network.

    One per worker slot: two rollouts never share a relay at the same time.
    """

    gateway: Gateway
    sandbox: SandboxFactory
    network: Callable[[], str]
    """Network of agent sandboxes (``SandboxSpec.network``). Its relay starts when it is first asked
    for; SandboxError where it does not."""
    base_url: str
    """The gateway as seen from inside an agent's sandbox, without ``/v1``."""
    volume: Callable[[str], str]
    """From a toolchain's image to the volume that holds its files."""
    outside: bool = False
    """Whether sandboxes may reach anything but the gateway, through ``network``."""
    anywhere: bool = False
    """Whether that is everything, so that the model service may act outside too."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables by which programs find the way outside."""
    visits: Callable[[], Sequence[Visit]] = list
    """What was reached outside, or refused, since the last call."""
    broken: Callable[[], str] = str
    """What on the way to the model does not run any more; empty while all does."""


class Harness(Protocol):
    """An agent that can be run on a task. Adding one touches a new file and the registry."""

    @property
    def name(self) -> str: ...

    def version(self) -> str:
        """Version of the agent program, part of a rollout's identity."""

    def run(self, request: Request, site: RolloutSite) -> Outcome:
        """Run one rollout. Never raises for what the agent, the model service or the sandbox
        does: those are statuses. Raises only for programming errors."""
