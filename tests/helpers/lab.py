"""Places to run one harness in, with a model of the test's own: a real engine, or no container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harnesses.agents import registry
from harnesses.agents.registry import make_harness
from harnesses.base import Budget, ModelSpec, Outcome, Request
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.upstreams import Upstream
from harnesses.harness import Harness, RolloutSite
from sandboxes.access import Access
from sandboxes.backend import Backend
from sandboxes.base import Limits
from sandboxes.docker import DockerEngine
from sandboxes.docker_backend import DockerBackend
from sandboxes.local_backend import LocalBackend
from sandboxes.owner import scratch_dir
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.rollout import Job
from skillopt.rollouts.slots import SandboxSlots
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import VerifierSite
from tests.helpers.patience import QUICK

IMAGE = "skillopt/agent-base:1"
SKILL = """\
---
name: house-rules
description: House rules for spreadsheets, CSV, logs, JSON, scripts and reports. Read them first.
---

# House rules

- In spreadsheets, treat an amount written in parentheses as a negative number.
- When matching ids between files, ignore leading zeros and letter case.
"""


@dataclass
class Lab:
    """Runs requests; ``folder`` is the test's own."""

    backend: DockerBackend
    gateway: Gateway
    site: RolloutSite
    folder: Path
    verifier: VerifierSite
    count: int = 0

    @property
    def engine(self) -> DockerEngine:
        return self.backend.engine

    def request(self, **changes: object) -> Request:
        """A request with an empty workspace and no skill, changed as told."""
        self.count += 1
        record = self.folder / f"record-{self.count}"
        workspace = self.folder / f"workspace-{self.count}"
        record.mkdir()
        workspace.mkdir()
        base = Request(
            id=f"test-{self.count}",
            instruction="Do it.",
            image=IMAGE,
            workspace=workspace,
            workdir="/app",
            skill=None,
            model=ModelSpec("up", "sim-1"),
            timeout_s=60,
            limits=Limits(memory_mb=2048),
            budget=Budget(),
            seed=1,
            env={},
            record=record,
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    def skill(self, text: str = SKILL) -> Path:
        folder = self.folder / "skill" / "house-rules"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "SKILL.md").write_text(text)
        return folder

    def run(self, harness: str | Harness, request: Request) -> Outcome:
        agent = make_harness(harness) if isinstance(harness, str) else harness
        return agent.run(request, self.site)


MakeLab = Callable[[Upstream], Lab]


@pytest.fixture
def lab(backend: DockerBackend, tmp_path: Path) -> Iterator[MakeLab]:
    with ExitStack() as stack:

        @contextmanager
        def made(upstream: Upstream) -> Iterator[Lab]:
            with (
                TemporaryDirectory(dir=scratch_dir()) as scratch,
                Gateway({"up": upstream}, Path(scratch) / "s", lambda *_: 0.0, QUICK) as gateway,
                SandboxSlots(gateway, backend, 1) as slots,
                slots.site() as site,
                slots.verifier() as verifier,
            ):
                yield Lab(backend, gateway, site, tmp_path, verifier)

        yield lambda upstream: stack.enter_context(made(upstream))


@contextmanager
def place(upstream: Upstream, backend: Backend | None = None) -> Iterator[RolloutSite]:
    backend = backend or LocalBackend()
    with (
        TemporaryDirectory(dir=scratch_dir()) as folder,
        Gateway({"up": upstream}, Path(folder) / "s", lambda *_: 0.0) as gateway,
    ):
        yield RolloutSite(gateway, backend, backend.outlet(Access(), gateway.socket))


def job(here: Lab, harness: str, task: Path) -> Job:
    agent, request = registry.make_harness(harness), here.request()
    read = read_task(task)
    named = RolloutIdentity(None, read.digest, {"name": harness}, request.model, {}, 0)
    return Job(
        read, None, agent, request.model, named, Limits(memory_mb=1536, disk_mb=64), Budget()
    )
