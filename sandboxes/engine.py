"""The connection to a Docker engine and the translation of its errors into ours.

Not for containers themselves: see sandboxes/docker.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sandboxes.base import EngineUnavailableError, ImageMissingError, SandboxError
from sandboxes.endpoint import Endpoint, root_cause

if TYPE_CHECKING:
    from docker import APIClient

PUBLIC_BASE = "debian:bookworm-slim"
AGENT_BASE_IMAGE = "skillopt/agent-base:1"
LIBREOFFICE_IMAGE = "skillopt/libreoffice:1"
EXTRA_IMAGES = {"libreoffice": LIBREOFFICE_IMAGE}
"""Images that few need, by the names under which they are built. Each has a Dockerfile."""
_CONNECTIONS = 64
"""Connections that are kept open at most; more are opened if more commands run at once."""


def connect(endpoint: Endpoint, patience_s: int, called: str) -> APIClient:
    """A client of an engine.

    Args:
        endpoint: of the engine.
        patience_s: seconds that it may take for an answer.
        called: its address in messages.

    Raises:
        EngineUnavailableError: no engine answers there, or none that can be used.
    """
    from docker.errors import InvalidConfigFile
    from docker.utils.config import find_config_file

    from sandboxes.engine_client import EngineClient

    address = endpoint.host
    with engine_errors("connecting", called):
        try:
            client = EngineClient(
                base_url=address, version="auto", timeout=patience_s,
                max_pool_size=_CONNECTIONS, **endpoint.tls,
            )  # fmt: skip
        except (OSError, ValueError) as error:  # Of the address itself, or of TLS files.
            raise _unavailable("connecting", called, error) from error
        except (InvalidConfigFile, AttributeError, TypeError, LookupError) as error:
            raise EngineUnavailableError(
                f"connecting: Docker's configuration {find_config_file()!r} cannot be used "
                f"({root_cause(error)}); correct it, or set DOCKER_CONFIG to another folder"
            ) from error
    if address.startswith("unix:"):
        client.trust_env = False  # No proxy is on the way, and each request would look for one.
    return client


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
        f"{doing}: no container engine answers at {host} ({root_cause(error)}); start it, or set "
        "DOCKER_HOST to the one to use; https://docs.docker.com/engine/install/ tells how to "
        "install one"
    )
