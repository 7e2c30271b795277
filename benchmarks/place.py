"""A place for benchmarks: the real engine and gateway, and an instant model with one shell call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
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
    skill: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def request(self) -> Request:
        """A small task with a skill, in folders of its own."""
        number = next(self._numbers)
        record = self.folder / f"record-{number}"
        workspace = self.folder / f"workspace-{number}"
        record.mkdir()
        workspace.mkdir()
        return Request(
            id=f"bench-{number}",
            instruction="Do it.",
            image=AGENT_BASE_IMAGE,
            workspace=workspace,
            workdir="/app",
            skill=self.skill,
            model=ModelSpec("up", "sim-1"),
            timeout_s=120,
            limits=Limits(),
            budget=Budget(),
            seed=number,
            env={},
            record=record,
        )


@contextmanager
def place(upstream: Upstream, workers: int) -> Iterator[Bench]:
    with (
        TemporaryDirectory(prefix="skillopt-bench-") as folder,
        closing(DockerBackend()) as backend,
        TemporaryDirectory(dir=scratch_dir()) as scratch,
        Gateway({"up": upstream}, Path(scratch) / "s", lambda *_: 0.0) as gateway,
        SandboxSlots(gateway, backend, workers) as places,
    ):
        skill = Path(folder) / "skill" / "bench"
        skill.mkdir(parents=True)
        (skill / "SKILL.md").write_text(SKILL)
        yield Bench(backend, gateway, places, Path(folder), skill)
