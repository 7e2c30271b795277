"""A backend: the one object that sandboxes, their images and their networks come from.

The project's own are in docker_backend.py and local_backend.py; they are found by name, and a
user's own by import path, in registry.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from sandboxes.access import Access, Visit
from sandboxes.base import Sandbox, SandboxSpec


@dataclass(frozen=True)
class Check:
    """One thing that was examined. ``advice`` says what to do if it is not ``ok``."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


class Outlet(Protocol):
    """The way from the sandboxes of one worker slot to the gateway and to the outside.

    Two rollouts never use one at the same time. Threads may.
    """

    @property
    def access(self) -> Access:
        """The access to the outside that it gives, besides the gateway."""

    @property
    def base_url(self) -> str:
        """The gateway's address inside a sandbox, without ``/v1``; valid once connected."""

    @property
    def env(self) -> Mapping[str, str]:
        """Environment variables by which programs in a sandbox find the outside."""

    def connect(self) -> str:
        """Start what is needed and not running; returns the value for ``SandboxSpec.network``.

        Raises:
            SandboxError: it cannot be started.
        """

    def check(self) -> None:
        """Raise SandboxError if something that was started for it is no longer running."""

    def visits(self) -> Sequence[Visit]:
        """The attempts to reach something outside since the last call."""

    def close(self) -> None:
        """Stop what was started for it. Calling it again does nothing."""


class Traits(Protocol):
    """The properties of a backend that are known before it is made."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def isolated(self) -> bool:
        """Whether commands cannot reach this machine, apart from what they are given."""

    @property
    def images(self) -> bool:
        """Whether sandboxes run the image that they are given. Otherwise ``image`` and ``volume``
        are useless: tasks with an image of their own and command-line agents are refused."""


@runtime_checkable
class Keeps(Protocol):
    """What a backend can do besides, if it makes images of sandboxes (``SandboxSpec.keep_as``)."""

    def remove_image(self, name: str) -> None:
        """Remove an image that was made of a sandbox. Does nothing if it is gone.

        Raises:
            SandboxError: it cannot be removed.
        """


class Backend(Traits, Protocol):
    """Where sandboxes come from. Safe to use from threads."""

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        """A sandbox, not started yet."""

    def outlet(self, access: Access, gateway: Path | None) -> Outlet:
        """An outlet, which starts nothing before it is first connected.

        Args:
            access: what may be reached outside.
            gateway: Unix socket of the model gateway on this machine, in a folder of its own; None
                if the sandboxes must not reach it.
        """

    def image(self, name: str, folder: Path | None = None, timeout_s: float | None = None) -> str:
        """Make an image available; the name by which a SandboxSpec gives it.

        Args:
            name: of the image.
            folder: build it from the Dockerfile in there, unless that has been done.
            timeout_s: seconds that building may take; without a limit if None.

        Raises:
            SandboxError: it cannot be pulled or built, or not in time.
        """

    def volume(self, image: str) -> str:
        """A volume, for ``Mount.source``, with the content of an image under /toolchain.

        Raises:
            SandboxError: there is no such image.
        """

    def examine(self) -> Iterable[Check]:
        """The checks that `skillopt doctor` reports, each as soon as its result is known."""

    def clean(self, *, dry_run: bool = False) -> list[str]:
        """Remove what dead processes have left; one line for each thing removed, or to remove.

        Raises:
            SandboxError: it cannot be removed.
        """

    def close(self) -> None:
        """Kill every sandbox that was made here, from any thread, and make no more.

        Commands that are running end with SandboxError. Calling it again does nothing.
        """
