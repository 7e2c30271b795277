"""A user's own parts, as objects or by import path: harness, verifier, stages, stop conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harnesses.harness import Harness
from skillopt.config.schema import Config
from skillopt.core.import_path import load

if TYPE_CHECKING:
    from skillopt.run.stop import StopCondition
    from skillopt.tasks.verifier import Verify


@dataclass(frozen=True)
class Plugins:
    """Objects in place of what a config names.

    Args:
        harness: the agent.
        verifier: in place of the tasks' tests.
        stages: functions with the signature of the project's own, by stage: reflect, merge,
            rank, apply, slow, meta.
        stop: more stop conditions.
    """

    harness: Harness | None = None
    verifier: Verify | None = None
    stages: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[StopCondition] = ()


def load_plugins(config: Config, given: Plugins) -> Plugins:
    """The parts that a config names by import path, with those given as objects before them.

    Raises:
        PluginError: an import path leads nowhere.
    """
    harness = given.harness
    if harness is None and ":" in config.harness.name:
        harness = load(config.harness.name, "harness.name")
        harness = harness() if isinstance(harness, type) else harness
    verifier = given.verifier
    if verifier is None and config.verifier is not None:
        verifier = load(config.verifier, "verifier")
    named: dict[str, Any] = {
        s: load(path, f"train.stages.{s}") for s, path in config.train.stages.items()
    }
    return Plugins(harness, verifier, {**named, **given.stages}, given.stop)


def described(plugins: Plugins) -> dict[str, str]:
    """What a run's fingerprint says about them: name, and ``version`` where they have one."""
    parts = {"verifier": plugins.verifier, **{f"stages.{k}": v for k, v in plugins.stages.items()}}
    parts |= {f"stop.{n}": condition for n, condition in enumerate(plugins.stop)}
    return {key: label(part) for key, part in parts.items() if part is not None}


def label(part: Any) -> str:
    """Name and version of a user's own part, as rollouts and runs are identified by it."""
    kind = part if hasattr(part, "__qualname__") else type(part)
    version = getattr(part, "version", "")
    return f"{kind.__module__}:{kind.__qualname__}" + (f"@{version}" if version else "")
