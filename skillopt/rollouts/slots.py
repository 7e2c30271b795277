"""Where rollouts run: a site per worker slot with its own path to the gateway, and verifiers."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from harnesses.gateway.gateway import Gateway
from harnesses.harness import RolloutSite
from sandboxes.access import Access
from sandboxes.backend import Backend, Outlet
from sandboxes.registry import BACKENDS, missing_members
from skillopt.config.network import Network, access_to
from skillopt.config.schema import Config, SandboxConfig
from skillopt.core.import_path import PluginError, make
from skillopt.rollouts.identity import without_later
from skillopt.tasks.judging import Answers, VerifierSite, verifier_site

NO_PART = ("files", "without_limits")
"""Options of ``docker`` that are no part of what a rollout is."""


def open_backend(sandbox: SandboxConfig) -> Backend:
    """The backend that a config names, which the caller closes. A user's own is a class or function
    that is called with ``sandbox.options`` as keyword arguments.

    Raises:
        PluginError: an import path leads nowhere, or not to a backend.
        SandboxError: the backend cannot be reached.
    """
    path = BACKENDS.get(sandbox.kind, sandbox.kind)
    backend: Backend = make(path, "sandbox.kind", "sandbox", **sandbox.options)
    if missing := missing_members(backend):
        raise PluginError(
            f"sandbox.kind: {path}: a backend also has {', '.join(missing)}; add what is missing"
        )
    return backend


def sandbox_identity(config: Config, parts: Mapping[str, str]) -> dict[str, Any]:
    """The config's section as it identifies rollouts and runs.

    Args:
        config: has the section.
        parts: from :func:`skillopt.rollouts.plugins.identities`, for a user's own backend.
    """
    own = {"own": parts["sandbox"]} if "sandbox" in parts else {}
    section = config.sandbox.model_dump(mode="json")
    if config.sandbox.kind == "docker":
        options = section["options"].items()
        section["options"] = {name: value for name, value in options if name not in NO_PART}
    return without_later("sandbox", section) | own


class SandboxSlots:
    """The slots of a run. A context manager; leaving it closes the networks of all sandboxes.

    Args:
        gateway: the gateway that agents can reach.
        backend: makes the sandboxes.
        workers: number of slots.
        network: what else agents may reach.
        verifier_network: what verifiers may reach. What else they want is recorded.
        answers: what is known of the tests of tasks.
    """

    def __init__(
        self,
        gateway: Gateway,
        backend: Backend,
        workers: int,
        network: Network = "none",
        verifier_network: Network = "none",
        answers: Answers | None = None,
    ) -> None:
        self._backend = backend
        self._stack = ExitStack()
        self._sites: queue.SimpleQueue[RolloutSite] = queue.SimpleQueue()
        self._verifiers: queue.SimpleQueue[VerifierSite] = queue.SimpleQueue()
        answers = answers or Answers()
        access, verifiers = access_to(network), access_to(verifier_network, recorded=True)
        for _ in range(workers):
            outlet = self._outlet(access, gateway.socket)
            self._sites.put(RolloutSite(gateway, backend, outlet))
            outlet = self._outlet(verifiers, None)
            self._verifiers.put(verifier_site(backend, outlet, answers))

    def _outlet(self, access: Access, gateway: Path | None) -> Outlet:
        outlet = self._backend.outlet(access, gateway)
        self._stack.callback(outlet.close)
        return outlet

    def __enter__(self) -> SandboxSlots:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def site(self) -> Iterator[RolloutSite]:
        """Wait for a free site, which is returned to the pool at the end."""
        site = self._sites.get()
        try:
            site.visits()  # Drops those of the previous rollout.
            yield site
        finally:
            self._sites.put(site)

    @contextmanager
    def verifier(self) -> Iterator[VerifierSite]:
        """Wait for a free place for a verifier, which is returned to the pool at the end."""
        site = self._verifiers.get()
        try:
            yield site
        finally:
            self._verifiers.put(site)
