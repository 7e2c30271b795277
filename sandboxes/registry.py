"""The backends by name, and a user's own by import path.

A backend's module is imported when it is first used, so that to know the names costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    from sandboxes.backend import Backend, Traits

BACKENDS: Mapping[str, str] = {
    "docker": "sandboxes.docker_backend:DockerBackend",
    "local": "sandboxes.local_backend:LocalBackend",
}
"""The project's own backends, by import path."""

_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class BackendError(SkillOptError, ValueError):
    """A backend that cannot be had, or does not fit; begins with the config's key."""


def check_kind(kind: str) -> None:
    """Raise BackendError for what is neither the name of a backend nor an import path."""
    if kind in BACKENDS or _IMPORT_PATH.fullmatch(kind):
        return
    close = difflib.get_close_matches(kind, BACKENDS, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise BackendError(
        f"{kind!r} is not one of {', '.join(BACKENDS)}, nor an import path like "
        f"'my_package.module:MyBackend'{hint}"
    )


def load_backend(kind: str) -> Callable[..., Backend]:
    """The class or function that makes backends of a kind.

    Args:
        kind: a name in :data:`BACKENDS`, or an import path ``module:name``.

    Raises:
        BackendError: there is no such thing.
    """
    check_kind(kind)
    module, _, name = BACKENDS.get(kind, kind).partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"sandbox.kind: {kind}: {error}; give an importable 'module:name' (is it on "
            "PYTHONPATH?)"
        ) from error
    if not callable(found):
        raise BackendError(f"sandbox.kind: {kind} is not a class or function that makes a backend")
    made: Callable[..., Backend] = found
    return made


def traits_of(kind: str) -> Traits:
    """What is known of one of the project's own backends, by name, without making it."""
    backend: Any = load_backend(kind)
    traits: Traits = backend  # Class variables have them.
    return traits


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Raise BackendError for options that a kind of backend does not take."""
    signature = inspect.signature(load_backend(kind))
    known = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    free = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for option in options:
        if option not in known and not free:
            close = difflib.get_close_matches(option, known, 1)
            taken = f"it takes: {', '.join(known)}" if known else "it takes none"
            hint = f"did you mean {close[0]!r}?" if close else taken
            raise BackendError(f"sandbox.options: {kind} takes no option {option!r}; {hint}")
    missing = [
        name
        for name in known
        if signature.parameters[name].default is inspect.Parameter.empty and name not in options
    ]
    if missing:
        raise BackendError(f"sandbox.options: {kind} needs {', '.join(missing)}; add it")


def make_backend(kind: str = "docker", options: Mapping[str, Any] | None = None) -> Backend:
    """A backend, which the caller closes.

    Args:
        kind: a name in :data:`BACKENDS`, or the import path ``module:name`` of a class or function
            that is called with the options as keyword arguments.
        options: of the kind.

    Raises:
        BackendError: there is no such backend, it does not take the options, or what was made is
            not one.
        SandboxError: it cannot be reached.
    """
    from sandboxes.backend import Backend

    given = dict(options or {})
    factory = load_backend(kind)
    check_options(kind, given)
    try:
        made = factory(**given)
    except SkillOptError:
        raise
    except Exception as error:
        raise BackendError(f"sandbox.kind: {kind}: {type(error).__name__}: {error}") from error
    wanted = {name for base in Backend.__mro__ for name in vars(base) if name[0] != "_"}
    missing = sorted(name for name in wanted if not hasattr(made, name))
    if missing:
        raise BackendError(
            f"sandbox.kind: {kind} made a {type(made).__name__}, which is no backend: it has no "
            f"{', '.join(missing)}"
        )
    return made
