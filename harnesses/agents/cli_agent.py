"""Running a command-line agent on a task: the part that all such harnesses share.

An agent is described by a :class:`CliAgent` (see ``codex.py``); this module mounts what it needs,
starts it, records it, and judges how it ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harnesses.agents.agent_clock import AgentClock
from harnesses.agents.folders import Folders
from harnesses.agents.options import Options, Rules
from harnesses.agents.outcome import recorded, services_fault
from harnesses.agents.terminal_profile import TerminalProfile
from harnesses.agents.toolchains import Toolchain
from harnesses.base import Mode, Outcome, Request, Status
from harnesses.companion import companion_env
from harnesses.gateway.plan_upstreams import CLAUDE_ONLY, CONTAINER_HOLDS_TOKEN, ProgramToken
from harnesses.gateway.session import Session
from harnesses.harness import RolloutSite
from harnesses.json_values import loads
from harnesses.skills import SKILL_FILES, as_instructions, sandbox_copy
from sandboxes.base import (
    CopyRefusedError,
    ExecResult,
    Mount,
    Sandbox,
    SandboxError,
    SandboxSpec,
    Terminal,
)
from sandboxes.disk import SMALLEST_ENTRY
from sandboxes.errors import SkillOptError
from sandboxes.trees import make_harmless, remove_tree, shown_name

HOME = "/home/agent"
SYSTEM_FILE, PROMPT_FILE, SCHEMA_FILE = (f"question/{n}" for n in ("system", "prompt", "schema"))
"""The parts of a question, in the agent's home."""
TRANSCRIPT_BYTES = 16 * 1024 * 1024
"""The most bytes that are kept of one rollout's transcripts."""
CUT_TRANSCRIPTS = "cut.txt"
"""File among the kept transcripts that names those that are not whole."""
TERMINAL_ENV = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


@dataclass(frozen=True)
class Launch:
    """How to start an agent.

    Args:
        commands: in batch mode one for each turn, which continues the conversation.
        env: environment variables.
        files: that are written into its home first.
        path: a folder that it finds programs in before those of the image's own PATH, which only
            the image knows.
    """

    commands: Sequence[Sequence[str]]
    env: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str]
    path: str = ""
    unset: tuple[str, ...] = ()
    """Variables that the image or the task may have set, and that the agent must not see."""

    def started(self, command: Sequence[str]) -> list[str]:
        """A command as it is run."""
        if not self.path and not self.unset:
            return list(command)
        without = f"unset {' '.join(self.unset)}; " if self.unset else ""
        if not self.path:
            return ["sh", "-c", f'{without}exec "$@"', "sh", *command]
        return ["sh", "-c", without + 'PATH="$0:$PATH" exec "$@"', self.path, *command]

    def write_files(self, home: Path) -> None:
        """Write its files into a home."""
        for name, text in self.files.items():
            _write(home / name, text)


@runtime_checkable
class PlanAgent(Protocol):
    """A command-line agent that can use its user's plan, whose token it sends by itself."""

    def on_plan(self, launch: Launch, token: ProgramToken, base_url: str) -> Launch:
        """How to start it with the token of a plan, in place of a session's.

        Args:
            launch: with a session's token.
            token: of the plan.
            base_url: of the gateway, for calls that pass as they are.
        """


class CliAgent(Protocol):
    """A command-line agent. One per file, stateless."""

    @property
    def name(self) -> str: ...

    @property
    def toolchain(self) -> Toolchain: ...

    @property
    def folders(self) -> Folders:
        """The folders in which it finds skills and instructions."""

    @property
    def transcripts(self) -> str:
        """A glob of its own transcripts, relative to its home."""

    @property
    def starts_tools_early(self) -> bool:
        """Whether it starts a tool before the reply that asks for it is complete."""

    @property
    def terminal_profile(self) -> TerminalProfile:
        """How it behaves on a terminal."""

    def launch(self, request: Request, token: str, base_url: str, mode: Mode) -> Launch:
        """How to start it on a request, with the gateway at ``base_url``."""

    def complaint(self, stdout: str) -> str:
        """The error that the agent itself reports at its end; empty if it reports none."""


class AgentReportedError(SkillOptError):
    """There is no reply; with what the agent itself reports."""

    exit_code = 3


@dataclass(frozen=True)
class Question:
    """What an agent is asked in place of a task, see :mod:`harnesses.agents.asking`.

    Args:
        model: its name.
        system: the whole system prompt.
        prompt: the rest.
        schema: JSON schema of the reply; None for any.
        token: of the session.
        base_url: the gateway's address inside the sandbox, without ``/v1``.
        silence_s: seconds for which a reply may think in silence.
    """

    model: str
    system: str
    prompt: str
    schema: Mapping[str, Any] | None
    token: str
    base_url: str
    silence_s: float


