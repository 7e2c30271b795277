"""The backend of a Docker engine: containers, their images, and relays as the way out of them."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from sandboxes.access import Access, Visit
from sandboxes.backend import Check, Outlet
from sandboxes.base import Sandbox, SandboxError, SandboxSpec
from sandboxes.base_image import ensure_base
from sandboxes.docker import DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.engine_trial import try_mounts
from sandboxes.images import RELAY_IMAGE, ImageSpec, build, image_id, remove_image
from sandboxes.owner import clean_folders, scratch_dir
from sandboxes.proxy import Proxy
from sandboxes.reaper import clean
from sandboxes.relay import OPEN_NETWORK, PROXY_PORT, RELAY_PORT, Relay
from sandboxes.runtime import FASTER
from sandboxes.volumes import toolchain_volume

OWN_IMAGES = "skillopt/"
"""How the names of our own images begin, which are built and never pulled."""

_LOG = logging.getLogger(__name__)


class DockerOutlet:
    """A relay, with a filtering proxy if there is an allow-list, or if what sandboxes want outside
    is recorded. Both start when first needed, after ``ready``, which raises SandboxError if the
    engine cannot run rollouts."""

    def __init__(
        self,
        engine: DockerEngine,
        access: Access,
        gateway: Path | None,
        ready: Callable[[], None] = lambda: None,
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
                self._ready()
                # A dead one is removed with the rest, at the end.
                self._relay = self._stack.enter_context(self._new_relay())
            return self._relay.network

    def check(self) -> None:
        if self._relay is not None:
            self._relay.check()

    def visits(self) -> Sequence[Visit]:
        return self._proxy.take_visits() if self._proxy is not None else ()

    def close(self) -> None:
        self._stack.close()

    def _new_relay(self) -> Relay:
        sockets = {} if self._gateway is None else {RELAY_PORT: self._gateway}
        if self.access.proxied and self._proxy is None:
            # No longer than gateway.sock: the path of a socket has at most 107 bytes.
            proxy = Proxy(self._folder() / f"p{secrets.token_hex(3)}.sock", self.access.rules)
            self._proxy = self._stack.enter_context(proxy)
        if self._proxy is not None:
            sockets[PROXY_PORT] = self._proxy.socket
        network = OPEN_NETWORK if self.access.everything else "none"
        return Relay(self._engine, sockets, network=network)

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

    Raises:
        EngineUnavailableError: no engine answers.
    """

    name: ClassVar[str] = "docker"
    isolated: ClassVar[bool] = True
    images: ClassVar[bool] = True

    def __init__(self, host: str | None = None, patience_s: int = 60) -> None:
        self.engine = DockerEngine(host, patience_s)
        self._volumes: dict[str, str] = {}
        self._lock = threading.Lock()
        self._tried = threading.Lock()
        self._works = False

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        return DockerSandbox(self.engine, spec)

    def outlet(self, access: Access, gateway: Path | None) -> Outlet:
        return DockerOutlet(self.engine, access, gateway, self._check_once)

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
        if image_id(self.engine, RELAY_IMAGE) is not None:
            yield _runtime_check(self.engine)
            yield try_mounts(self.engine)

    def _check_once(self) -> None:
        """Raise SandboxError if the engine cannot do what a rollout needs. It is tried until it has
        worked once."""
        with self._tried:
            if not self._works and image_id(self.engine, RELAY_IMAGE) is not None:
                check = try_mounts(self.engine)
                if not check.ok:
                    raise SandboxError(f"{check.name}: {check.detail}; {check.advice}")
                self._works = True

    def clean(self, *, dry_run: bool = False) -> list[str]:
        return clean(self.engine, dry_run=dry_run) + clean_folders(dry_run=dry_run)

    def close(self) -> None:
        self.engine.close()


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
