"""The Docker engine: makes, starts and removes containers, and labels them as this process's.

Sandboxes are in docker_sandbox.py.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from sandboxes.base import EngineUnavailableError, Limits, SandboxError, SandboxSpec
from sandboxes.container import host_settings, settings
from sandboxes.endpoint import Endpoint, engine_endpoint
from sandboxes.engine import connect, engine_errors
from sandboxes.listening import listened
from sandboxes.namespaces import NAMESPACE_KIND, Namespaces
from sandboxes.owner import current_owner
from sandboxes.runtime import TRIAL, TRIAL_LIMITS, Runtime, pick
from sandboxes.ssh_tunnel import SshTunnel

_Told = TypeVar("_Told")

OWNER_LABEL = "skillopt.owner"
ENGINE_LABEL = "skillopt.engine"
KIND_LABEL = "skillopt.kind"
CREATED_LABEL = "skillopt.created"
SANDBOX_KIND, RELAY_KIND = "sandbox", "relay"

RELAY_IMAGE = "skillopt/relay:2"
"""The image of what has no program of a task or an agent in it."""
KEPT_KIND = "kept"
"""Images of what a container has changed, for the one who looks at it next."""
IDLE = ("sleep", "infinity")
IDLE_USER = "65534:65534"
"""An ordinary user other than the agent, so that the agent cannot end its sandbox by a signal."""

_LEAST_WAIT_S = 0.05
_REMOVALS, _REMOVAL_PAUSE_S = 4, 0.1
_IDLE_LIMITS = Limits(memory_mb=32, cpus=1.0, pids=8, disk_mb=1)
_JOINED = (RELAY_KIND, NAMESPACE_KIND)
"""Kinds of containers whose network namespaces serve one sandbox after another."""
_TURNS = 8
"""Containers that are made, started or removed at the same time. An engine with hundreds of them at
once loses track of some: it believes them alive, and waits."""


class DockerEngine:
    """A connection to a Docker engine, and every container that this process makes through it.

    A context manager: leaving it calls :meth:`close`.

    Args:
        host: address of the engine; by default ``DOCKER_HOST`` or the current Docker context.
        patience_s: seconds that the engine may take for an answer.

    Raises:
        EngineUnavailableError: no engine answers.
    """

    def __init__(self, host: str | None = None, patience_s: int = 60) -> None:
        found = engine_endpoint(host)
        self.host = found.host
        """As users know it."""
        self._tunnel = SshTunnel(found.host) if found.host.startswith("ssh:") else None
        try:
            if self._tunnel is not None:
                self._tunnel.ensure()
                found = Endpoint(self._tunnel.host)
            self.api = connect(found, patience_s, self.host)
        except BaseException:
            self._close_tunnel()
            raise
        self.patience_s = patience_s
        self.id = uuid.uuid4().hex
        self._closed = threading.Event()
        self._abandoned: set[str] = set()
        self._turns = threading.Semaphore(_TURNS)
        self._picking = threading.Lock()
        self._runtime: Runtime | None = None
        self._sizing = threading.Lock()
        self._sizes: tuple[float, dict[str, int] | SandboxError] = (0.0, {})
        self.namespaces = Namespaces(self._start_namespace, self.started, self._discard)

    def __enter__(self) -> DockerEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    @cached_property
    def info(self) -> dict[str, Any]:
        """The engine's report about itself: version, storage driver, architecture, memory."""
        with self.errors("asking the engine about itself"):
            return dict(self.api.info())

    @cached_property
    def is_podman(self) -> bool:
        """Whether it is Podman, by its interface as Docker's."""
        with self.errors("asking the engine for its version"):
            components = self.api.version().get("Components") or ()
        return any("Podman" in str(component.get("Name")) for component in components)

    @cached_property
    def limits_layer_size(self) -> bool:
        """Whether the storage driver can limit what a container writes outside its mounts."""
        backing = dict(self.info.get("DriverStatus") or ()).get("Backing Filesystem")
        driver = self.info["Driver"]
        # btrfs could, but counts what is in the image too.
        return driver == "zfs" or (driver == "overlay2" and backing == "xfs")

    @property
    def runtime(self) -> Runtime:
        """What starts this engine's containers; tried out when it is first asked for.

        Raises EngineUnavailableError if the engine does not answer, or SandboxError if it has been
        closed.
        """
        with self._picking:
            if self._runtime is None:
                self.check_open()
                self._runtime = pick(self.info, self._problem_of)
            return self._runtime

    def _problem_of(self, runtime: str) -> str:
        """What is wrong with a sandbox that a runtime starts; empty if nothing is."""
        limits = TRIAL_LIMITS
        spec = SandboxSpec(RELAY_IMAGE, "/", limits=limits)
        memory, pids = str(limits.memory_mb * 1024 * 1024), str(limits.pids)
        command = ("bash", "-c", TRIAL, "trial", memory, pids)
        container = self._launch(spec, SANDBOX_KIND, IDLE_USER, command, runtime)
        try:
            self.start(container)
            code = self.wait(container, self.patience_s)
        finally:
            self._discard(container)
        return (
            "" if code == 0 else f"a sandbox that {runtime} starts does not keep what it promises"
        )

    def errors(
        self, doing: str, image: str | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Turn the engine's errors inside a ``with`` block into SandboxError; see
        :func:`sandboxes.engine.engine_errors`. A way to the engine that has broken is mended first.
        """
        if self._tunnel is not None:
            self._tunnel.ensure()
        return engine_errors(doing, self.host, image)

    def told(self, doing: str, ask: Callable[[], Iterable[_Told]]) -> Iterator[_Told]:
        """What a request without a time limit tells, as it comes.

        Args:
            doing: what is being done, for messages.
            ask: makes the request, in a thread of its own.

        Raises:
            SandboxError: see :meth:`errors`; also if nothing comes and the engine does not answer
                another request in time either.
        """

        def ping() -> None:
            with self.errors(doing):
                self.api.ping()

        with self.errors(doing):
            yield from listened(ask, ping, self.patience_s)

    def labels(self, kind: str) -> dict[str, str]:
        """Labels of everything that is made through this engine, by which the reaper finds it."""
        return {
            OWNER_LABEL: str(current_owner()),
            ENGINE_LABEL: self.id,
            KIND_LABEL: kind,
            CREATED_LABEL: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def launch(
        self,
        spec: SandboxSpec,
        *,
        kind: str,
        user: str,
        command: Sequence[str],
        stdin: bool = False,
        in_memory: bool = True,
    ) -> str:
        """Create a hardened container, which is not started yet; returns its id.

        Args:
            spec: of the container.
            kind: in its labels.
            user: of the command, as ``uid:gid``.
            command: its own process.
            stdin: whether the command's standard input is open.
            in_memory: whether ``/tmp`` may be in memory.

        Raises ImageMissingError, or SandboxError if the engine refuses or has been closed.
        """
        runtime = self.runtime.name
        return self._launch(spec, kind, user, command, runtime, stdin, in_memory)

    def _launch(
        self,
        spec: SandboxSpec,
        kind: str,
        user: str,
        command: Sequence[str],
        runtime: str | None,
        stdin: bool = False,
        in_memory: bool = True,
    ) -> str:
        self.check_open()
        self._remove_abandoned()
        doing = f"creating a {kind} container from {spec.image}"
        name = f"skillopt-{uuid.uuid4().hex}"
        arguments = settings(spec, self.labels(kind), user, command, stdin=stdin) | {"name": name}
        options = host_settings(
            spec,
            command,
            cpus=self.info["NCPU"],
            joined=kind in _JOINED,
            runtime=runtime,
            in_memory=in_memory,
        )
        try:
            with self._turns, self.errors(doing, spec.image):
                created = self._create(arguments, options, spec.limits.disk_mb)
        except EngineUnavailableError:
            self._abandoned.add(name)  # The engine may have made it, and not come to say so.
            raise
        if self.closed:  # close() may have listed the containers before this one was there.
            self.remove(created)
            self.check_open()
        return created

    def start(self, container: str) -> None:
        """Start a container that :meth:`launch` has created; raises SandboxError."""
        with self._turns, self.errors(f"starting container {container[:12]}"):
            self.api.start(container)

    def started(self, container: str) -> str:
        """When a container was started, as the engine writes it; empty if it does not run."""
        from docker.errors import NotFound

        with self.errors(f"looking at container {container[:12]}"):
            try:
                state = self.api.inspect_container(container)["State"]
            except NotFound:
                return ""
        return str(state["StartedAt"]) if state["Running"] else ""

    def wait(self, container: str, timeout_s: float) -> int | None:
        """The exit code of a container's own process; None if it still runs after that time."""
        from requests.exceptions import ConnectionError as BrokenConnection
        from requests.exceptions import ReadTimeout
        from urllib3.exceptions import ReadTimeoutError

        wait_s = max(timeout_s, _LEAST_WAIT_S)
        with self.errors(f"waiting for the end of container {container[:12]}"):
            try:
                # The SDK hands fractions of a second on, but does not declare them.
                ended = self.api.wait(container, timeout=wait_s)  # type: ignore[arg-type]
                return int(ended["StatusCode"])
            except ReadTimeout:
                return None
            except BrokenConnection as error:
                # The engine answers at once, and what it says at the end is late.
                if not any(isinstance(cause, ReadTimeoutError) for cause in error.args):
                    raise
                return None

    def layer_bytes(self, container: str, since: float) -> int:
        """Bytes that a running sandbox has written outside its mounts.

        All sandboxes are asked about at once, so that many that are watched cost as much as one.

        Args:
            since: how old the answer may be, as a time of the monotonic clock.

        Returns:
            0 if the storage driver limits them: nobody has to watch them then.
        """
        if self.limits_layer_size:
            return 0
        with self._sizing:
            asked, sizes = self._sizes
            if asked < since or (isinstance(sizes, dict) and container not in sizes):
                self._sizes = asked, sizes = time.monotonic(), self._ask_sizes()
        if isinstance(sizes, SandboxError):  # Those who waited for it need not wait once more.
            raise sizes
        return sizes.get(container, 0)

    def _ask_sizes(self) -> dict[str, int] | SandboxError:
        mine = {"label": [f"{ENGINE_LABEL}={self.id}", f"{KIND_LABEL}={SANDBOX_KIND}"]}
        try:
            with self.errors("looking at the sizes of sandboxes"):
                found = self.api.containers(size=True, filters=mine)
        except SandboxError as error:
            return error
        return {str(one["Id"]): int(one.get("SizeRw") or 0) for one in found}

    def done_to(self, container: str, started: str, within_s: float) -> set[str]:
        """What happened to a container: ``kill`` if somebody had the engine kill it, ``oom`` if the
        kernel has killed a process of it for lack of memory.

        Args:
            started: when it was started, as the engine writes it.
            within_s: seconds from then that have passed.
        """
        until = datetime.fromisoformat(started).timestamp() + within_s
        wanted: dict[str, Any] = {"since": "1", "until": f"{until:.6f}", "decode": True}
        wanted["filters"] = {"container": container, "event": ["kill", "oom"]}
        doing = f"looking for the end of container {container[:12]}"
        events = self.told(doing, lambda: self.api.events(**wanted))
        return {str(event["Action"]) for event in events}

    def _start_namespace(self) -> str:
        spec = SandboxSpec(RELAY_IMAGE, "/", limits=_IDLE_LIMITS)
        container = self.launch(spec, kind=NAMESPACE_KIND, user=IDLE_USER, command=IDLE)
        try:
            self.start(container)
        except BaseException:
            self._discard(container)
            raise
        return container

    def check_open(self) -> None:
        """Raise SandboxError if :meth:`close` has been called."""
        if self.closed:
            raise SandboxError("the engine's sandboxes have been closed")

    def remove(self, container: str) -> None:
        """Kill every process of a container and remove it, unless it is gone already.

        Raises SandboxError if the engine does not do it in time; it is then tried again before the
        next container is made, and by :meth:`close`.
        """
        try:
            self._remove(container)
        except SandboxError:
            self._abandoned.add(container)
            raise

    def keep(self, container: str, name: str, apart: Collection[str] = ()) -> None:
        """Make an image of what a container has changed, which ends; raises SandboxError, also if
        its own image has volumes, of which an image keeps nothing.

        Args:
            container: its id.
            name: of the image.
            apart: folders in it whose content is not wanted.
        """
        from docker.errors import NotFound

        with self._turns, self.errors(f"keeping container {container[:12]} as {name}"):
            try:
                _refuse_volumes(self.api.inspect_container(container), apart)
                self.api.commit(container, name, conf={"Labels": self.labels(KEPT_KIND)})
            except NotFound:
                return  # It ended with the engine's own restart.

    def _discard(self, container: str) -> None:
        """Remove a container that nobody waits for; see :meth:`remove` for one that stays."""
        with contextlib.suppress(SandboxError):
            self.remove(container)

    def _remove_abandoned(self) -> None:
        """Try once more to remove each, in one thread at a time and without failing its work."""
        for _ in range(len(self._abandoned)):
            try:
                container = self._abandoned.pop()
            except KeyError:
                return  # Other threads took the rest.
            self._discard(container)

    def _remove(self, container: str) -> None:
        from docker.errors import APIError, NotFound

        with self._turns, self.errors(f"removing container {container[:12]}"):
            for tries_left in reversed(range(_REMOVALS)):
                try:
                    self.api.remove_container(container, force=True, v=True)
                except NotFound:
                    return
                except APIError as error:
                    # Its process ended by itself just when it was to be killed.
                    if tries_left and "is not running" in str(error.explanation):
                        time.sleep(_REMOVAL_PAUSE_S)
                        continue
                    # It is being removed already, and killed: only wait for its end.
                    if error.status_code != 409:
                        raise
                    with contextlib.suppress(NotFound):
                        self.api.wait(container, timeout=self.patience_s, condition="removed")
                return

    def close(self) -> None:
        """Kill and remove every container made through this engine, from any thread.

        Commands that are running end with SandboxError. Calling it again does nothing.
        """
        if self._closed.is_set():
            self._disconnect()  # Tidying up since the first call has opened connections again.
            return
        self._closed.set()
        with self.errors("closing: `skillopt clean` removes what is left"):
            mine = {"label": f"{ENGINE_LABEL}={self.id}"}
            containers = self.api.containers(all=True, filters=mine)
        try:
            with ThreadPoolExecutor(_TURNS) as pool:
                for group in by_dependence(containers):
                    list(pool.map(self.remove, group))
        finally:
            self._disconnect()

    def _disconnect(self) -> None:
        self.api.close()
        self._close_tunnel()

    def _close_tunnel(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()

    def inspect_image(self, image: str) -> dict[str, Any] | None:
        """The engine's data about an image, by tag or id; None if the image is missing."""
        from docker.errors import ImageNotFound

        with self.errors(f"looking for image {image}"):
            try:
                return dict(self.api.inspect_image(image))  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return None

    def _create(
        self, arguments: Mapping[str, Any], options: Mapping[str, Any], disk_mb: int
    ) -> str:
        from docker.errors import APIError

        if self.limits_layer_size:
            size = {"size": f"{disk_mb}m"}
            try:
                config = self.api.create_host_config(**options, storage_opt=size)
                return str(self.api.create_container(**arguments, host_config=config)["Id"])
            except APIError as error:
                # Overlay on xfs can do it only if it was mounted with project quotas.
                if "storage" not in str(error.explanation):
                    raise
                self.limits_layer_size = False
        config = self.api.create_host_config(**options)
        return str(self.api.create_container(**arguments, host_config=config)["Id"])


def by_dependence(containers: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The ids of containers: those that join others' networks, then the rest. Podman removes none
    that another depends on.

    Args:
        containers: as the engine lists them.
    """
    joined: list[str] = []
    joining: list[str] = []
    for found in containers:
        kind = (found.get("Labels") or {}).get(KIND_LABEL)
        (joined if kind in _JOINED else joining).append(str(found["Id"]))
    return joining, joined


def _refuse_volumes(container: Mapping[str, Any], apart: Collection[str]) -> None:
    """Raise SandboxError if a container has volumes of its image's, except for some folders: an
    image of it would have what they contained at first."""
    if volumes := set(container["Config"].get("Volumes") or ()) - set(apart):
        raise SandboxError(
            f"{container['Config']['Image']}: VOLUME {', '.join(sorted(volumes))}: what is changed "
            "there cannot be kept; leave it out of the Dockerfile, or set sandbox.handover: workdir"
        )
