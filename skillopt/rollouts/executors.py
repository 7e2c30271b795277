"""Where an attempt at a rollout runs. The runner stores results, retries, and checks limits.

``local`` runs agents in sandboxes of this machine, ``ray`` on the nodes of a cluster. An executor
of your own is a class that is called with an :class:`ExecutorSetup`, named by import path in
``executor.kind``.
"""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from harnesses.agents.cli_agent import CliHarness
from harnesses.agents.registry import check_backend
from harnesses.base import Usage
from harnesses.gateway.gateway import Gateway
from sandboxes.backend import Backend
from sandboxes.base import SandboxError
from skillopt.config.kinds import EXECUTORS
from skillopt.config.schema import Config
from skillopt.core.files import digest_of
from skillopt.core.import_path import PluginError, check, make
from skillopt.core.types import Rollout
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.rollout import Job, run_job
from skillopt.rollouts.slots import SandboxSlots, open_backend, sandbox_identity
from skillopt.run.events import Listener, nobody
from skillopt.tasks.environment import Environments
from skillopt.tasks.finishing import check_images
from skillopt.tasks.folders import check_folders
from skillopt.tasks.judging import Answers


@dataclass(frozen=True)
class ExecutorSetup:
    """What an executor is made from.

    Args:
        config: the run's.
        gateway: this process's open gateway; agents that run elsewhere need one of their own.
        plugins: the user's own parts, loaded.
        listener: receives what the executor has to tell, from any thread.
    """

    config: Config
    gateway: Gateway
    plugins: Plugins = Plugins()
    listener: Listener = nobody


class LostAttemptError(SandboxError):
    """An attempt was lost with the machine that it ran on. It may be repeated.

    Args:
        message: what happened.
        usage: what it has used, as far as it is known or can be estimated.
    """

    def __init__(self, message: str, usage: Usage) -> None:
        super().__init__(message)
        self.usage = usage


class Executor(Protocol):
    """Runs attempts, from many threads at once. A context manager: entered before the first
    attempt, left after the last."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exc: object) -> None: ...

    def attempt(self, job: Job, folder: Path) -> Rollout:
        """Run one job once.

        Args:
            job: what to run.
            folder: on this machine; everything that is kept of the rollout must be in it when this
                returns. It may contain an earlier attempt's work, see
                :func:`skillopt.rollouts.rollout.run_job`.

        Raises:
            SandboxError: the infrastructure failed; the attempt may be repeated.
        """

    def cancel(self) -> None:
        """End all attempts at once, from any thread. Later attempts fail."""


def make_executor(
    config: Config, gateway: Gateway, plugins: Plugins = Plugins(), listener: Listener = nobody
) -> Executor:
    """The executor that a config names, not entered yet; see :class:`ExecutorSetup`.

    Raises:
        PluginError: an import path leads nowhere.
    """
    kind = config.executor.kind
    setup = ExecutorSetup(config, gateway, plugins, listener)
    executor: Executor = make(EXECUTORS.get(kind, kind), "executor.kind", "attempt", setup)
    return executor


def check_executor(config: Config) -> None:
    """Raise PluginError if the executor that a config names cannot be used."""
    kind = config.executor.kind
    if kind == "ray":
        check_ray()
    check(EXECUTORS.get(kind, kind), "executor.kind", "attempt")


def check_ray() -> None:
    """Raise PluginError if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise PluginError(
            "executor.kind: ray: the package is not installed: run 'pip install "
            "skillopt-harness[ray]'"
        )


class LocalExecutor:
    """Runs attempts in sandboxes of this machine, or of the engine that it is connected to.

    Implements :class:`Executor`.
    """

    def __init__(self, setup: ExecutorSetup) -> None:
        self._setup = setup
        self._stack = ExitStack()
        self._backend: Backend | None = None

    def __enter__(self) -> LocalExecutor:
        config = self._setup.config
        with ExitStack() as stack:
            sandbox = config.sandbox
            backend = open_backend(sandbox)
            stack.callback(backend.close)
            if config.names_cli_agent:
                check_backend(config.harness.name, backend)
            # Removes what dead runs left, including an earlier start of this run.
            backend.clean()
            self._slots = stack.enter_context(
                SandboxSlots(
                    self._setup.gateway,
                    backend,
                    config.workers,
                    sandbox.network,
                    sandbox.verifier_network,
                    self._answers(),
                )
            )
            self._environments = Environments(backend, root=sandbox.root, handover=sandbox.handover)
            stack.callback(self._environments.close)
            self._backend = backend
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def attempt(self, job: Job, folder: Path) -> Rollout:
        if isinstance(job.harness, CliHarness) and self._backend is not None:
            check_backend(job.harness.name, self._backend)
        if self._backend is not None:
            check_folders(job.task, self._backend)
            check_images(job.task, self._backend)
        with self._slots.site() as site, self._slots.verifier() as verifier:
            return run_job(job, site, self._environments, verifier, folder)

    def _answers(self) -> Answers:
        """What is known of the tests of tasks, kept next to the rollouts."""
        config = self._setup.config
        verifier = digest_of(sandbox_identity(config, {}))
        return Answers(config.runs.resolve() / "store" / "verifiers", verifier)

    def cancel(self) -> None:
        if self._backend is not None:
            self._backend.close()
