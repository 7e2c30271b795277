"""The nodes of a cluster, and calls to what runs there: all that is known of Ray."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from skillopt.config.executors import RayConfig
from skillopt.core.errors import SkillOptError
from skillopt.rollouts.cluster.node import Node
from skillopt.rollouts.cluster.sameness import ADVICE

LOCAL = "local"
"""The address that starts a cluster on this machine."""
_LOG = logging.getLogger(__name__)
_CONTROL = 8
"""Calls at the same time besides attempts: beats, parcels, the end."""
_HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 5,
}
"""Of a cluster that is started here. Others have their own; a node that is silent counts as gone
whatever Ray says of it."""
_CONNECT_S = 10.0
_HELD = 0.001
_STORE_BYTES = 256 * 1024 * 1024
"""Memory for what travels, in a cluster that is started here."""


class ClusterError(SkillOptError):
    """There is no cluster, or none of its nodes can be used."""

    exit_code = 3


class GoneError(Exception):
    """A node, or what ran there, has ended or cannot be reached."""


class Link(Protocol):
    """A :class:`Node` somewhere."""

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of it. The future raises GoneError if the node is gone, and otherwise what
        the method has raised."""

    def kill(self) -> None:
        """End it at once, without waiting for it."""


class Machines(Protocol):
    """The nodes of a cluster. Safe to use from threads."""

    def alive(self) -> Mapping[str, str]:
        """Names of the nodes that can be used now, by their ids. Raises ClusterError."""

    def start(self, node: str, slots: int) -> Link:
        """Start a :class:`Node` on a node, for some attempts at the same time."""

    def want(self, nodes: int) -> None:
        """Ask an autoscaler, if there is one, for a number of nodes."""

    def close(self) -> None:
        """Leave the cluster."""


class RayMachines:
    """The nodes of a Ray cluster. Implements :class:`Machines`.

    Args:
        config: has its address.
        kind: what is started on nodes.

    Raises:
        ClusterError: there is none, or it runs another version of Ray or Python.
    """

    def __init__(self, config: RayConfig, kind: type[Any] = Node) -> None:
        self._config, self._kind = config, kind
        self._holds: dict[str, dict[str, Any]] = {}
        """What is held of nodes while they are used, so that no autoscaler takes them away."""
        self._asked = False
        _attach(config.address)

    def alive(self) -> Mapping[str, str]:
        import ray

        wanted = self._config.resource
        try:
            found = [
                node
                for node in ray.nodes()
                if node["Alive"] and (not wanted or node["Resources"].get(wanted))
            ]
        except Exception as error:
            raise ClusterError(f"the cluster does not answer: {error}") from error
        for node in found:
            self._holds[node["NodeID"]] = _hold(node["Resources"], wanted)
        return {
            node["NodeID"]: f"{node['NodeManagerHostname']}-{node['NodeID'][:6]}" for node in found
        }

    def start(self, node: str, slots: int) -> Link:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        kind = ray.remote(self._kind).options(
            **self._holds.get(node, {"num_cpus": 0}),
            max_concurrency=slots + _CONTROL,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        return _RayLink(kind.remote())

    def want(self, nodes: int) -> None:
        from ray.autoscaler.sdk import request_resources

        bundle = {self._config.resource: 1} if self._config.resource else {"CPU": 1}
        self._asked = nodes > 0
        with suppress(Exception):  # Without an autoscaler there is nobody to ask.
            request_resources(bundles=[bundle] * nodes)

    def close(self) -> None:
        import ray

        if self._asked:
            self.want(0)
        ray.shutdown()


def _hold(resources: Mapping[str, float], wanted: str) -> dict[str, Any]:
    """What an actor takes of a node: next to nothing, but not nothing."""
    if wanted:
        return {"num_cpus": 0, "resources": {wanted: _HELD}}
    return {"num_cpus": _HELD if resources.get("CPU") else 0}


@dataclass(frozen=True)
class _RayLink:
    """A node's actor."""

    handle: Any

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        done: Future[Any] = Future()

        def finish(reply: Future[Any]) -> None:
            error = reply.exception()
            if not done.set_running_or_notify_cancel():
                return
            if error is None:
                done.set_result(reply.result())
            elif isinstance(error, RayTaskError):
                done.set_exception(error.cause if error.cause is not None else error)
            elif isinstance(error, RayError):
                done.set_exception(GoneError(first_line(error)))
            else:
                done.set_exception(error)

        try:
            getattr(self.handle, method).remote(*arguments).future().add_done_callback(finish)
        except (RayError, ray.exceptions.RaySystemError) as error:
            done.set_exception(GoneError(first_line(error)))
        return done

    def kill(self) -> None:
        import ray

        def end() -> None:
            with suppress(Exception):  # It may be gone, and the cluster too.
                ray.kill(self.handle)

        threading.Thread(target=end, name="end-node", daemon=True).start()


def _attach(address: str) -> None:
    """Connect this process to a cluster; see :attr:`RayConfig.address`."""
    import ray

    # What nodes print, and Ray's own accounts of failures, are in its session's folder.
    _hush(ray)
    _check_port(address or os.environ.get("RAY_ADDRESS", ""))
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if address != LOCAL:
            try:
                ray.init(address=address or "auto", **quiet)
            except ConnectionError:
                if address or os.environ.get("RAY_ADDRESS"):
                    raise
        if not ray.is_initialized():
            ray.init(
                address=LOCAL,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _system_config=_HEALTH,
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _unreachable(address, error) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _check_port(address: str) -> None:
    """Raise ClusterError if nothing listens at an address: Ray would take its time to say so."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError as error:
        raise _unreachable(address, error) from error


def _hush(ray: Any) -> None:
    """Have Ray's accounts of failures, which it prints whatever it is told, in the log."""

    def log(data: Mapping[str, Any], *_: Any, **__: Any) -> None:
        _LOG.info("%s", " ".join(map(str, data.get("lines", ()))))

    worker = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = log


def _unreachable(address: str, error: Exception) -> ClusterError:
    what = first_line(error)
    where = address or os.environ.get("RAY_ADDRESS") or "this machine"
    if "version mismatch" in str(error).lower():
        text = " ".join(str(error).split())
        return ClusterError(f"executor.address: {where}: {text}; {ADVICE}, and the same Ray")
    return ClusterError(
        f"executor.address: {where}: no Ray cluster can be reached: {what}; start one with "
        "'ray start --head', or set executor.address to 'local'; a cluster with a token needs "
        "RAY_AUTH_MODE=token and the token here too"
    )


def first_line(error: BaseException) -> str:
    """What a failure of Ray says first; its other lines are a dump of the state."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
