"""Running a coding agent's own command-line program on a task: what all such harnesses share.

A program is described by a :class:`CliAgent` (see ``codex.py``); this module mounts, starts,
records and judges how it ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harnesses.base import Outcome, Request, Site, Status
from harnesses.gateway import Session
from harnesses.outcome import agents_fault, recorded
from harnesses.skills import SKILL_FILES, as_instructions, sandbox_copy
from harnesses.toolchains import Toolchain
from sandboxes.base import ExecResult, Mount, SandboxError, SandboxSpec

HOME = "/home/agent"


@dataclass(frozen=True)
class Launch:
    """How to start a program: arguments, environment, and files written into its home first."""

    argv: Sequence[str]
    env: Mapping[str, str]
    files: Mapping[str, str]


class CliAgent(Protocol):
    """What differs between command-line agents. One per file, stateless."""

    @property
    def name(self) -> str: ...

    @property
    def toolchain(self) -> Toolchain: ...

    @property
    def skills_dir(self) -> str:
        """Where it discovers skills, relative to its home."""

    @property
    def instructions(self) -> str:
        """The file of instructions that it always reads, relative to its home."""

    @property
    def transcripts(self) -> str:
        """Glob of its own transcripts, relative to its home."""

    def launch(self, request: Request, token: str, base_url: str) -> Launch: ...

    def complaint(self, stdout: str) -> str:
        """The error that the program itself reports at its end; empty when it reports none."""


@dataclass(frozen=True)
class CliHarness:
    """A harness that runs a command-line agent in batch mode."""

    agent: CliAgent

    @property
    def name(self) -> str:
        return self.agent.name

    def version(self) -> str:
        return self.agent.toolchain.version

    def run(self, request: Request, site: Site) -> Outcome:
        def act(session: Session) -> tuple[Status, str]:
            return self._run(request, site, session)

        return recorded(request, site, self.name, self.version(), act)

    def _run(self, request: Request, site: Site, session: Session) -> tuple[Status, str]:
        home = request.record / "home"
        home.mkdir()
        launch = self.agent.launch(request, session.token, site.base_url)
        for name, text in launch.files.items():
            _write(home / name, text)
        try:
            spec = SandboxSpec(
                image=request.image,
                workdir=request.workdir,
                mounts=self._mounts(request, site, home),
                env={"LANG": "C.UTF-8", **request.env, "HOME": HOME, **launch.env},
                limits=request.limits,
                network=site.network,
            )
            with site.sandbox(spec) as box:
                result = box.run(launch.argv, deadline_s=request.timeout_s)
        except SandboxError as error:
            return Status.INFRA_ERROR, f"sandbox: {error}"
        finally:
            self._keep_transcripts(home, request.record / "transcript")
        (request.record / "agent.stdout.jsonl").write_bytes(result.stdout)
        (request.record / "agent.stderr.txt").write_bytes(result.stderr)
        return self._verdict(result, session, request)

    def _mounts(self, request: Request, site: Site, home: Path) -> tuple[Mount, ...]:
        toolchain = self.agent.toolchain
        mounts = [
            Mount(str(home), HOME, read_only=False),
            Mount(site.volume(toolchain.image), toolchain.target),
        ]
        if request.workspace is not None:
            mounts.append(Mount(str(request.workspace), request.workdir, read_only=False))
        mounts += [self._native(skill, request, home) for skill in request.beside]
        if request.skill is not None:
            mounts.append(self._skill(request.skill, request, home))
        return tuple(mounts)

    def _skill(self, skill: Path, request: Request, home: Path) -> Mount:
        """The skill where the request wants it."""
        if request.mount == "instructions":
            copy = sandbox_copy(skill, request)
            mount = Mount(str(copy), f"{SKILL_FILES}/{skill.name}")
        else:
            mount = self._native(skill, request, home)
        if request.mount != "native":
            _write(home / self.agent.instructions, as_instructions(skill, mount.target))
        return mount

    def _native(self, skill: Path, request: Request, home: Path) -> Mount:
        place = f"{self.agent.skills_dir}/{skill.name}"
        # The mount point must belong to the agent, who also writes beside it.
        (home / place).mkdir(parents=True)
        return Mount(str(sandbox_copy(skill, request)), f"{HOME}/{place}")

    def _keep_transcripts(self, home: Path, target: Path) -> None:
        """Copy the program's transcripts and drop its home, where the agent could do as it liked:
        a link may lead to the transcripts of whoever runs this."""
        for file in sorted(home.glob(self.agent.transcripts)):
            if file.resolve().is_relative_to(home.resolve()) and file.is_file():
                target.mkdir(exist_ok=True)
                shutil.copyfile(file, target / file.name)
        # What resists goes with the rest of the record.
        shutil.rmtree(home, ignore_errors=True)

    def _verdict(
        self, result: ExecResult, session: Session, request: Request
    ) -> tuple[Status, str]:
        if session.failure:
            return Status.INFRA_ERROR, session.failure
        if result.timed_out:
            return Status.AGENT_TIMEOUT, f"agent was still running after {request.timeout_s:g} s"
        if result.limit:
            return Status.AGENT_ERROR, f"agent was stopped at its {result.limit} limit"
        if session.exhausted:
            return Status.AGENT_ERROR, session.exhausted
        complaint = self.agent.complaint(result.stdout.decode("utf-8", "replace"))
        if result.exit_code == 0 and not complaint:
            return Status.COMPLETED, ""
        tail = result.stderr.decode("utf-8", "replace").strip()[-1000:]
        what = f"{self.name} ended with exit code {result.exit_code}: {complaint or tail}"
        if agents_fault(session):
            return Status.AGENT_ERROR, what
        last = session.exchanges[-1].error if session.exchanges else "was never reached"
        return Status.INFRA_ERROR, f"{what} (model service: {last})"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