@dataclass(frozen=True)
class Asking:
    """How an agent is asked one question, without tools.

    Args:
        launch: the start, from its toolchain; its one command reads :data:`PROMPT_FILE`.
        read: from what it printed to the reply, whatever its exit code; raises AgentReportedError.
        most_chars: characters of the longest prompt that it takes.
        on_plan: as that of :class:`PlanAgent`; None if it can use no plan.
    """

    launch: Callable[[Toolchain, Question], Launch]
    read: Callable[[str], str]
    most_chars: int
    on_plan: Callable[[Launch, ProgramToken, str], Launch] | None = None


@dataclass(frozen=True)
class AgentKind:
    """All that the project has to know of a command-line agent: its module's ``KIND``.

    Args:
        agent: makes its adapter from a toolchain and options.
        toolchain: makes its toolchain from a version (None for the pinned one).
        rules: the options that it takes.
        folders: in which it finds skills and instructions.
        asking: how it is asked a question; None if it cannot be.
    """

    agent: Callable[[Toolchain, Options], CliAgent]
    toolchain: Callable[[str | None], Toolchain]
    rules: Rules
    folders: Folders
    asking: Asking | None = None


@dataclass(frozen=True)
class CliHarness:
    """A harness that runs a command-line agent.

    Args:
        agent: to run.
        mode: in which it is run.
        patience_s: in interactive mode, the seconds after which a screen that does not change is
            unknown.
    """

    agent: CliAgent
    mode: Mode = "batch"
    patience_s: float = 20.0

    @property
    def name(self) -> str:
        return self.agent.name

    def version(self) -> str:
        return self.agent.toolchain.version

    def run(self, request: Request, site: RolloutSite) -> Outcome:
        def act(session: Session) -> tuple[Status, str]:
            return self._run(request, site, session)

        return recorded(request, site, self.name, self.version(), act)

    def _run(self, request: Request, site: RolloutSite, session: Session) -> tuple[Status, str]:
        home = request.record / "home"
        home.mkdir()
        if request.home is not None:
            shutil.copytree(request.home, home, symlinks=True, dirs_exist_ok=True)
        try:
            network = site.network()
            launch = self.agent.launch(request, session.token, site.base_url, self.mode)
            if session.login is not None:
                if not isinstance(self.agent, PlanAgent):
                    return Status.INFRA_ERROR, CLAUDE_ONLY
                if site.outside or request.keep_as:
                    return Status.INFRA_ERROR, CONTAINER_HOLDS_TOKEN
                address = f"{site.base_url}{session.path}"
                launch = self.agent.on_plan(launch, session.login, address)
            launch.write_files(home)
            env = {"LANG": "C.UTF-8", **request.env, "HOME": HOME, **launch.env}
            spec = SandboxSpec(
                image=request.image,
                workdir=request.workdir,
                mounts=self._mounts(request, site, home),
                env={**env, **companion_env(request.companion, session.token, site.base_url)},
                limits=request.limits,
                network=network,
                single_command=self.mode == "batch" and len(launch.commands) == 1,
                root=request.root,
                keep_as=request.keep_as,
            )
            with site.sandbox(spec) as box:
                end = (self._batch if self.mode == "batch" else self._interactive)(
                    box, launch, request, session
                )
        except CopyRefusedError as error:
            return Status.AGENT_ERROR, f"agent was stopped at its disk limit: {error}"
        except SandboxError as error:
            return Status.INFRA_ERROR, f"sandbox: {error}"
        finally:
            self._keep_transcripts(home, request.record / "transcript")
        return self._verdict(end, session)

    def _batch(self, box: Sandbox, launch: Launch, request: Request, session: Session) -> _End:
        clock = AgentClock(request.timeout_s, session.service_time)
        with (
            (request.record / "agent.stdout.jsonl").open("wb") as out,
            (request.record / "agent.stderr.txt").open("wb") as err,
        ):
            for session.part, command in enumerate(launch.commands):
                left_s = max(0.0, clock.left_s)
                result = box.run(
                    launch.started(command), deadline_s=left_s, uncounted=clock.uncounted()
                )
                out.write(session.scrub.raw(result.stdout))
                err.write(session.scrub.raw(result.stderr))
                over = session.failure or session.exhausted or session.over
                if result.exit_code != 0 or over:
                    break
        complaint = self.agent.complaint(result.stdout.decode("utf-8", "replace"))
        if result.exit_code and not complaint:
            complaint = result.stderr.decode("utf-8", "replace").strip()[-1000:]
        return _End(result, clock.message() if result.timed_out else complaint)

    def _interactive(
        self, box: Sandbox, launch: Launch, request: Request, session: Session
    ) -> _End:
        import pexpect

        from harnesses.agents.interactive import UnknownScreenError, converse
        from harnesses.agents.screen import Screen

        complaint, lost, done = "", False, False

        def talk(terminal: Terminal) -> None:
            nonlocal complaint, lost, done
            profile = self.agent.terminal_profile
            try:
                converse(terminal, screen, session, request.prompts, profile, self.patience_s)
                done = True
            except UnknownScreenError as error:
                complaint, lost = str(error), True
            except pexpect.EOF:
                complaint = f"it exited before its work was done:\n{screen.text}"

        with Screen(request.record) as screen:
            clock = AgentClock(request.timeout_s, session.service_time)
            result = box.converse(
                launch.started(launch.commands[0]),
                talk,
                deadline_s=clock.left_s,
                uncounted=clock.uncounted(),
            )
        return _End(result, clock.message() if result.timed_out else complaint, lost, done)

    def _mounts(self, request: Request, site: RolloutSite, home: Path) -> tuple[Mount, ...]:
        toolchain = self.agent.toolchain
        mounts = [
            Mount(str(home), HOME, read_only=False, wanted=_fixed_part(self.agent.transcripts)),
            Mount(site.volume(toolchain.image), toolchain.target),
        ]
        if request.workspace is not None:
            mounts.append(Mount(str(request.workspace), request.workdir, read_only=False))
        mounts += request.folder_mounts
        mounts += [self._native(skill, request, home) for skill in request.beside]
        if request.skill is not None:
            mounts.append(self._skill(request.skill, request, home))
        return tuple(mounts)

    def _skill(self, skill: Path, request: Request, home: Path) -> Mount:
        """The mount of the skill, at the place that the request's ``mount`` asks for."""
        if request.mount == "instructions":
            copy = sandbox_copy(skill, request)
            mount = Mount(str(copy), f"{SKILL_FILES}/{skill.name}")
        else:
            mount = self._native(skill, request, home)
        if request.mount != "native":
            text = as_instructions(skill, mount.target)
            _write(home / self.agent.folders.user_instructions, text)
        return mount

    def _native(self, skill: Path, request: Request, home: Path) -> Mount:
        place = f"{self.agent.folders.skills}/{skill.name}"
        # The mount point must belong to the agent, which also writes next to it.
        (home / place).mkdir(parents=True)
        return Mount(str(sandbox_copy(skill, request)), f"{HOME}/{place}")

    def _keep_transcripts(self, home: Path, target: Path) -> None:
        """Copy the agent's transcripts and remove its home. The agent could write there what it
        liked: links are not followed, and no more than :data:`TRANSCRIPT_BYTES` are kept."""
        make_harmless(home, links=False)
        left, cut = TRANSCRIPT_BYTES, []
        for file in sorted(file for file in home.glob(self.agent.transcripts) if file.is_file()):
            target.mkdir(exist_ok=True)
            size = file.stat().st_size
            if size > left:
                cut.append(f"{shown_name(file.name)}: {left} of {size} bytes were kept\n")
            if left:
                with file.open("rb") as source, (target / file.name).open("wb") as kept:
                    kept.write(source.read(left))
            left = max(0, left - max(size, SMALLEST_ENTRY))
        if cut:
            (target / CUT_TRANSCRIPTS).write_text("".join(cut), "utf-8")
        remove_tree(home)

    def _verdict(self, end: _End, session: Session) -> tuple[Status, str]:
        result = end.result
        if session.failure:
            return Status.INFRA_ERROR, session.failure
        if session.over:
            return Status.COMPLETED, ""
        if session.cuts and self.agent.starts_tools_early:
            what = f"{self.name} may have done a part of its work twice"
            return Status.INFRA_ERROR, f"the model service broke off a stream: {what}"
        if end.done and not session.exhausted:
            return Status.COMPLETED, ""
        if result.timed_out:
            return Status.AGENT_TIMEOUT, end.complaint
        if result.limit:
            return Status.AGENT_ERROR, f"agent was stopped at its {result.limit} limit"
        if session.exhausted:
            return Status.AGENT_ERROR, session.exhausted
        if result.exit_code == 0 and not end.complaint:
            return Status.COMPLETED, ""
        what = f"{self.name} ended with exit code {result.exit_code}: {end.complaint}"
        service = services_fault(session)
        last = session.exchanges[-1] if session.exchanges else None
        if end.lost:
            # An unknown screen is only the agent's fault if its request was itself wrong.
            refused = last is not None and last.blame == "agent"
            what = f"{self.name} was ended: {end.complaint}"
            return (Status.AGENT_ERROR if refused else Status.INFRA_ERROR), what
        if service:
            return Status.INFRA_ERROR, f"{what} ({service})"
        return Status.AGENT_ERROR, what


@dataclass(frozen=True)
class _End:
    """How an agent ended.

    Args:
        result: of its last command.
        complaint: the error that it reported.
        lost: whether it was ended at an unknown screen.
        done: whether its work was done, whatever the exit code.
    """

    result: ExecResult
    complaint: str
    lost: bool = False
    done: bool = False


def _fixed_part(pattern: str) -> str:
    """The folders that a glob names before its first wildcard."""
    return "/".join(takewhile(lambda part: "*" not in part, pattern.split("/")[:-1]))


def events(stdout: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that an agent printed, one a line. Between them are plain warnings, and
    perhaps the output of the agent's tools."""
    for line in stdout.split("\n"):
        try:
            event = loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def text_at(event: Any, *keys: str) -> str:
    """The value at a path of keys as text; empty if there is none."""
    for key in keys:
        event = event.get(key) if isinstance(event, dict) else None
    return "" if event is None else str(event)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Half of a surrogate pair, which JSON can have, has no UTF-8.
    file.write_bytes(text.encode("utf-8", "replace"))
