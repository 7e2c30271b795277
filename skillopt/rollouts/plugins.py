"""A user's own parts: objects from the Python interface, or named by import path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harnesses.gateway.upstreams import Upstream
from harnesses.harness import Harness
from skillopt.config.schema import Config
from skillopt.core.import_path import PluginError, load, make, own_code, takes
from skillopt.core.types import Split, Task
from skillopt.gates.base import Gate
from skillopt.run.stop import StopCondition
from skillopt.tasks.verifier import Verify, check_verifier

if TYPE_CHECKING:
    from skillopt.rollouts.executors import Executor


@dataclass(frozen=True)
class Plugins:
    """Objects that replace what a config names.

    Args:
        harness: the agent.
        verifier: replaces the tasks' tests.
        stages: functions with the signatures of the project's own, by stage: reflect, merge,
            rank, apply, slow, meta.
        stop: more stop conditions.
        gate: replaces ``gate.kind``.
        method: replaces ``method.kind``: an object with ``run``, as
            :class:`skillopt.training.method.Method`.
        executor: replaces ``executor.kind``.
        tasks: tasks by split; replace ``tasks.source``.
        upstreams: model services by name; replace those of the config.
    """

    harness: Harness | None = None
    verifier: Verify | None = None
    stages: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[StopCondition] = ()
    gate: Gate | None = None
    method: Any = None
    executor: Executor | None = None
    tasks: Mapping[Split, Sequence[Task]] | None = None
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)


def load_plugins(config: Config, given: Plugins) -> Plugins:
    """The parts that a config names by import path; given objects take precedence.

    Covers harness, verifier and stages only. Gate, method, executor, tasks and upstreams are made
    where they are used.

    Raises:
        PluginError: an import path leads nowhere.
        OwnCodeError: a module or a class raised.
    """
    harness = given.harness
    if harness is None and ":" in config.harness.name:
        harness = make(config.harness.name, "harness.name", "run")
    if harness is not None:
        _check_harness(harness)
    verifier = given.verifier
    if verifier is None and config.verifier is not None:
        verifier = load(config.verifier, "verifier")
    if verifier is not None:
        check_verifier(verifier)
    named: dict[str, Any] = {
        s: load(path, f"train.stages.{s}") for s, path in config.train.stages.items()
    }
    return replace(given, harness=harness, verifier=verifier, stages={**named, **given.stages})


def _check_harness(harness: Any) -> None:
    """Refuse a harness without what will be asked of it."""
    if not isinstance(getattr(harness, "name", None), str):
        raise PluginError(f"harness.name: {harness!r} has no name; add an attribute 'name'")
    takes(getattr(harness, "run", None), "harness.name: run", "request", "its site")
    takes(getattr(harness, "version", None), "harness.name: version")
    with own_code("harness.name: version", harness):
        version = harness.version()
        if not isinstance(version, str):
            raise TypeError(f"it returned {version!r}; return the version as text")


def described(plugins: Plugins) -> dict[str, str]:
    """The parts as in a run's fingerprint: name, and ``version`` if they have one."""
    parts: dict[str, Any] = {
        "verifier": plugins.verifier,
        "gate": plugins.gate,
        "method": plugins.method,
        **{f"stages.{name}": stage for name, stage in plugins.stages.items()},
    }
    return {key: label(part) for key, part in parts.items() if part is not None}


def label(part: Any) -> str:
    """Name and version of a user's own part, which identify it in rollouts and runs."""
    kind = part if hasattr(part, "__qualname__") else type(part)
    version = getattr(part, "version", "")
    return f"{kind.__module__}:{kind.__qualname__}" + (f"@{version}" if version else "")
