"""The connection to a Docker engine and the translation of its errors into ours.

Not for containers themselves: see sandboxes/docker.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sandboxes.base import EngineUnavailableError, ImageMissingError, SandboxError

if TYPE_CHECKING:
    from docker import APIClient

_DEFAULT = "unix:///var/run/docker.sock"
_CONNECTIONS = 64
"""Connections that are kept open at most; more are opened if more commands run at once."""


def engine_address(host: str | None = None) -> str:
    """``host``, else ``DOCKER_HOST``, else the address of the current Docker context, which Docker
    Desktop, rootless engines and Colima set."""
    from docker.context import ContextAPI

    if host or (host := os.environ.get("DOCKER_HOST")):
        return host
    context = ContextAPI.get_current_context()
    found = context.Host if context is not None else None
    return str(found or _DEFAULT).replace("http+unix:", "unix:")


def connect(address: str, patience_s: int) -> APIClient:
    """A client of the engine at ``address``, which may take ``patience_s`` for an answer.

    Raises EngineUnavailableError if no engine answers there.
    """
    import docker
    from docker.utils import kwargs_from_env

    settings: dict[str, Any] = {**kwargs_from_env(), "base_url": address}
    with engine_errors("connecting", address):
        return docker.APIClient(
            version="auto", timeout=patience_s, max_pool_size=_CONNECTIONS, **settings
        )


@contextmanager
def engine_errors(doing: str, host: str, image: str | None = None) -> Iterator[None]:
    """Turn whatever the SDK raises inside into a SandboxError.

    Args:
        doing: what is being done, for the message.
        host: address of the engine.
        image: that is missing if the engine answers "no such image".
    """
    from docker.errors import APIError, DockerException, ImageNotFound
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ImageNotFound as error:
        raise ImageMissingError(
            f"{doing}: the engine at {host} has no image {image or error.explanation!r}; "
            "build it with `skillopt images build`"
        ) from error
    except APIError as error:
        reason = error.explanation or str(error)
        raise SandboxError(f"{doing}: the engine at {host} refused: {reason}") from error
    except (RequestException, DockerException, HTTPError, ConnectionError) as error:
        raise EngineUnavailableError(
            f"{doing}: no container engine answers at {host} ({_root_cause(error)}); start it, or "
            "set DOCKER_HOST to the one to use; on Debian as root `dockerfiles/install-engine.sh` "
            "installs and starts one"
        ) from error


def _root_cause(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
