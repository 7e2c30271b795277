"""Proves a deployment: the real agent, started on what is there, offers the skill and opens it.

The agent runs in a container with a copy of all skills and instructions that it would read on this
machine, so that another skill of the same name is detected. Its model only opens the skill, and
reads a long one in pieces, as agents cut the middle out of long output.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from harnesses.agents.cli_agent import HOME
from harnesses.agents.registry import CLI_AGENTS, make_harness
from harnesses.base import Budget, ModelSpec, Request, Status, Usage
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import Conversation, ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from sandboxes.base import Limits, SandboxError
from sandboxes.engine import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from sandboxes.registry import make_backend
from skillopt.core.skill import Skill
from skillopt.core.skill_rules import not_offered
from skillopt.deploy.cautions import PROJECT_DOC_BYTES, project_limit
from skillopt.deploy.places import Place, seen_by
from skillopt.rollouts.slots import SandboxSlots
from skillopt.sim.prompt import (
    ListedSkill,
    listed_skills,
    opens_skill,
    shell_call,
    shell_of,
    turns,
)
from skillopt.sim.target import open_skill

LINKED = ".linked"
"""The folder in the agent's home for what links on this machine lead to."""
_COPIED = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
MODEL = "opens-only"
PROJECT = "/app"
LEFT_OUT = (".git", ".system", "node_modules")
"""Names in a folder of skills that no agent reads as a skill, or that the agent brings itself."""
LARGEST = 1_000_000
"""The most bytes of a file that is copied."""
MOST_LINKED = 2000
"""The most entries of a linked folder that is copied."""
PIECE, STEP, MAX_PIECES = 7000, 5000, 60
"""Bytes that are read of a long skill at once, and from one beginning to the next; the most times.
Pieces overlap, so that whatever is shorter than that is in one of them as a whole."""
SEGMENT = 400
"""The most characters that are looked for at once."""
_CUT = ("truncated", "too large", "too long")
"""Words by which agents say that they cut a text."""


@dataclass(frozen=True)
class Proof:
    """Whether the agent found the skill. ``ok`` is None if it could not be tried."""

    ok: bool | None
    detail: str


@dataclass
class _Opener:
    """A model that records what it is shown, opens the skill of one name, reads on if its file has
    more bytes than one piece, and does nothing else."""

    names: frozenset[str]
    size: int = 0
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
        opened = sum(any(opens_skill(call, name) for name in self.names) for call in calls)
        for skill in _offered(shown, self.names):
            if not opened:
                return open_skill(skill, shown) or Reply("There is no way to open it.")
            begin = (opened - 1) * STEP  # The first call read the file as a whole.
            shell = shell_of(shown)
            if skill.path and shell and self.size > PIECE and begin < self.size:
                if opened > MAX_PIECES:
                    break
                path = shlex.quote(skill.path)
                command = f"tail -c +{begin + 1} {path} | head -c {PIECE}"
                return shell_call(shell, command, "I read on.", shown)
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
        shown = conversations(place.agent, _names(skill), len(skill.text.encode()))
    except (SandboxError, OSError) as error:
        return Proof(None, f"not tried: {error}")
    if isinstance(shown, str):
        return Proof(False, shown)
    if place.form == "instructions":
        return _judge_instructions(place, skill, shown)
    return _judge(place, skill, shown)


def _judge_instructions(place: Place, skill: Skill, shown: Sequence[Conversation]) -> Proof:
    if not _missing(_texts(shown), skill):
        return Proof(True, f"{place.agent} reads the instructions")
    if place.agent == "codex" and place.scope == "project" and project_limit() > PROJECT_DOC_BYTES:
        what = f"more than {PROJECT_DOC_BYTES:,} bytes are read by your own settings only"
        return Proof(None, f"cannot tell: {what}, which are not copied")
    return Proof(False, f"{place.agent} does not read the instructions")


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
    missing = _missing(_texts(shown), skill)
    if missing and _is_a_part(shown, skill):
        part = f"{100 * (1 - missing):.0f} % of it"
        return Proof(
            None, f"cannot tell: {agent} offers {name} and opened it, but shows only {part} at once"
        )
    if missing:
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


