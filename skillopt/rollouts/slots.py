"""Where rollouts run: a site per worker slot with its own path to the gateway, and verifiers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

from harnesses.gateway.gateway import Gateway
from harnesses.harness import RolloutSite
from sandboxes.backend import Backend, Outlet
from sandboxes.base import Sandbox, SandboxSpec
from sandboxes.registry import BACKENDS, missing_members
from skillopt.config.network import Network, access_to
from skillopt.config.schema import Config, SandboxConfig
from skillopt.core.import_path import PluginError, load, make
from skillopt.rollouts.identity import without_later
from skillopt.rollouts.plugins import label


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


def sandbox_identity(config: Config) -> dict[str, Any]:
    """The config's section as it identifies rollouts and runs, with name and version of a user's
    own backend."""
    kind = config.sandbox.kind
    own = {} if kind in BACKENDS else {"own": label(load(kind, "sandbox.kind"))}
    return without_later("sandbox", config.sandbox.model_dump(mode="json")) | own


class SandboxSlots:
    """The slots of a run. A context manager; leaving it closes the networks of all sandboxes.

    Args:
        gateway: the gateway that agents can reach.
        backend: makes the sandboxes.
        workers: number of slots.
        network: what else agents may reach.
        verifier_network: what verifiers may reach.
    """

    def __init__(
        self,
        gateway: Gateway,
        backend: Backend,
        workers: int,
        network: Network = "none",
        verifier_network: Network = "none",
    ) -> None:
        self._backend = backend
        self._stack = ExitStack()
        self._sites: queue.SimpleQueue[RolloutSite] = queue.SimpleQueue()
        access = access_to(network)
        for _ in range(workers):
            outlet = backend.outlet(access, gateway.socket)
            self._stack.callback(outlet.close)
            self._sites.put(RolloutSite(gateway, backend, outlet))
        self._verifier_access = access_to(verifier_network)
        self._verifiers = threading.local()

    def verifier_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """A sandbox for a verifier, on the verifiers' network. A SandboxFactory.

        Each thread has an outlet of its own, so that verifiers which run at the same time share
        neither loopback ports nor the connections of a proxy.
        """
        outlet: Outlet | None = getattr(self._verifiers, "outlet", None)
        if outlet is None:
            outlet = self._verifiers.outlet = self._backend.outlet(self._verifier_access, None)
            self._stack.callback(outlet.close)
        network = outlet.connect()
        env = {**outlet.env, **spec.env}
        return self._backend.sandbox(replace(spec, network=network, env=env))

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
