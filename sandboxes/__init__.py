"""Sandboxes: where untrusted commands run. Docker containers, local processes, or a user's own.

The public names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandboxes.access import Access as Access
    from sandboxes.access import HostRule as HostRule
    from sandboxes.access import Visit as Visit
    from sandboxes.backend import Backend as Backend
    from sandboxes.backend import Check as Check
    from sandboxes.backend import Outlet as Outlet
    from sandboxes.base import CopyRefusedError as CopyRefusedError
    from sandboxes.base import EngineUnavailableError as EngineUnavailableError
    from sandboxes.base import ExecResult as ExecResult
    from sandboxes.base import ImageMissingError as ImageMissingError
    from sandboxes.base import Limits as Limits
    from sandboxes.base import Mount as Mount
    from sandboxes.base import Sandbox as Sandbox
    from sandboxes.base import SandboxError as SandboxError
    from sandboxes.base import SandboxFactory as SandboxFactory
    from sandboxes.base import SandboxSpec as SandboxSpec
    from sandboxes.base import Talk as Talk
    from sandboxes.base import Terminal as Terminal
    from sandboxes.docker_backend import DockerBackend as DockerBackend
    from sandboxes.errors import BackendError as BackendError
    from sandboxes.errors import SkillOptError as SkillOptError
    from sandboxes.local import LocalSandbox as LocalSandbox
    from sandboxes.local_backend import LocalBackend as LocalBackend
    from sandboxes.registry import BACKENDS as BACKENDS
    from sandboxes.registry import make_backend as make_backend

_HOMES = {
    "Access": "sandboxes.access",
    "BACKENDS": "sandboxes.registry",
    "Backend": "sandboxes.backend",
    "BackendError": "sandboxes.errors",
    "Check": "sandboxes.backend",
    "CopyRefusedError": "sandboxes.base",
    "DockerBackend": "sandboxes.docker_backend",
    "EngineUnavailableError": "sandboxes.base",
    "ExecResult": "sandboxes.base",
    "HostRule": "sandboxes.access",
    "ImageMissingError": "sandboxes.base",
    "Limits": "sandboxes.base",
    "LocalBackend": "sandboxes.local_backend",
    "LocalSandbox": "sandboxes.local",
    "Mount": "sandboxes.base",
    "Outlet": "sandboxes.backend",
    "Sandbox": "sandboxes.base",
    "SandboxError": "sandboxes.base",
    "SandboxFactory": "sandboxes.base",
    "SandboxSpec": "sandboxes.base",
    "SkillOptError": "sandboxes.errors",
    "Talk": "sandboxes.base",
    "Terminal": "sandboxes.base",
    "Visit": "sandboxes.access",
    "make_backend": "sandboxes.registry",
}
__all__ = [
    "BACKENDS",
    "Access",
    "Backend",
    "BackendError",
    "Check",
    "CopyRefusedError",
    "DockerBackend",
    "EngineUnavailableError",
    "ExecResult",
    "HostRule",
    "ImageMissingError",
    "Limits",
    "LocalBackend",
    "LocalSandbox",
    "Mount",
    "Outlet",
    "Sandbox",
    "SandboxError",
    "SandboxFactory",
    "SandboxSpec",
    "SkillOptError",
    "Talk",
    "Terminal",
    "Visit",
    "make_backend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sandboxes' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
