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
from harnesses.skills import mountable_copy
from harnesses.toolchains import Toolchain
from sandboxes.base import ExecResult, Mount, SandboxError, SandboxSpec
from sandboxes.trees import remove_tree

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
        if request.home is not None:
            shutil.copytree(request.home, home, symlinks=True, dirs_exist_ok=True)
        launch = self.agent.launch(request, session.token, site.base_url)
        for name, text in launch.files.items():
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
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
        if request.skill is not None:
            place = f"{self.agent.skills_dir}/{request.skill.name}"
            # The mount point must belong to the agent, who also writes beside it.
            (home / place).mkdir(parents=True)
            copy = mountable_copy(request.skill, request.record / "skill")
            mounts.append(Mount(str(copy), f"{HOME}/{place}"))
        return tuple(mounts)

    def _keep_transcripts(self, home: Path, target: Path) -> None:
        """Copy the program's transcripts and drop its home, where the agent could do as it liked:
        a link may lead to the transcripts of whoever runs this."""
        for file in sorted(home.glob(self.agent.transcripts)):
            if file.resolve().is_relative_to(home.resolve()) and file.is_file():
                target.mkdir(exist_ok=True)
                shutil.copyfile(file, target / file.name)
        remove_tree(home)

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
