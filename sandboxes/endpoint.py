"""Where the container engine is that a user works with: DOCKER_HOST, or a Docker context."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandboxes.base import EngineUnavailableError
from sandboxes.errors import SkillOptError

_DEFAULT = "unix:///var/run/docker.sock"
_CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True)
class Endpoint:
    """An engine's address.

    Args:
        host: as DOCKER_HOST has it: ``unix://``, ``npipe://``, ``tcp://`` or ``ssh://``.
        tls: the SDK's settings for a connection over TLS; empty without it.
    """

    host: str
    tls: dict[str, Any] = field(default_factory=dict)


def engine_endpoint(host: str | None = None) -> Endpoint:
    """``host``, else ``DOCKER_HOST``, else the Docker context that ``DOCKER_CONTEXT`` names, else
    the current one, which Docker Desktop, rootless engines, Colima and OrbStack set.

    Certificates are those of ``DOCKER_CERT_PATH`` for an address of the environment, and those of
    the context for a context's.

    Raises:
        EngineUnavailableError: the context cannot be read, or certificates are missing.
    """
    if host or (host := os.environ.get("DOCKER_HOST")):
        return Endpoint(host, _environment_tls(host))
    return _context_endpoint(os.environ.get("DOCKER_CONTEXT"))


def _context_endpoint(name: str | None) -> Endpoint:
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.errors import DockerException

    called = f"Docker context {name!r} (DOCKER_CONTEXT)" if name else "current Docker context"
    try:
        name = name or get_current_context_name() or "default"
        if (found := ContextAPI.get_context(name)) is None:
            raise LookupError(f"none called {name!r} is beside a config.json of Docker's")
        host = str(found.Host or _DEFAULT).replace("http+unix:", "unix:")
        tls = found.TLSConfig
    except (DockerException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EngineUnavailableError(
            f"the {called} cannot be read ({root_cause(error)}); choose another "
            "with `docker context use`, or set DOCKER_HOST to the engine to use"
        ) from error
    return Endpoint(host, {"tls": tls} if tls is not None else _environment_tls(host))


def _environment_tls(address: str) -> dict[str, Any]:
    """The settings that ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` ask for."""
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        found = dict(kwargs_from_env())
    except (DockerException, OSError, ValueError) as error:
        folder = Path(os.environ.get("DOCKER_CERT_PATH") or "~/.docker").expanduser()
        missing = [name for name in _CERTIFICATES if not (folder / name).is_file()]
        reason = f"{folder} has no {', '.join(missing)}" if missing else root_cause(error)
        raise EngineUnavailableError(
            f"connecting: DOCKER_TLS_VERIFY asks for TLS to the engine at {address}, but {reason}; "
            "set DOCKER_CERT_PATH to the folder of these files, or unset DOCKER_TLS_VERIFY"
        ) from error
    return {"tls": found["tls"]} if "tls" in found and address.startswith("tcp:") else {}


def root_cause(error: BaseException) -> str:
    """The words of the first error of a chain: of the system, if it is one, else the first that has
    any. What one of our own errors came from was told with that."""
    chain = [error]
    while cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        if isinstance(cause, SkillOptError):
            break
        error = cause
        chain.insert(0, error)
    for one in chain:
        if isinstance(one, OSError) and one.errno is not None:
            return one.strerror or os.strerror(one.errno)
    return next(filter(None, map(str, chain)), type(chain[0]).__name__)
