"""The model that is asked as the optimizer: by the project itself, or by a command-line agent.

The agent runs in a sandbox that reaches the gateway and nothing else, whatever the config lets the
agents of rollouts reach.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from harnesses.agents.asking import AgentChat, AskedAgent, asked_agent
from harnesses.agents.registry import check_backend
from harnesses.base import Budget
from harnesses.gateway.chat import ChatClient
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Session
from harnesses.protocols.base import Conversation, Reply
from sandboxes.backend import Backend
from sandboxes.base import SandboxError
from skillopt.config.schema import Config
from skillopt.rollouts.slots import SandboxSlots, open_backend

SILENCE_S = 1800.0
"""Seconds for which a reply may think in silence, unless it is said."""
REQUESTS = 24
"""The most model requests for one reply. An agent asks again if a stream breaks off or a reply does
not fit, and the project once more; a model that calls tools which are not there would go on."""


class Chat(Protocol):
    """What can be asked for the next reply of a conversation."""

    def say(self, shown: Conversation, schema: Mapping[str, Any] | None = None) -> Reply:
        """The reply; raises ChatError if there is none."""


def asked_by(config: Config) -> dict[str, Any]:
    """The agent that asks the optimizer, as part of what decides its replies; empty if there is
    none."""
    name = config.optimizer.harness
    return {"harness": dict(asked_agent(name).label)} if name else {}


class Questions:
    """Opens a chat in each session of the optimizer. Safe to use from several threads.

    Args:
        config: the run's; its ``optimizer.harness`` decides who asks.
        gateway: this process's.
    """

    def __init__(self, config: Config, gateway: Gateway) -> None:
        name = config.optimizer.harness
        self._config, self._gateway = config, gateway
        self._agent: AskedAgent | None = asked_agent(name) if name else None
        self._backend: Backend | None = None
        self._slots: SandboxSlots | None = None
        self._cancelled = False
        self._lock = threading.Lock()
        self._stack = ExitStack()

    @contextmanager
    def open(self, session: Session) -> Iterator[Chat]:
        """A chat in a session. With an agent it waits for a free sandbox.

        Raises:
            SandboxError: the engine cannot be reached.
        """
        if self._agent is None:
            with ChatClient(session) as client:
                yield client
            return
        silence_s = session.grant.silence_s or SILENCE_S
        with self._sandboxes().site() as site:
            yield AgentChat(self._agent, session, site, silence_s)

    def check(self) -> None:
        """Raise SandboxError if the agent's program or its sandboxes are missing, before anything
        has been run whose results would wait for it."""
        if self._agent is None:
            return
        with self._sandboxes().site() as site:
            site.volume(self._agent.toolchain.image)

    def _sandboxes(self) -> SandboxSlots:
        with self._lock:
            if self._cancelled:
                raise SandboxError("the run is being ended")
            if self._slots is None:
                with ExitStack() as stack:
                    self._backend = backend = open_backend(self._config.sandbox)
                    stack.callback(backend.close)
                    assert self._agent is not None
                    check_backend(self._agent.name, backend, "optimizer.harness")
                    slots = SandboxSlots(self._gateway, backend, self._config.workers)
                    self._slots = stack.enter_context(slots)
                    self._stack = stack.pop_all()
            return self._slots

    @property
    def budget(self) -> Budget:
        """What one reply may take."""
        return Budget(requests=REQUESTS) if self._agent else Budget()

    def cancel(self) -> None:
        """Kill what runs, from any thread. Nothing can be asked by an agent afterwards."""
        with self._lock:
            self._cancelled = True
        if self._backend is not None:
            self._backend.close()

    def close(self) -> None:
        """Remove the sandboxes. Calling it again does nothing."""
        self._stack.close()
