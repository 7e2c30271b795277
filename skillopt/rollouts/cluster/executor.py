"""The executor of ``executor.kind: ray``: attempts run on the nodes of a cluster.

The driver needs no engine. It sends jobs, and puts what comes back into the rollouts' folders.
"""

from __future__ import annotations

import errno
import threading
import time
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from harnesses.base import Usage
from sandboxes.base import SandboxError
from skillopt.config.executors import RayConfig
from skillopt.config.prices import price_table
from skillopt.config.schema import Config
from skillopt.config.upstreams import HttpConfig, OwnUpstreamConfig
from skillopt.core.errors import SkillOptError
from skillopt.core.files import to_json, write_atomic
from skillopt.core.import_path import OwnCodeError, PluginError
from skillopt.core.packed import RESULT
from skillopt.core.types import Rollout
from skillopt.rollouts.cluster.fleet import Fleet
from skillopt.rollouts.cluster.keys import needed_keys
from skillopt.rollouts.cluster.machines import GoneError, Machines, RayMachines
from skillopt.rollouts.cluster.members import Member, Running
from skillopt.rollouts.cluster.messages import NodeOrders, Reply
from skillopt.rollouts.cluster.parcels import Sender, emptied, packed, unpacked
from skillopt.rollouts.cluster.sameness import own_parts
from skillopt.rollouts.executors import ExecutorSetup, LostAttemptError
from skillopt.rollouts.rollout import Job
from skillopt.rollouts.store import UNDER_WAY
from skillopt.run.records import Noted

_AT_ONCE = threading.BoundedSemaphore(8)
"""Those that unpack what a node has sent; thousands of rollouts may end together."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_KEPT = frozenset({UNDER_WAY})
"""What in a rollout's folder is the driver's own."""


class RayExecutor:
    """Runs attempts on the nodes of a cluster. Implements
    :class:`skillopt.rollouts.executors.Executor`.

    Args:
        setup: of the run.
    """

    def __init__(self, setup: ExecutorSetup) -> None:
        self._setup = setup
        self._stack = ExitStack()
        self._fleet: Fleet | None = None
        self._sender = Sender()
        self._finished = Usage()
        self._seconds = 0.0
        """What finished attempts have used, and how long they took."""
        self._lock = threading.Lock()

    @property
    def _options(self) -> RayConfig:
        section = self._setup.config.executor
        assert isinstance(section, RayConfig), "the kind is ray"
        return section

    def machines(self) -> Machines:
        """The cluster. Raises ClusterError if there is none."""
        return RayMachines(self._options)

    def __enter__(self) -> RayExecutor:
        config, options = self._setup.config, self._options
        _check_objects(self._setup)
        limits = _limits(self._setup)
        with ExitStack() as stack:
            machines = self.machines()
            stack.callback(machines.close)
            fleet = Fleet(
                machines,
                _orders(config, options),
                self._setup.gateway,
                limits,
                frozenset({config.optimizer.upstream}),
                config.target.upstream,
                lambda text: self._setup.listener(Noted(text=text)),
            )
            stack.enter_context(fleet)
            self._fleet = fleet
            if options.nodes > 1:
                machines.want(options.nodes)
            fleet.wait_for(options.nodes, options.wait_s)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def cancel(self) -> None:
        if self._fleet is not None:
            self._fleet.cancel()

    def attempt(self, job: Job, folder: Path) -> Rollout:
        assert self._fleet is not None, "the executor is entered before it runs anything"
        data, digests = self._sender.dumps(job)
        there = any(path.name not in _KEPT for path in folder.iterdir())
        earlier = packed(folder, leave=_KEPT) if there else b""
        with self._fleet.slot(folder, self._options.wait_s) as (member, running):
            try:
                self._supply(member, digests)
                sent = member.link.call("attempt", running.number, data, earlier)
                sent.add_done_callback(running.take)
                reply = running.done.result()
            except GoneError as gone:
                self._fleet.lost(member, str(gone))
                raise self._lost(member, running) from gone
            except OSError as error:  # Of the node's file system.
                if error.errno not in _FULL:
                    raise SandboxError(f"node {member.name}: {error}") from error
                # It is not used until it has room again.
                self._fleet.lost(member, f"its disk is full: {error}")
                raise self._lost(member, running) from error
            running.end()
        self._fleet.blocked(reply.blocked)
        _unpack(reply, folder)
        rollout = _rollout(reply, job, folder)
        self._count(rollout, time.monotonic() - running.began)
        return rollout

    def _supply(self, member: Member, digests: frozenset[str]) -> None:
        """Send a node what it lacks of some parcels."""
        with member.supplying:
            for digest in sorted(digests - member.parcels):
                member.put(self._sender.parcel(digest))

    def _count(self, rollout: Rollout, seconds: float) -> None:
        with self._lock:
            self._finished += rollout.usage
            self._seconds += seconds

    def _lost(self, member: Member, running: Running) -> LostAttemptError:
        """The error for an attempt that has gone with its node: what it has used is known to its
        last beat; for the time since then it is estimated from attempts that have finished."""
        unknown_s = time.monotonic() - running.known
        with self._lock:
            share = unknown_s / self._seconds if self._seconds else 0.0
            usage = running.usage + _part(self._finished, share)
        usage = replace(usage, estimated=True)
        return LostAttemptError(f"node {member.name} is gone: {member.gone}", usage)


def _orders(config: Config, options: RayConfig) -> NodeOrders:
    """What nodes are set up with."""
    return NodeOrders(
        config=config.model_dump(mode="json", exclude_unset=True),
        prices=price_table(config),
        parts=own_parts(config),
        keys=tuple(needed_keys(config)),
        keys_file=options.keys_file,
        slots=options.slots,
        silence_s=options.silence_s,
    )


def _limits(setup: ExecutorSetup) -> dict[str, int]:
    """The requests that services may get from all nodes together, by name. A simulated model and
    llama.cpp run on each node by themselves."""
    return {
        name: setup.gateway.upstreams[name].max_concurrency
        for name, block in setup.config.upstreams.items()
        if isinstance(block, HttpConfig | OwnUpstreamConfig)
    }


def _check_objects(setup: ExecutorSetup) -> None:
    """Raise PluginError for a part of the user's that cannot be on other machines."""
    for name in setup.plugins.upstreams:
        raise PluginError(
            f"executor.kind: ray: upstream {name!r} is an object of this process; give it a class "
            f"that nodes can import, in upstreams.{name}.kind"
        )


