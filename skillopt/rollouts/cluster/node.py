"""A node's part: runs attempts with a gateway, an engine and sandboxes of its own.

Knows nothing of Ray, of stores and of retries. It ends by itself if the driver is silent.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from harnesses.agents.cli_agent import CliHarness
from harnesses.agents.registry import CLI_AGENTS, agent_kind
from harnesses.agents.toolchains import Toolchain, image_specs
from harnesses.base import Status, Usage
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.service import PlanUse, Wait
from harnesses.gateway.wire import WIRE
from sandboxes.base import SandboxError
from sandboxes.guard import Guard
from sandboxes.owner import scratch_dir, scratch_root
from sandboxes.trees import remove_tree
from skillopt.config.schema import Config
from skillopt.core.errors import SkillOptError
from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import Rollout
from skillopt.rollouts.cluster.keys import check_keys
from skillopt.rollouts.cluster.messages import Beat, NodeOrders, Progress, Pulse, Reply
from skillopt.rollouts.cluster.parcels import Parcel, Receiver, packed, unpacked
from skillopt.rollouts.cluster.sameness import difference_of_parts, own_parts, versions
from skillopt.rollouts.executors import ExecutorSetup, LocalExecutor
from skillopt.rollouts.rollout import Job, read_usage
from skillopt.rollouts.store import check_room
from skillopt.rollouts.upstreams import open_gateway, raise_own_error

PIECE_BYTES = 1024 * 1024
"""The most bytes of one rollout's calls that go with one beat."""
_ENDING_S = 2.0
"""Seconds that attempts may take to end when the node is closed."""
_GUARD_S = 5.0
"""Seconds of silence beyond the node's own limit after which it is killed."""


@dataclass
class _Attempt:
    """An attempt that runs."""

    folder: Path
    usage: Usage = Usage()
    read: int = 0
    """Bytes of its calls that the driver has."""


@dataclass
class _Open:
    """What a node works with."""

    config: Config
    gateway: Gateway
    executor: LocalExecutor
    receiver: Receiver
    root: Path
    shares: dict[str, int] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)


