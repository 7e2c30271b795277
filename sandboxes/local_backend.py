"""The backend of local processes: no engine, no images, and no isolation."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, TypeVar

from sandboxes.access import Access, Visit
from sandboxes.backend import Check, Outlet
from sandboxes.base import Sandbox, SandboxError, SandboxSpec
from sandboxes.forwarder import Forwarder
from sandboxes.local import LocalSandbox, clean_processes
from sandboxes.owner import clean_folders

_Local = TypeVar("_Local", bound=LocalSandbox)


class LocalOutlet:
    """Local processes have this machine's network, and reach the gateway by a loopback port.

    :meth:`connect` opens the port. Every process of this machine can connect to it, but the gateway
    refuses requests without the token of a running rollout.
    """

    def __init__(self, access: Access, gateway: Path | None) -> None:
        self.access = access
        self.env: Mapping[str, str] = {}
        self._gateway = gateway
        self._forwarder: Forwarder | None = None
        self._stack = ExitStack()
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._forwarder.port}" if self._forwarder else ""

    def connect(self) -> str:
        with self._lock:
            if self._gateway is not None and self._forwarder is None:
                self._forwarder = self._stack.enter_context(Forwarder(self._gateway))
        return "none"

    def check(self) -> None:
        """Do nothing: nothing runs that could end by itself."""

    def visits(self) -> Sequence[Visit]:
        return ()

    def close(self) -> None:
        self._stack.close()


class LocalBackend:
    """Sandboxes that are processes of this machine. Implements `sandboxes.backend.Backend`.

    A subclass passes sandboxes of its own through :meth:`track`.
    """

    name: ClassVar[str] = "local"
    isolated: ClassVar[bool] = False
    images: ClassVar[bool] = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._made: weakref.WeakSet[LocalSandbox] = weakref.WeakSet()

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        return self.track(LocalSandbox(spec))

    def track(self, sandbox: _Local) -> _Local:
        """Have :meth:`close` stop a sandbox too; raises SandboxError after it."""
        with self._lock:
            if self._closed:
                raise SandboxError("the local sandboxes have been closed")
            self._made.add(sandbox)
        return sandbox

    def outlet(self, access: Access, gateway: Path | None) -> Outlet:
        return LocalOutlet(access, gateway)

    def image(self, name: str, folder: Path | None = None, timeout_s: float | None = None) -> str:
        if folder is not None:
            raise SandboxError(f"{name}: local sandboxes run no images; set sandbox.kind to docker")
        return name

    def volume(self, image: str) -> str:
        raise SandboxError(f"{image}: local sandboxes mount no images; set sandbox.kind to docker")

    def examine(self) -> Iterator[Check]:
        yield Check("local processes", True, "always there; they isolate nothing")

    def clean(self, *, dry_run: bool = False) -> list[str]:
        return clean_processes(dry_run=dry_run) + clean_folders(dry_run=dry_run)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            made = list(self._made)
        for sandbox in made:
            sandbox.stop()
