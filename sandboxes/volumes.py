"""Turns a toolchain image into a volume that any sandbox can mount read-only.

A volume that has been filled is announced by a second, empty one that names it in a label. Creating
that is atomic, so that a half-filled volume is never used.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from sandboxes.archive import names_in
from sandboxes.base import ImageMissingError, SandboxError
from sandboxes.docker import DockerEngine
from sandboxes.packing import archive_of

IMAGE_LABEL = "skillopt.image"
CONTENT_LABEL = "skillopt.content"
TOOLCHAIN_KIND = "toolchain"

_CONTENT = "/toolchain"


def toolchain_volume(engine: DockerEngine, image: str) -> str:
    """The name of the volume with the content of ``image`` under /toolchain, which the first call
    fills. Raises ImageMissingError if the image has not been built.
    """
    found = engine.inspect_image(image)
    if found is None:
        raise ImageMissingError(
            f"the engine has no image {image}; build it with `skillopt images build`"
        )
    image_id = str(found["Id"])
    announced = f"skillopt-toolchain-{image_id.removeprefix('sha256:')[:16]}"
    content = _content(engine, announced)
    if content is None:
        remove_volume(engine, announced)  # It may name a volume that has been removed.
        filled = _fill(engine, image_id, f"{announced}-{uuid.uuid4().hex[:8]}")
        content = _announce(engine, announced, image_id, filled)
        if content != filled:  # Another process was faster.
            remove_volume(engine, filled)
    return content


def remove_volume(engine: DockerEngine, name: str) -> bool:
    """Remove a volume unless a container uses it; returns whether it is gone."""
    from docker.errors import APIError

    with engine.errors(f"removing volume {name}"):
        try:
            engine.api.remove_volume(name)
        except APIError as error:
            if error.status_code not in (404, 409):
                raise
            return error.status_code == 404
    return True


def _content(engine: DockerEngine, announced: str) -> str | None:
    from docker.errors import NotFound

    with engine.errors(f"looking for volume {announced}"):
        try:
            labels = engine.api.inspect_volume(announced)["Labels"]
            content = str(labels[CONTENT_LABEL])
            engine.api.inspect_volume(content)
        except NotFound:
            return None
    return content


def _fill(engine: DockerEngine, image_id: str, name: str) -> str:
    """The engine copies an image's content into an empty volume when a container is created, or,
    as Podman does, when it is started, although there is nothing that it could run."""
    from docker.errors import APIError

    with engine.errors(f"filling volume {name}"):
        engine.api.create_volume(name, labels=_labels(engine, image_id))
    with filling(engine, image_id, f"{name}:{_CONTENT}", ["never-started"]) as container:
        if not _is_filled(engine, container):
            with engine.errors(f"filling volume {name}"), suppress(APIError):
                engine.api.start(container)
            if not _is_filled(engine, container):
                raise SandboxError(
                    f"the engine at {engine.host} does not copy the content of an image into a "
                    "volume; use another one (DOCKER_HOST)"
                )
    return name


@contextmanager
def filling(engine: DockerEngine, image: str, bind: str, command: Sequence[str]) -> Iterator[str]:
    """A container, not started, by which a volume is filled or looked at; gone afterwards.

    Args:
        engine: has the volume.
        image: of the container.
        bind: the volume and its place, as ``docker run --volume`` takes them.
        command: of the container, whatever the image's is.

    Raises:
        SandboxError: it cannot be made or removed.
    """
    with engine.errors(f"filling volume {bind.partition(':')[0]}", image):
        config = engine.api.create_host_config(binds=[bind], network_mode="none")
        made = engine.api.create_container(
            image,
            list(command[1:]),
            entrypoint=[command[0]],
            host_config=config,
            labels=engine.labels("fill"),
        )
    try:
        yield str(made["Id"])
    finally:
        engine.remove(str(made["Id"]))


def _is_filled(engine: DockerEngine, container: str) -> bool:
    """Whether there is anything in the volume of a container."""
    with closing(archive_of(engine, container, _CONTENT)) as chunks:
        return any(names_in(chunks))


def _announce(engine: DockerEngine, announced: str, image_id: str, filled: str) -> str:
    """Announce a filled volume, unless another one has been; returns the announced one."""
    labels = {**_labels(engine, image_id), CONTENT_LABEL: filled}
    with engine.errors(f"creating volume {announced}"):
        engine.api.create_volume(announced, labels=labels)
    content = _content(engine, announced)
    if content is None:
        raise SandboxError(f"volume {announced} vanished; is `skillopt clean` running?")
    return content


def _labels(engine: DockerEngine, image_id: str) -> dict[str, str]:
    return {**engine.labels(TOOLCHAIN_KIND), IMAGE_LABEL: image_id}
