"""The backend of a Docker engine: containers, their images, and relays as the way out of them."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, get_args

from sandboxes.access import Access, Visit
from sandboxes.backend import Check, Outlet
from sandboxes.base import Sandbox, SandboxError, SandboxSpec
from sandboxes.base_image import ensure_base
from sandboxes.copied import Copied
from sandboxes.docker import DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.engine_trial import (
    LIMITS,
    limits_advice,
    missing_limits,
    security_options,
    try_copies,
    try_mounts,
)
from sandboxes.errors import BackendError
from sandboxes.files import Files, Mounted, Way
from sandboxes.images import RELAY_IMAGE, ImageSpec, build, image_id, remove_image
from sandboxes.owner import clean_folders, scratch_dir
from sandboxes.proxy import Proxy
from sandboxes.reaper import clean
from sandboxes.relay import OPEN_NETWORK, PROXY_PORT, RELAY_PORT, Relay
from sandboxes.runtime import FASTER
from sandboxes.stdio_relay import StdioRelay
from sandboxes.volumes import toolchain_volume

OWN_IMAGES = "skillopt/"
"""How the names of our own images begin, which are built and never pulled."""

_LOG = logging.getLogger(__name__)


class DockerOutlet:
    """A relay, with a filtering proxy if there is an allow-list, or if what sandboxes want outside
    is recorded. Both start when first needed, after ``ready``, which raises SandboxError if the
    engine cannot run rollouts, and else the kind of relay that it can run."""

    def __init__(
        self,
        engine: DockerEngine,
        access: Access,
        gateway: Path | None,
        ready: Callable[[], type[Relay]] = lambda: Relay,
    ) -> None:
        self.access = access
        self.base_url = "" if gateway is None else f"http://127.0.0.1:{RELAY_PORT}"
        self.env = _proxy_variables() if access.proxied else {}
        self._engine = engine
        self._gateway = gateway
        self._ready = ready
        self._relay: Relay | None = None
        self._proxy: Proxy | None = None
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def connect(self) -> str:
        if self._gateway is None and not self.access.proxied:
            return OPEN_NETWORK if self.access.everything else "none"
        with self._lock:
            if self._relay is None or not _runs(self._relay):
                kind = self._ready()
                # A dead one is removed with the rest, at the end.
                self._relay = self._stack.enter_context(self._new_relay(kind))
            return self._relay.network

    def check(self) -> None:
        if self._relay is not None:
            self._relay.check()

    def visits(self) -> Sequence[Visit]:
        return self._proxy.take_visits() if self._proxy is not None else ()

    def close(self) -> None:
        self._stack.close()

    def _new_relay(self, kind: type[Relay]) -> Relay:
        sockets = {} if self._gateway is None else {RELAY_PORT: self._gateway}
        if self.access.proxied and self._proxy is None:
            # No longer than gateway.sock: the path of a socket has at most 107 bytes.
            proxy = Proxy(self._folder() / f"p{secrets.token_hex(3)}.sock", self.access.rules)
            self._proxy = self._stack.enter_context(proxy)
        if self._proxy is not None:
            sockets[PROXY_PORT] = self._proxy.socket
        network = OPEN_NETWORK if self.access.everything else "none"
        return kind(self._engine, sockets, network=network)

    def _folder(self) -> Path:
        """The folder of the proxy's socket, in which are all sockets of its relay."""
        if self._gateway is not None:
            return self._gateway.parent
        return Path(self._stack.enter_context(TemporaryDirectory(dir=scratch_dir())))