def _missing(texts: Iterable[str], skill: Skill) -> float:
    """The share of the skill's body that is in none of the texts; 0 if it is nearly nothing.

    Not quite nothing, because agents fill in variables of a skill.
    """
    seen, parts = "\n\n".join(texts), _segments(skill.body)
    missing = sum(part not in seen for part in parts)
    return missing / len(parts) if missing > 0.1 * len(parts) else 0.0


def _segments(text: str) -> list[str]:
    """The lines of a text, and parts of long ones."""
    lines = [line.strip() for line in text.splitlines()]
    starts = ((line, at) for line in lines for at in range(0, len(line), SEGMENT))
    return [line[at : at + SEGMENT].strip() for line, at in starts]


def _is_a_part(shown: Sequence[Conversation], skill: Skill) -> bool:
    """Whether an agent said that it cut the skill, and nearly all that it left is the skill's."""
    if len(skill.text.encode()) <= PIECE:
        return False  # No agent cuts so short a text.
    for conversation in shown:
        for turn in turns(conversation.messages):
            text = turn.result.text if turn.result else ""
            if not any(opens_skill(turn.call, name) for name in _names(skill)):
                continue
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            known = sum(line in skill.text for line in lines)
            others = (line for line in lines if line not in skill.text)
            cut = any(word in line for line in others for word in _CUT)
            if cut and known >= 0.7 * len(lines):
                return True
    return False


def _named(agent: str, name: str) -> Iterator[Path]:
    """The paths of skills of that name on this machine."""
    for where, source in seen_by(agent).items():
        if where.endswith("skills") and (source / name).is_dir():
            yield source / name


def conversations(agent: str, names: frozenset[str], size: int = 0) -> list[Conversation] | str:
    """The conversations that an agent sends to its model if it is started on a copy of the user's
    skills and instructions, or how it failed.

    Args:
        agent: the command-line agent.
        names: the model opens the first skill that has one of these names.
        size: bytes of its file; a long one is read in pieces too.

    Raises:
        SandboxError, OSError: it cannot be started.
    """
    opener = _Opener(names, size)
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
            _copy(source, scratch / where, scratch / "home")
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


def _copy(source: Path, target: Path, home: Path) -> None:
    """Copy a folder of skills or a file of instructions, if there is one.

    Args:
        source: where it is on this machine.
        target: the path of the copy.
        home: the agent's home. What links lead to is copied there, and they stay links.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)
    if not source.is_dir():
        return
    shutil.copytree(source, target, symlinks=True, ignore=_ignored)
    top = Path(os.path.realpath(source))
    for copy in [path for path in target.rglob("*") if path.is_symlink()]:
        real = Path(os.path.realpath(source / copy.relative_to(target)))
        link = copy.readlink()
        if (real.is_relative_to(top) and not link.is_absolute()) or not real.exists():
            continue
        number = len(list((home / LINKED).glob("*")))
        kept = home / LINKED / str(number) / real.name
        kept.parent.mkdir(parents=True)
        if real.is_dir() and _is_small(real):
            shutil.copytree(real, kept, symlinks=True, ignore=_ignored)
        elif real.is_file() and real.stat().st_size <= LARGEST:
            shutil.copyfile(real, kept)
        copy.unlink()
        copy.symlink_to(Path(HOME) / kept.relative_to(home))


def _is_small(folder: Path) -> bool:
    """Whether a linked folder is a skill or some, and not a home or a disk."""
    seen = 0
    for _, below, files in os.walk(folder):
        seen += len(below) + len(files)
        if seen > MOST_LINKED:
            return False
    return True


def _ignored(folder: str, names: list[str]) -> set[str]:
    """What is not copied: files that are large, or are no files, and what no agent reads."""
    kinds = {name: (Path(folder) / name).lstat() for name in names}
    special = {n for n, s in kinds.items() if stat.S_IFMT(s.st_mode) not in _COPIED}
    large = {n for n, s in kinds.items() if stat.S_ISREG(s.st_mode) and s.st_size > LARGEST}
    return large | special | (set(LEFT_OUT) & set(names))
