"""Where rollouts run: a place per worker slot, with its own relay in Docker, and verifiers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from harnesses.gateway.gateway import Gateway
from harnesses.harness import RolloutSite
from sandboxes.base import Sandbox, SandboxError, SandboxFactory, SandboxSpec
from sandboxes.proxy import Proxy, Visit
from sandboxes.relay import OPEN_NETWORK, PROXY_PORT, RELAY_PORT, Relay
from skillopt.config.network import Network, proxy_variables, rules_of

if TYPE_CHECKING:
    from sandboxes.docker import DockerEngine


@dataclass
class Slot:
    """One place: its relay, and its proxy where something may be reached. Made when needed."""

    name: str
    network: Network = "none"
    proxy: Proxy | None = None
    relay: Relay | None = None


class SandboxSlots:
    """The slots of a run. A context manager; leaving it kills every sandbox.

    Args:
        gateway: that agents reach.
        engine: the Docker engine, or None for local processes.
        workers: number of slots.
        network: what agents may reach besides.
        verifier_network: what verifiers may reach.
    """

    def __init__(
        self,
        gateway: Gateway,
        engine: DockerEngine | None,
        workers: int,
        network: Network = "none",
        verifier_network: Network = "none",
    ) -> None:
        self._gateway = gateway
        self._engine = engine
        self._slots: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for number in range(workers):
            self._slots.put(Slot(f"proxy-{number}.sock", network))
        self._judges = Slot("proxy-verifiers.sock", verifier_network)
        self._volumes: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    @property
    def sandbox(self) -> SandboxFactory:
        """What makes the sandboxes of agents."""
        if self._engine is not None:
            return self._engine.sandbox
        from sandboxes.local import local_sandbox

        return local_sandbox

    def verifier_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """A sandbox for a verifier, on the network that these have. A SandboxFactory."""
        network = self._judges.network
        if self._engine is None or network == "none":
            return self.sandbox(spec)
        if network == "open":
            return self.sandbox(replace(spec, network=OPEN_NETWORK))
        with self._lock:
            relayed = self._connect(self._engine, self._judges, gateway=False)
        env = {**proxy_variables(network), **spec.env}
        return self.sandbox(replace(spec, network=relayed, env=env))

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
        """A free place, waited for; given back at the end."""
        slot = self._slots.get()
        try:
            yield self._site(slot)
        finally:
            self._slots.put(slot)

    def _site(self, slot: Slot) -> RolloutSite:
        def visits() -> Sequence[Visit]:
            return slot.proxy.take_visits() if slot.proxy is not None else ()

        engine, broken = self._engine, partial(self._broken, slot)
        if engine is None:
            return RolloutSite(
                self._gateway, self.sandbox, lambda: "none", "", _no_volume, broken=broken
            )
        visits()  # Of the rollout before.
        return RolloutSite(
            gateway=self._gateway,
            sandbox=self.sandbox,
            network=partial(self._connect, engine, slot, gateway=True),
            base_url=f"http://127.0.0.1:{RELAY_PORT}",
            volume=self._volume,
            outside=slot.network != "none",
            anywhere=slot.network == "open",
            env=proxy_variables(slot.network),
            visits=visits,
            broken=broken,
        )

    def _broken(self, slot: Slot) -> str:
        """What no longer runs of the way from a slot to the model."""
        if not self._gateway.running:
            return "the gateway has ended"
        try:
            if slot.relay is not None:
                slot.relay.check()
        except SandboxError as error:
            return str(error)
        return ""

    def _connect(self, engine: DockerEngine, slot: Slot, *, gateway: bool) -> str:
        """See to it that a slot's proxy and relay run; the network that leads to them."""
        if slot.relay is not None:
            try:
                slot.relay.check()
            except SandboxError:
                slot.relay = None  # The dead one is removed with the rest, at the end.
        if slot.relay is not None:
            return slot.relay.network
        rules = rules_of(slot.network)
        if rules and slot.proxy is None:
            proxy = Proxy(self._gateway.socket.parent / slot.name, rules)
            slot.proxy = self._stack.enter_context(proxy)
        sockets = {RELAY_PORT: self._gateway.socket} if gateway else {}
        if slot.proxy is not None:
            sockets[PROXY_PORT] = slot.proxy.socket
        network = OPEN_NETWORK if slot.network == "open" else "none"
        slot.relay = self._stack.enter_context(Relay(engine, sockets, network=network))
        return slot.relay.network

    def _volume(self, image: str) -> str:
        from sandboxes.volumes import toolchain_volume

        assert self._engine is not None
        with self._lock:
            if image not in self._volumes:
                self._volumes[image] = toolchain_volume(self._engine, image)
            return self._volumes[image]


def _no_volume(image: str) -> str:
    raise SandboxError(f"{image} needs a Docker engine: choose the harness 'direct' without one")
