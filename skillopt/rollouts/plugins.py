"""A user's own parts: objects from the Python interface, or named by import path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harnesses.gateway.upstreams import Upstream
from harnesses.harness import Harness
from sandboxes.registry import BACKENDS
from skillopt.config.kinds import GATES, METHODS
from skillopt.config.schema import Config
from skillopt.config.upstreams import OwnUpstreamConfig
from skillopt.core.import_path import PluginError, load, make, own_code, takes
from skillopt.core.part_identity import identity_of
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


def identities(config: Config, plugins: Plugins) -> dict[str, str]:
    """What identifies the user's own parts, in rollouts and in a run's fingerprint, by the part's
    name: ``verifier``, ``stages.rank``, ``upstreams.NAME``.

    Args:
        config: may name a part by import path that is made where it is used.
        plugins: from :func:`load_plugins`.

    Raises:
        PluginError: a part has values that cannot be identified, and no version.
    """
    found: dict[str, str] = {}
    for name, kind, known, given in (
        ("gate", config.gate.kind, GATES, plugins.gate),
        ("method", config.method.kind, METHODS, plugins.method),
        ("sandbox", config.sandbox.kind, BACKENDS, None),
    ):
        key = f"{name}.kind"
        if given is not None:
            found[name] = identity_of(given, key)
        elif kind not in known:
            found[name] = identity_of(load(kind, key), key)
    if plugins.verifier is not None:
        found["verifier"] = identity_of(plugins.verifier, "verifier")
    if plugins.harness is not None:
        found["harness"] = identity_of(plugins.harness, "harness.name", versioned=True)
    for stage, function in plugins.stages.items():
        found[f"stages.{stage}"] = identity_of(function, f"train.stages.{stage}")
    for name, upstream in config.upstreams.items():
        key = f"upstreams.{name}"
        if name in plugins.upstreams:
            # Its attributes are clients and counters, and change as it is used.
            found[key] = identity_of(plugins.upstreams[name], key, values=False)
        elif isinstance(upstream, OwnUpstreamConfig):
            found[key] = identity_of(load(upstream.kind, key), key)
    return found