class Node:
    """Runs attempts of one driver. Its methods are called from several threads at once.

    Args:
        end: called when the node has ended itself, because the driver was silent.
    """

    def __init__(self, end: Callable[[], None] = lambda: os._exit(0)) -> None:
        self._end = end
        self._stack = ExitStack()
        self._open: _Open | None = None
        self._lock = threading.Lock()
        self._building = threading.Lock()
        self._attempts: dict[int, _Attempt] = {}
        self._news: queue.SimpleQueue[Wait | PlanUse] = queue.SimpleQueue()
        self._heard = _clock()
        self._guard: Guard | None = None
        self._closed = threading.Event()

    def about(self) -> Mapping[str, str]:
        """What must be the same on driver and nodes."""
        self._heard = _clock()
        return versions()

    def open(self, orders: NodeOrders) -> str:
        """Set the node up: keys, images and toolchains, gateway, sandboxes.

        Returns:
            Why it cannot be used; empty if it can.
        """
        try:
            self._set_up(orders)
        except SkillOptError as error:
            self.close()
            return str(error)
        except OSError as error:  # As of a full disk. Names of files are others the next time.
            self.close()
            return f"{scratch_root()}: {error.strerror or error}"
        return ""

    def _set_up(self, orders: NodeOrders) -> None:
        check_keys(orders.keys, orders.keys_file)
        self._heard = _clock()
        config = Config.model_validate({**orders.config, "workers": orders.slots})
        sandbox = config.sandbox
        with ExitStack() as stack:
            # The first to be entered, so that nothing is left when it is told that all is done.
            guard = Guard(sandbox.kind, sandbox.options, orders.silence_s + _GUARD_S)
            self._guard = stack.enter_context(guard)
            stack.callback(_remove_scratch)
            root = Path(stack.enter_context(TemporaryDirectory(dir=scratch_dir(), prefix="node-")))
            check_room(root)
            config = config.model_copy(update={"runs": root})
            if problem := difference_of_parts(orders.parts, own_parts(config)):
                raise SandboxError(problem)
            watch = threading.Thread(target=self._watch, args=(orders.silence_s,), daemon=True)
            watch.start()
            if sandbox.kind == "docker":
                names = [config.harness.name] if config.names_cli_agent else []
                chosen = [agent_kind(n).toolchain(config.harness.version) for n in names]
                self._build(config, [spec.tag for spec in image_specs(chosen)], chosen)
            gateway = stack.enter_context(
                open_gateway(config, {}, orders.prices.cost, self._news.put, self._news.put)
            )
            executor = stack.enter_context(LocalExecutor(ExecutorSetup(config, gateway)))
            receiver = Receiver(root / "inputs")
            (root / "rollouts").mkdir()
            with self._lock:
                if self._closed.is_set():
                    raise SandboxError("the node is being closed")
                self._open = _Open(config, gateway, executor, receiver, root)
                self._stack = stack.pop_all()

    def _build(self, config: Config, tags: list[str], chosen: list[Toolchain]) -> None:
        """Build those of the project's images that the engine lacks."""
        from sandboxes import images
        from sandboxes.docker import DockerEngine

        host = config.sandbox.options.get("host")
        with DockerEngine(host if isinstance(host, str) else None) as engine:
            for spec in image_specs(chosen):
                if spec.tag in tags and images.image_id(engine, spec.tag) is None:
                    images.build(engine, spec)

    def _have_agent(self, opened: _Open, job: Job) -> None:
        """Build the image of a job's agent if the engine lacks it."""
        agent = job.harness
        if not isinstance(agent, CliHarness) or agent.name not in CLI_AGENTS:
            return
        chosen = agent_kind(agent.name).toolchain(agent.version())
        with self._building:
            if chosen.image not in opened.images and opened.config.sandbox.kind == "docker":
                self._build(opened.config, [chosen.image], [chosen])
            opened.images.add(chosen.image)

    def put(self, parcel: Parcel) -> None:
        """Take a parcel, unless it is here."""
        self._opened().receiver.put(parcel)

    def attempt(self, number: int, data: bytes, earlier: bytes) -> Reply:
        """Run a job once.

        Args:
            number: of the attempt, which beats name.
            data: the job, from :meth:`Sender.dumps`; its parcels are here.
            earlier: the files of an earlier attempt, packed; empty if there are none.

        Raises:
            OSError: of this node's disk, as when it is full.
            SandboxError: the node is closed, or the folder cannot travel.
        """
        opened = self._opened()
        folder = opened.root / "rollouts" / str(number)
        folder.mkdir()
        attempt = _Attempt(folder)
        with self._lock:
            self._attempts[number] = attempt
        try:
            check_room(folder)
            if earlier:
                unpacked(earlier, folder)
                attempt.read = _size(folder / WIRE)
            reply = self._run(opened, data, folder)
            if not (reply.result and Status(reply.result["status"]).scored):
                check_room(folder)
            return reply
        finally:
            with self._lock:
                del self._attempts[number]
            remove_tree(folder)

    def _run(self, opened: _Open, data: bytes, folder: Path) -> Reply:
        result: Rollout | None = None
        failed = own = unusable = ""
        try:
            job: Job = opened.receiver.loads(data)
            self._have_agent(opened, job)
            result = opened.executor.attempt(job, folder)
            if not result.status.scored:
                raise_own_error(opened.gateway, job.model.upstream)
        except SandboxError as error:
            failed = str(error)
        except OwnCodeError as error:
            own = f"{error}\n{error.traceback}".strip()
        except SkillOptError as error:
            unusable = str(error)
        values = None if result is None else result.to_json()
        blocked = _blocked(opened.gateway)
        return Reply(values, str(folder), packed(folder), failed, own, unusable, blocked)

    def beat(self, beat: Beat) -> Pulse:
        """Take the driver's sign of life and give one."""
        self._heard = _clock()
        if self._guard is not None:
            self._guard.alive()
        opened = self._open
        if opened is None:
            return Pulse({}, {}, (), {}, {})
        gateway = opened.gateway
        for name, share in beat.shares.items():
            opened.shares[name] = gateway.share(name, share, beat.holds.get(name, 0.0))
        for name, why in beat.blocked.items():
            gateway.block(name, why)
        with self._lock:
            attempts = dict(self._attempts)
        return Pulse(
            dict(opened.shares),
            {number: self._progress(gateway, attempt) for number, attempt in attempts.items()},
            [self._news.get() for _ in range(self._news.qsize())],
            {n: s for n in gateway.upstreams if (s := gateway.limited_s(n)) > 0},
            _blocked(gateway),
        )

    def _progress(self, gateway: Gateway, attempt: _Attempt) -> Progress:
        used = gateway.used(attempt.folder)
        if used.requests < attempt.usage.requests:  # The agent has ended.
            used = read_usage(attempt.folder) or attempt.usage
        attempt.usage = used
        return Progress(used, _piece(attempt))

    def close(self) -> None:
        """End all attempts and leave nothing. Calling it again does nothing."""
        with self._lock:
            self._closed.set()
            opened, self._open = self._open, None
            stack, self._stack = self._stack, ExitStack()
        if opened is not None:
            opened.gateway.close()
            opened.executor.cancel()
            until = _clock() + _ENDING_S
            while self._attempts and _clock() < until:
                time.sleep(0.05)
        stack.close()

    def _opened(self) -> _Open:
        if (opened := self._open) is None:
            raise SandboxError("the node is closed")
        return opened

    def _watch(self, silence_s: float) -> None:
        """End the node when the driver is silent for too long: it has died, or the way to it."""
        while not self._closed.wait(0.5):
            if _clock() - self._heard > silence_s:
                try:
                    self.close()
                finally:
                    self._end()
                return


def _remove_scratch() -> None:
    with suppress(OSError):  # Something else of this process may have files there.
        scratch_dir().rmdir()


def _blocked(gateway: Gateway) -> dict[str, str]:
    """Why services need not be asked any more, by name."""
    return {name: text for name in gateway.upstreams if (text := gateway.blocked(name))}


def _size(file: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return file.stat().st_size if file.is_file() else 0


def _piece(attempt: _Attempt) -> bytes:
    """What is new of an attempt's calls, compressed."""
    import zstandard

    try:
        with (attempt.folder / WIRE).open("rb") as file:
            file.seek(attempt.read)
            data = file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""
    attempt.read += len(data)
    return zstandard.ZstdCompressor(1).compress(data) if data else b""


def _clock() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
