"""What a harness is: an agent that can be run on a task, and the site where a rollout runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from harnesses.base import Outcome, Request
from harnesses.gateway.gateway import Gateway
from sandboxes.access import Visit
from sandboxes.backend import Backend, Outlet
from sandboxes.base import Sandbox, SandboxError, SandboxSpec


@dataclass(frozen=True)
class RolloutSite:
    """Where rollouts run: the gateway, the sandboxes, and the way from these to that and outside.

    One per worker slot: two rollouts never share one at the same time.
    """

    gateway: Gateway
    backend: Backend
    outlet: Outlet

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        """A sandbox, not started yet."""
        return self.backend.sandbox(spec)

    def volume(self, image: str) -> str:
        """The volume that holds the files of a toolchain's image."""
        return self.backend.volume(image)

    def network(self) -> str:
        """The network of agent sandboxes (``SandboxSpec.network``), by which they reach the
        gateway. What that needs starts with the first call; raises SandboxError if it does not."""
        return self.outlet.connect()

    @property
    def base_url(self) -> str:
        """The gateway's address inside an agent's sandbox, without ``/v1``; valid after
        :meth:`network`."""
        return self.outlet.base_url

    @property
    def outside(self) -> bool:
        """Whether sandboxes may reach anything but the gateway, through :meth:`network`."""
        return not self.outlet.access.nothing

    @property
    def anywhere(self) -> bool:
        """Whether they may reach everything, so that the model service may act outside too."""
        return self.outlet.access.everything

    @property
    def env(self) -> Mapping[str, str]:
        """Environment variables by which programs find the way outside."""
        return self.outlet.env

    def visits(self) -> Sequence[Visit]:
        """What was reached outside, or refused, since the last call."""
        return self.outlet.visits()

    def broken(self) -> str:
        """What on the way to the model is no longer running; empty while all of it is."""
        if not self.gateway.running:
            return "the gateway has ended"
        try:
            self.outlet.check()
        except SandboxError as error:
            return str(error)
        return ""


class Harness(Protocol):
    """An agent that can be run on a task. Adding one touches a new file and the registry."""

    @property
    def name(self) -> str: ...

    def version(self) -> str:
        """Version of the agent program, part of a rollout's identity."""

    def run(self, request: Request, site: RolloutSite) -> Outcome:
        """Run one rollout. Never raises for what the agent, the model service or the sandbox
        does: those are statuses. Raises only for programming errors."""
