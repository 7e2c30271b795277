"""Sandboxes in which nothing runs: a test says what each command does and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sandboxes.base import ExecResult, Sandbox, SandboxSpec
from skillopt.tasks.surroundings import LOGS


@dataclass(frozen=True)
class Ended:
    """How a command ends. A verifier's has written ``reward``, unless that is None."""

    reward: float | None = None
    stderr: str = ""
    stdout: str = ""
    code: int = 0
    timed_out: bool = False
    limit: str | None = None


Act = Callable[[SandboxSpec, Sequence[str]], Ended]


def place(spec: SandboxSpec, target: str) -> Path:
    """The folder of this machine that a sandbox has at a path."""
    return Path(next(mount.source for mount in spec.mounts if mount.target == target))


@dataclass
class ScriptedSandboxes:
    """Makes them; ``act`` is asked instead of a program."""

    act: Act
    specs: list[SandboxSpec] = field(default_factory=list)
    runs: list[tuple[list[str], float]] = field(default_factory=list)
    """Commands, each with its deadline."""

    def __call__(self, spec: SandboxSpec) -> Sandbox:
        self.specs.append(spec)
        return cast(Sandbox, _Scripted(self, spec))


@dataclass
class _Scripted:
    made_by: ScriptedSandboxes
    spec: SandboxSpec

    def __enter__(self) -> _Scripted:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def path(self, target: str) -> str:
        return target

    def spawn(self, argv: Sequence[str]) -> bool:
        return False

    def run(self, argv: Sequence[str], *, deadline_s: float, **options: Any) -> ExecResult:
        self.made_by.runs.append(([*argv], deadline_s))
        ended = self.made_by.act(self.spec, argv)
        if ended.reward is not None:
            (place(self.spec, LOGS) / "reward.txt").write_text(str(ended.reward))
        return ExecResult(
            ended.code, ended.stdout.encode(), ended.stderr.encode(), 1.0, ended.timed_out,
            ended.limit,
        )  # fmt: skip
