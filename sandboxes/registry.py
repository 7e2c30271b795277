"""The project's own backends by name.

A backend's module is imported when it is first used, so that to know the names costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandboxes.errors import BackendError

if TYPE_CHECKING:
    from sandboxes.backend import Backend, Traits

BACKENDS: Mapping[str, str] = {
    "docker": "sandboxes.docker_backend:DockerBackend",
    "local": "sandboxes.local_backend:LocalBackend",
}
"""The import path of each backend's class, which is called with its options as keywords."""


def make_backend(kind: str = "docker", **options: Any) -> Backend:
    """One of the project's own backends, which the caller closes.

    Args:
        kind: a name in :data:`BACKENDS`.
        options: of the kind.

    Raises:
        BackendError: there is no such backend, or it does not take an option.
        SandboxError: it cannot be reached.
    """
    check_options(kind, options)
    backend: Backend = _class_of(kind)(**options)
    return backend


def traits_of(kind: str) -> Traits:
    """The properties of one of the project's own backends, without making it."""
    traits: Traits = _class_of(kind)
    return traits


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Raise BackendError for an option that one of the project's own backends does not take."""
    known = list(inspect.signature(_class_of(kind)).parameters)
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, known, 1)
            taken = f"it takes: {', '.join(known)}" if known else "it takes none"
            hint = f"did you mean {close[0]!r}?" if close else taken
            raise BackendError(f"sandbox.options: {kind} takes no option {option!r}; {hint}")


def missing_members(backend: object) -> list[str]:
    """The names that an object lacks to be a :class:`sandboxes.backend.Backend`."""
    from sandboxes.backend import Backend

    members = {name for base in Backend.__mro__ for name in vars(base) if not name.startswith("_")}
    return sorted(name for name in members if not hasattr(backend, name))


def _class_of(kind: str) -> Any:
    if kind not in BACKENDS:
        close = difflib.get_close_matches(kind, BACKENDS, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise BackendError(f"sandbox.kind: {kind!r} is not one of {', '.join(BACKENDS)}{hint}")
    module, _, name = BACKENDS[kind].partition(":")
    return getattr(importlib.import_module(module), name)
