"""A harness: an agent that can be run on a task, and the site of its rollouts."""

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
    """Where rollouts run: the gateway, the sandboxes, and their way to the gateway and outside.

    There is one per worker slot: two rollouts never share one at the same time.
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
        gateway. The first call starts what that needs; raises SandboxError if that fails."""
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
        """The attempts to reach something outside since the last call."""
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
    """An agent that can be run on a task."""

    @property
    def name(self) -> str: ...

    def version(self) -> str:
        """The agent's version, which is part of a rollout's identity."""

    def run(self, request: Request, site: RolloutSite) -> Outcome:
        """Run one rollout. Failures of the agent, the model service or the sandbox are statuses of
        the outcome; an exception is a programming error."""
