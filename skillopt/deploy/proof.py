"""Proves a deployment: the real agent, started on what is there, offers the skill and opens it.

The agent runs in a container with a copy of all skills and instructions that it would read on this
machine, so that another skill of the same name is detected. Its model only opens the skill.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from harnesses.agents.registry import CLI_AGENTS, make_harness
from harnesses.base import Budget, ModelSpec, Request, Status, Usage
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import Conversation, ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from sandboxes.base import Limits, SandboxError
from sandboxes.images import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from sandboxes.registry import make_backend
from skillopt.core.skill import Skill
from skillopt.core.skill_rules import not_offered
from skillopt.deploy.places import Place, seen_by
from skillopt.rollouts.slots import SandboxSlots
from skillopt.sim.prompt import ListedSkill, listed_skills, opens_skill, turns
from skillopt.sim.target import open_skill

MODEL = "opens-only"
PROJECT = "/app"
LEFT_OUT = (".git", ".system", "node_modules")
"""Names in a folder of skills that no agent reads as a skill, or that the agent brings itself."""
LARGEST = 1_000_000
"""The most bytes of a file that is copied."""


@dataclass(frozen=True)
class Proof:
    """Whether the agent found the skill. ``ok`` is None if it could not be tried."""

    ok: bool | None
    detail: str


@dataclass
class _Opener:
    """A model that records what it is shown, opens the skill of one name, and does nothing else."""

    names: frozenset[str]
    shown: list[Conversation] = field(default_factory=list)
    protocols: frozenset[ProtocolName] = frozenset({"responses", "chat", "messages"})
    max_concurrency: int = 4

    async def send(self, call: Call) -> Answer:
        codec = CODECS[call.protocol]
        shown = codec.read_request(call.body)
        self.shown.append(shown)
        reply = self._reply(shown)
        reply = Reply(reply.text, reply.calls, Usage(1, 1, 0, 1), reply.stop, model=shown.model)
        if shown.stream:
            events = list(codec.write_stream(reply, shown.model, "seen"))
        else:
            events = [json.dumps(codec.write_response(reply, shown.model, "seen")).encode()]

        async def chunks() -> AsyncIterator[bytes]:
            for event in events:
                yield event

        return Answer(200, "text/event-stream" if shown.stream else "application/json", chunks())

    def _reply(self, shown: Conversation) -> Reply:
        calls = [turn.call for turn in turns(shown.messages)]
        opened = any(opens_skill(call, name) for call in calls for name in self.names)
        if not opened:
            for skill in _offered(shown, self.names):
                return open_skill(skill, shown) or Reply("There is no way to open it.")
        return Reply("Seen.")

    async def close(self) -> None:
        """Nothing to close."""


def prove(place: Place, skill: Skill) -> Proof:
    """Start the agent of a place on what is deployed there.

    Args:
        place: where the skill was deployed, for one of the project's own agents.
        skill: the deployed skill.
    """
    if place.agent not in CLI_AGENTS:
        return Proof(None, f"{place.agent} is not an agent that can be started")
    if place.form == "skill" and not_offered(skill, place.agent):
        why = "as its front matter has disable-model-invocation: true"
        return Proof(None, f"{place.agent} has {skill.folder} for its user only, {why}")
    try:
        shown = conversations(place.agent, _names(skill))
    except (SandboxError, OSError) as error:
        return Proof(None, f"not tried: {error}")
    if isinstance(shown, str):
        return Proof(False, shown)
    if place.form == "instructions":
        seen = _holds(_texts(shown), skill)
        return Proof(seen, f"{place.agent} {'reads' if seen else 'does not read'} the instructions")
    return _judge(place, skill, shown)


def _judge(place: Place, skill: Skill, shown: Sequence[Conversation]) -> Proof:
    """Whether the skill that the agent offered and opened is the one that was deployed."""
    agent, name = place.agent, skill.folder
    offered = list(dict.fromkeys(s for c in shown for s in _offered(c, _names(skill))))
    if not offered:
        others = sorted({s.name for c in shown for s in listed_skills(c)})
        return Proof(False, f"{agent} does not offer {name}; it offers: {others}")
    there = ", ".join(str(folder) for folder in _named(agent, name))
    if len(offered) > 1:
        return Proof(False, f"{agent} offers {len(offered)} skills named {name}: {there}")
    if not _holds(_texts(shown), skill):
        what = "what it opened is not what was deployed; there are"
        return Proof(False, f"{agent} offers {name}, but {what}: {there}")
    return Proof(True, f"{agent} offers {name} and opened it: {offered[0].description}")


def _names(skill: Skill) -> frozenset[str]:
    """The names by which agents list a skill: the front matter's, or the folder's."""
    return frozenset((skill.name, skill.folder))


def _offered(shown: Conversation, names: frozenset[str]) -> list[ListedSkill]:
    """The offered skills of these names; a plugin's skills have the plugin's name as a prefix."""
    return [skill for skill in listed_skills(shown) if skill.name in names]


def _texts(shown: Sequence[Conversation]) -> Iterator[str]:
    for conversation in shown:
        for message in conversation.messages:
            yield message.text
            yield from (result.text for result in message.results)


def _holds(texts: Iterator[str], skill: Skill) -> bool:
    """Whether one of the texts contains nearly all lines of the skill's body.

    Not all, because agents shorten long output and fill in variables of a skill.
    """
    lines = [line.strip() for line in skill.body.splitlines() if line.strip()]
    return any(sum(line in text for line in lines) >= 0.9 * len(lines) for text in texts)


def _named(agent: str, name: str) -> Iterator[Path]:
    """The paths of skills of that name on this machine."""
    for where, source in seen_by(agent).items():
        if where.endswith("skills") and (source / name).is_dir():
            yield source / name


def conversations(agent: str, names: frozenset[str]) -> list[Conversation] | str:
    """The conversations that an agent sends to its model if it is started on a copy of the user's
    skills and instructions, or how it failed.

    Args:
        agent: the command-line agent.
        names: the model opens the first skill that has one of these names.

    Raises:
        SandboxError, OSError: it cannot be started.
    """
    opener = _Opener(names)
    with ExitStack() as stack:
        backend = stack.enter_context(closing(make_backend()))
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=scratch_dir())))
        gateway = stack.enter_context(
            Gateway({"opener": opener}, scratch / "gateway.sock", lambda *_: 0.0)
        )
        slots = stack.enter_context(SandboxSlots(gateway, backend, 1))
        site = stack.enter_context(slots.site())
        for folder in ("record", "home", "project"):
            (scratch / folder).mkdir()
        for where, source in seen_by(agent).items():
            _copy(source, scratch / where)
        request = Request(
            id="proof",
            instruction="Say what you see.",
            image=AGENT_BASE_IMAGE,
            workspace=scratch / "project",
            workdir=PROJECT,
            skill=None,
            model=ModelSpec("opener", MODEL),
            timeout_s=120,
            limits=Limits(memory_mb=2048),
            budget=Budget(),
            seed=0,
            env={},
            record=scratch / "record",
            home=scratch / "home",
        )
        outcome = make_harness(agent).run(request, site)
        if outcome.status is not Status.COMPLETED:
            return f"{agent} failed: {outcome.message}"
        return opener.shown


def _copy(source: Path, target: Path) -> None:
    """Copy a folder of skills or a file of instructions, if there is one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=_ignored)
    elif source.is_file():
        shutil.copyfile(source, target)


def _ignored(folder: str, names: list[str]) -> set[str]:
    large = {n for n in names if (Path(folder) / n).lstat().st_size > LARGEST}
    return large | (set(LEFT_OUT) & set(names))
