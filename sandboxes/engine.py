"""The connection to a Docker engine and the translation of its errors into ours.

Not for containers themselves: see sandboxes/docker.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandboxes.base import EngineUnavailableError, ImageMissingError, SandboxError

if TYPE_CHECKING:
    from docker import APIClient

_DEFAULT = "unix:///var/run/docker.sock"
LIBREOFFICE_IMAGE = "skillopt/libreoffice:1"
EXTRA_IMAGES = {"libreoffice": LIBREOFFICE_IMAGE}
"""Images that few need, by the names under which they are built. Each has a Dockerfile."""
_CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
_CONNECTIONS = 64
"""Connections that are kept open at most; more are opened if more commands run at once."""


def engine_address(host: str | None = None) -> str:
    """``host``, else ``DOCKER_HOST``, else the address of the current Docker context, which Docker
    Desktop, rootless engines and Colima set.

    Raises EngineUnavailableError if the context cannot be read.
    """
    from docker.context import ContextAPI
    from docker.errors import DockerException

    if host or (host := os.environ.get("DOCKER_HOST")):
        return host
    try:
        context = ContextAPI.get_current_context()
        found = context.Host if context is not None else None
    except (DockerException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EngineUnavailableError(
            f"the current Docker context cannot be read ({_root_cause(error)}); choose another "
            "with `docker context use`, or set DOCKER_HOST to the engine to use"
        ) from error
    return str(found or _DEFAULT).replace("http+unix:", "unix:")


def connect(address: str, patience_s: int) -> APIClient:
    """A client of the engine at ``address``, which may take ``patience_s`` for an answer.

    Raises EngineUnavailableError if no engine answers there, or none that can be used.
    """
    import docker

    if address.startswith("ssh:"):
        raise EngineUnavailableError(
            f"connecting: the engine at {address} is on another machine, and sandboxes need "
            "folders of this one; set DOCKER_HOST to an engine of this machine"
        )
    settings = _tls_settings(address) | {"base_url": address}
    with engine_errors("connecting", address):
        try:
            client = docker.APIClient(
                version="auto", timeout=patience_s, max_pool_size=_CONNECTIONS, **settings
            )
        except (OSError, ValueError) as error:  # Of the address itself, or of TLS files.
            raise _unavailable("connecting", address, error) from error
    if address.startswith("unix:"):
        client.trust_env = False  # No proxy is on the way, and each request would look for one.
    return client


def _tls_settings(address: str) -> dict[str, Any]:
    """The settings that ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` ask for."""
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        return dict(kwargs_from_env())
    except (DockerException, OSError, ValueError) as error:
        folder = Path(os.environ.get("DOCKER_CERT_PATH") or "~/.docker").expanduser()
        missing = [name for name in _CERTIFICATES if not (folder / name).is_file()]
        reason = f"{folder} has no {', '.join(missing)}" if missing else _root_cause(error)
        raise EngineUnavailableError(
            f"connecting: DOCKER_TLS_VERIFY asks for TLS to the engine at {address}, but {reason}; "
            "set DOCKER_CERT_PATH to the folder of these files, or unset DOCKER_TLS_VERIFY"
        ) from error


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
            f"build it with `{_building(image)}`"
        ) from error
    except APIError as error:
        reason = error.explanation or str(error)
        raise SandboxError(f"{doing}: the engine at {host} refused: {reason}") from error
    except (RequestException, DockerException, HTTPError, ConnectionError) as error:
        raise _unavailable(doing, host, error) from error


def _building(image: str | None) -> str:
    """The command that builds an image."""
    extra = next((name for name, tag in EXTRA_IMAGES.items() if tag == image), "")
    return f"skillopt images build {extra}".strip()


def _unavailable(doing: str, host: str, error: BaseException) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{doing}: no container engine answers at {host} ({_root_cause(error)}); start it, or set "
        "DOCKER_HOST to the one to use; https://docs.docker.com/engine/install/ tells how to "
        "install one"
    )


def _root_cause(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
