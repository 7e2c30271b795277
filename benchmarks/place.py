"""A place for benchmarks: the real engine and gateway, and an instant model with one shell call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harnesses.base import Budget, ModelSpec, Request
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.upstreams import Upstream
from sandboxes.base import Limits
from sandboxes.docker_backend import DockerBackend
from sandboxes.images import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from skillopt.rollouts.slots import SandboxSlots

SKILL = "---\nname: bench\ndescription: Rules for every task.\n---\n\n# Rules\n\n- Be quick.\n"


@dataclass
class Bench:
    backend: DockerBackend
    gateway: Gateway
    places: SandboxSlots
    folder: Path
    count: int = 0

    def request(self) -> Request:
        """A small task with a skill, in folders of its own."""
        self.count += 1
        record = self.folder / f"record-{self.count}"
        workspace = self.folder / f"workspace-{self.count}"
        record.mkdir()
        workspace.mkdir()
        return Request(
            id=f"bench-{self.count}",
            instruction="Do it.",
            image=AGENT_BASE_IMAGE,
            workspace=workspace,
            workdir="/app",
            skill=self.skill(),
            model=ModelSpec("up", "sim-1"),
            timeout_s=120,
            limits=Limits(),
            budget=Budget(),
            seed=self.count,
            env={},
            record=record,
        )

    def skill(self) -> Path:
        folder = self.folder / "skill" / "bench"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            (folder / "SKILL.md").write_text(SKILL)
        return folder


@contextmanager
def place(upstream: Upstream, workers: int) -> Iterator[Bench]:
    with (
        TemporaryDirectory(prefix="skillopt-bench-") as folder,
        closing(DockerBackend()) as backend,
        TemporaryDirectory(dir=scratch_dir()) as scratch,
        Gateway({"up": upstream}, Path(scratch) / "s", lambda *_: 0.0) as gateway,
        SandboxSlots(gateway, backend, workers) as places,
    ):
        yield Bench(backend, gateway, places, Path(folder))