def _unpack(reply: Reply, folder: Path) -> None:
    """Put what a node sends into a rollout's folder, in place of what is there.

    Raises:
        SandboxError: it cannot be there, as with names that are too long here.
        OSError: the disk is full.
    """
    try:
        with _AT_ONCE:
            emptied(folder, leave=_KEPT)
            unpacked(reply.parcel, folder)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise SandboxError(f"what a node sent cannot be written: {error}") from error


def _rollout(reply: Reply, job: Job, folder: Path) -> Rollout:
    """The rollout of a reply, in a folder of this machine.

    Raises:
        SandboxError, OwnCodeError, SkillOptError: there is none, as on one machine.
    """

    def here(text: str) -> str:
        return text.replace(reply.folder, str(folder))

    if reply.own:
        raise OwnCodeError(here(reply.own))
    if reply.unusable:
        raise SkillOptError(here(reply.unusable))
    if reply.result is None:
        raise SandboxError(here(reply.failed))
    write_atomic(folder / RESULT, to_json(dict(reply.result)))
    rollout = Rollout.read(folder, job.task)
    (folder / RESULT).unlink()
    return rollout.model_copy(update={"message": here(rollout.message)})


def _part(usage: Usage, share: float) -> Usage:
    """A share of some usage, with whole numbers of tokens."""
    counts: dict[str, Any] = {
        field.name: round(value * share)
        for field in fields(usage)
        if type(value := getattr(usage, field.name)) is int
    }
    cost = None if usage.cost_usd is None else usage.cost_usd * share
    return replace(usage, **counts, cost_usd=cost)
