"""Proves a deployment: the real agent, started on what is there, offers the skill to its model.

The agent runs in a container with a copy of the files in its native place, against a model that
only looks at the prompt.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from harnesses.base import Budget, ModelSpec, Request, Status, Usage
from harnesses.gateway import Gateway
from harnesses.protocols.base import Conversation, ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from harnesses.registry import make_harness
from harnesses.upstreams import Answer, Call
from sandboxes.base import Limits, SandboxError
from sandboxes.docker import DockerEngine
from sandboxes.images import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from skillopt.deploy.places import Place
from skillopt.places import Places
from skillopt.sim.prompt import listed_skills

MODEL = "looks-only"


@dataclass(frozen=True)
class Proof:
    """Whether the agent was seen to offer the skill. ``ok`` None: it could not be tried."""

    ok: bool | None
    detail: str


@dataclass
class _Looker:
    """A model that keeps what it is shown and says nothing of use."""

    shown: list[Conversation] = field(default_factory=list)
    protocols: frozenset[ProtocolName] = frozenset({"responses", "chat", "messages"})
    max_concurrency: int = 4

    async def send(self, call: Call) -> Answer:
        codec = CODECS[call.protocol]
        conversation = codec.read_request(call.body)
        self.shown.append(conversation)
        reply = Reply("Seen.", usage=Usage(1, 1, 0, 1), model=conversation.model)
        if conversation.stream:
            events = list(codec.write_stream(reply, conversation.model, "seen"))
        else:
            events = [json.dumps(codec.write_response(reply, conversation.model, "seen")).encode()]

        async def chunks() -> AsyncIterator[bytes]:
            for event in events:
                yield event

        kind = "text/event-stream" if conversation.stream else "application/json"
        return Answer(200, kind, chunks())

    async def close(self) -> None:
        """Nothing to close."""


def prove(place: Place, name: str, description: str) -> Proof:
    """Start the agent of a place on what is deployed there.

    Args:
        place: where the skill was deployed; of the project's own agents.
        name, description: of the skill, as they must be offered.
    """
    if place.agent not in ("codex", "claude-code"):
        return Proof(None, f"{place.agent} is no agent that can be started")
    try:
        shown = _start(place, name)
    except SandboxError as error:
        return Proof(None, f"not tried: {error}")
    if isinstance(shown, str):
        return Proof(False, shown)
    if place.form == "instructions":
        seen = any(description in m.text for c in shown for m in c.messages)
        return Proof(seen, f"{place.agent} {'reads' if seen else 'does not read'} the instructions")
    offered = {s.name: s.description for c in shown for s in listed_skills(c)}
    if name not in offered:
        return Proof(False, f"{place.agent} does not offer {name}; it offers: {sorted(offered)}")
    return Proof(True, f"{place.agent} offers {name}: {offered[name]}")


def _start(place: Place, name: str) -> list[Conversation] | str:
    """What the agent shows its model, or how it failed."""
    looker = _Looker()
    with ExitStack() as stack:
        engine = stack.enter_context(DockerEngine())
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=scratch_dir())))
        gateway = stack.enter_context(
            Gateway({"looker": looker}, scratch / "gateway.sock", lambda *_: 0.0)
        )
        places = stack.enter_context(Places(gateway, engine, 1))
        site = stack.enter_context(places.site())
        (scratch / "record").mkdir()
        (scratch / "workspace").mkdir()
        request = Request(
            id="proof",
            instruction="Say what you see.",
            image=AGENT_BASE_IMAGE,
            workspace=scratch / "workspace",
            workdir="/app",
            skill=None,
            model=ModelSpec("looker", MODEL),
            timeout_s=120,
            limits=Limits(memory_mb=2048),
            budget=Budget(),
            seed=0,
            env={},
            record=scratch / "record",
        )
        outcome = make_harness(place.agent).run(_with_files(request, place, name, scratch), site)
        if outcome.status is not Status.COMPLETED:
            return f"{place.agent} failed: {outcome.message}"
        return looker.shown


def _with_files(request: Request, place: Place, name: str, scratch: Path) -> Request:
    """The request with a copy of what is deployed: a skill as such, instructions in the project."""
    if place.form == "skill":
        return replace(request, skill=place.target(name))
    assert request.workspace is not None
    shutil.copyfile(place.path, request.workspace / place.path.name)
    return request
