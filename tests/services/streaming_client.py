"""An agent that streams, as the command-line agents do, and gives up as they do; without a sandbox
of its own: it runs the commands of its model in its workspace."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import httpx2

from harnesses.agents.agent_clock import AgentClock
from harnesses.agents.outcome import recorded, services_fault
from harnesses.base import Outcome, Request, Status
from harnesses.gateway.session import Session
from harnesses.harness import RolloutSite
from harnesses.protocols.base import (
    Conversation,
    Message,
    ProtocolError,
    ProtocolName,
    Reply,
    Tool,
    ToolResult,
)
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import read_events

SHELL = Tool("shell", "Runs a command.", {"type": "object", "properties": {"command": {}}})
TRIES = 4


@dataclass
class StreamingClient:
    """Speaks the protocol of the model's service.

    Args:
        protocol: that it speaks.
    """

    protocol: ProtocolName = "chat"
    name: str = "streaming"

    def version(self) -> str:
        return "1"

    def run(self, request: Request, site: RolloutSite) -> Outcome:
        def act(session: Session) -> tuple[Status, str]:
            return self._run(request, session)

        return recorded(request, site, self.name, "1", act)

    def _run(self, request: Request, session: Session) -> tuple[Status, str]:
        clock = AgentClock(request.timeout_s, session.service_time)
        session.expired = clock.over
        messages = [Message("user", request.instruction)]
        for _ in range(20):
            reply = self._reply(session, request.model.name, messages)
            if clock.over() and not session.failure:
                return Status.AGENT_TIMEOUT, clock.message()
            if reply is None:
                service = services_fault(session)
                return (Status.INFRA_ERROR if service else Status.AGENT_ERROR), service or "refused"
            if not reply.calls:
                return Status.COMPLETED, ""
            results = []
            for call in reply.calls:
                done = subprocess.run(
                    ["bash", "-c", str(call.arguments.get("command"))], cwd=request.workspace
                )
                results.append(ToolResult(call.id, f"exit code {done.returncode}"))
            messages.append(Message("assistant", reply.text, reply.calls))
            messages.append(Message("user", results=tuple(results)))
        return Status.AGENT_ERROR, "too many turns"

    def _reply(self, session: Session, model: str, messages: list[Message]) -> Reply | None:
        codec = CODECS[self.protocol]
        path = next(path for path, name in PATHS.items() if name == self.protocol)
        body = codec.write_request(Conversation(model, tuple(messages), (SHELL,), stream=True))
        transport = httpx2.HTTPTransport(uds=str(session.socket))
        head = {"authorization": f"Bearer {session.token}"}
        with httpx2.Client(transport=transport, timeout=60, headers=head) as http:
            for _ in range(TRIES):
                try:
                    answer = http.post(f"http://gateway{path}", content=json.dumps(body))
                    if answer.status_code != 200:
                        return None
                    return codec.read_stream(read_events(answer.content))
                except (httpx2.HTTPError, ProtocolError):
                    continue  # A stream that broke off: again, as the agents do.
        return None