class DockerBackend:
    """Sandboxes that are containers of a Docker engine. Implements `sandboxes.backend.Backend`.

    Args:
        host: address of the engine; by default ``DOCKER_HOST`` or the current Docker context.
        patience_s: seconds that the engine may take for an answer.
        files: how files get into containers: ``mounts``; ``copy``, with which the engine needs to
            see nothing of this machine; or ``auto`` for mounts if a trial shows that they work.
        without_limits: whether an engine may be used that does not keep the limits of sandboxes.

    Raises:
        BackendError: an option has no such value.
        EngineUnavailableError: no engine answers.
    """

    name: ClassVar[str] = "docker"
    isolated: ClassVar[bool] = True
    images: ClassVar[bool] = True

    def __init__(
        self,
        host: str | None = None,
        patience_s: int = 60,
        files: Way = "auto",
        without_limits: bool = False,
    ) -> None:
        if files not in get_args(Way):
            known = ", ".join(get_args(Way))
            raise BackendError(f"sandbox.options.files: {files!r} is not one of {known}")
        self.engine = DockerEngine(host, patience_s)
        self._way = files
        self._without_limits = without_limits
        self._volumes: dict[str, str] = {}
        self._lock = threading.Lock()
        self._trying = threading.Lock()
        self._files: Files | None = None
        self._mounts: Check | None = None
        self._works = False

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        if spec.single_command and self.engine.is_podman:
            # It does not say what the kernel has killed in a container that has ended.
            spec = replace(spec, single_command=False)
        return DockerSandbox(self.engine, spec, lambda: self.files(spec.image))

    def outlet(self, access: Access, gateway: Path | None) -> Outlet:
        return DockerOutlet(self.engine, access, gateway, self._relays)

    def files(self, image: str = RELAY_IMAGE) -> Files:
        """How files get into the containers of this engine; found out when first asked for.

        Args:
            image: that is tried if the relay's is missing.

        Raises:
            ImageMissingError: the engine has neither image.
            SandboxError: the engine does not keep the limits of sandboxes, cannot mount although it
                has to, or fails.
        """
        with self._trying:
            if self._files is None:
                self._check_limits()
                self._files = Copied(self.engine) if self._copies(image) else Mounted(self.engine)
            return self._files

    def _copies(self, image: str) -> bool:
        """Whether files have to be copied; raises SandboxError if mounts are wanted and do not
        work."""
        if self._way == "copy":
            return True
        tried = RELAY_IMAGE if image_id(self.engine, RELAY_IMAGE) is not None else image
        self._mounts = mounts = try_mounts(self.engine, tried)
        self._works = mounts.ok and tried == RELAY_IMAGE
        if not mounts.ok and self._way == "mounts":
            raise SandboxError(f"{mounts.name}: {mounts.detail}; {mounts.advice}")
        if not mounts.ok:
            _LOG.info("files are copied into sandboxes: %s", mounts.detail)
        return not mounts.ok

    def _check_limits(self) -> None:
        """Raise SandboxError if the engine does not keep what is promised of sandboxes."""
        if (missing := missing_limits(self.engine)) and not self._without_limits:
            raise SandboxError(
                f"the engine at {self.engine.host} does not limit {' or '.join(missing)} of "
                f"sandboxes; {limits_advice(self.engine)}"
            )

    def image(self, name: str, folder: Path | None = None, timeout_s: float | None = None) -> str:
        if folder is not None:
            spec = ImageSpec(name, folder, kind="task")
            build(self.engine, spec, log=_LOG.info, timeout_s=timeout_s)
            return name
        return (
            name if name.startswith(OWN_IMAGES) else ensure_base(self.engine, name, log=_LOG.info)
        )

    def remove_image(self, name: str) -> None:
        if image_id(self.engine, name) is not None:
            remove_image(self.engine, name)

    def volume(self, image: str) -> str:
        with self._lock:
            if image not in self._volumes:
                self._volumes[image] = toolchain_volume(self.engine, image)
            return self._volumes[image]

    def examine(self) -> Iterator[Check]:
        info = self.engine.info
        memory = f"{info['MemTotal'] / 2**30:.0f} GiB"
        yield Check(
            "Docker engine", True, f"{info['ServerVersion']}, {info['NCPU']} CPUs, {memory}"
        )
        yield self._kind_check()
        missing = missing_limits(self.engine)
        detail = f"{' and '.join(missing)} are not kept" if missing else "memory, processes, CPUs"
        advice = limits_advice(self.engine) if missing else ""
        yield Check(LIMITS, not missing or self._without_limits, detail, advice)
        if image_id(self.engine, RELAY_IMAGE) is not None:
            yield _runtime_check(self.engine)
            yield self._trial()

    def _kind_check(self) -> Check:
        """What kind of engine it is."""
        options = security_options(self.engine)
        kinds = ["Podman" if self.engine.is_podman else "Docker"]
        kinds += ["rootless"] * ("name=rootless" in options)
        kinds += ["users are mapped to others (userns-remap)"] * ("name=userns" in options)
        return Check("kind of engine", True, ", ".join(kinds))

    def _trial(self) -> Check:
        """Whether a rollout's files and its way to the gateway work, and by which way."""
        with self._trying:
            mounts = self._mounts or try_mounts(self.engine)
        if self._way == "mounts" or (self._way == "auto" and mounts.ok):
            return mounts
        copies = try_copies(self.engine, Copied(self.engine))
        why = mounts.detail if self._way == "auto" else "sandbox.options.files is 'copy'"
        return replace(copies, detail=f"{copies.detail}; files are copied: {why}")

    def _relays(self) -> type[Relay]:
        """The kind of relay for this engine.

        Raises:
            SandboxError: the engine cannot do what a rollout needs. It is tried until it has worked
                once.
        """
        files = self.files()
        with self._trying:
            if not self._works and image_id(self.engine, RELAY_IMAGE) is not None:
                copied = isinstance(files, Copied)
                check = try_copies(self.engine, files) if copied else try_mounts(self.engine)
                if not check.ok:
                    raise SandboxError(f"{check.name}: {check.detail}; {check.advice}")
                self._works = True
        return StdioRelay if isinstance(files, Copied) else Relay

    def clean(self, *, dry_run: bool = False) -> list[str]:
        return clean(self.engine, dry_run=dry_run) + clean_folders(dry_run=dry_run)

    def close(self) -> None:
        self.engine.close()
        if self._files is not None:
            self._files.close()


def _runtime_check(engine: DockerEngine) -> Check:
    """The runtime that is used, which always works, and what would cost less."""
    used, own = engine.runtime, engine.info.get("DefaultRuntime") or "the engine's own"
    if used.name is not None or own == FASTER:
        detail = used.name or own
    elif used.problem:
        detail = f"{own}; {FASTER} does not work here: {used.problem}"
    else:
        detail = f"{own}; {FASTER} would cost less: add it to the runtimes of daemon.json"
    return Check("container runtime", True, detail)


def _runs(relay: Relay) -> bool:
    try:
        relay.check()
    except SandboxError:
        return False
    return True


def _proxy_variables() -> Mapping[str, str]:
    address, here = f"http://127.0.0.1:{PROXY_PORT}", "127.0.0.1,localhost,0.0.0.0,::1,[::1]"
    values = {"http_proxy": address, "https_proxy": address, "no_proxy": here}
    node = {"NODE_USE_ENV_PROXY": "1"}  # Node.js from 24 on looks at the others only with it.
    return values | {name.upper(): value for name, value in values.items()} | node
