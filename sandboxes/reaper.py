"""Removes what dead processes left behind in a Docker engine: containers, volumes, and images of
what containers had changed.

Only what has this project's labels and an owner that is known to be dead. What belongs to a living
process, or to one that cannot be examined from this machine, stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from sandboxes.base import HANDED
from sandboxes.content import CONTENT_KIND
from sandboxes.docker import KEPT_KIND, KIND_LABEL, OWNER_LABEL, DockerEngine, by_dependence
from sandboxes.owner import Owner, is_dead
from sandboxes.volumes import CONTENT_LABEL, IMAGE_LABEL, TOOLCHAIN_KIND, remove_volume


def clean(engine: DockerEngine, *, dry_run: bool = False) -> list[str]:
    """Remove what dead runs have left; one line for each thing removed, or to remove.

    Raises SandboxError if the engine fails.
    """
    removed: list[str] = []
    for container, kind in _dead_containers(engine):
        removed.append(f"container {container[:12]} ({kind})")
        if not dry_run:
            engine.remove(container)
    for image, name in _dead_images(engine):
        removed.append(f"image {name}")
        if not dry_run:
            with engine.errors(f"removing image {name}", name):
                engine.api.remove_image(image, force=True)
    for volume in _stale_volumes(engine):
        if dry_run or remove_volume(engine, volume):
            removed.append(f"volume {volume}")
    return removed


def _dead_containers(engine: DockerEngine) -> Iterator[tuple[str, str]]:
    with engine.errors("listing containers"):
        found = engine.api.containers(all=True, filters={"label": OWNER_LABEL})
    dead = [one for one in found if _dead(one["Labels"][OWNER_LABEL])]
    kinds = {one["Id"]: str(one["Labels"].get(KIND_LABEL, "unknown")) for one in dead}
    for group in by_dependence(dead):
        yield from ((container, kinds[container]) for container in group)


def _dead_images(engine: DockerEngine) -> Iterator[tuple[str, str]]:
    with engine.errors("listing images"):
        found = engine.api.images(filters={"label": f"{KIND_LABEL}={KEPT_KIND}"})
    for image in found:
        name = str((image.get("RepoTags") or ["<none>:"])[0])
        passing = name.startswith((HANDED, "<none>"))  # Others are kept for later processes.
        if passing and _dead(image["Labels"].get(OWNER_LABEL, "")):
            yield str(image["Id"]), name


def _stale_volumes(engine: DockerEngine) -> list[str]:
    """Toolchain volumes whose image is gone, those that a dead process did not finish, and dead
    processes' volumes with files of this machine."""
    with engine.errors("listing volumes"):
        filters = {"label": f"{KIND_LABEL}={TOOLCHAIN_KIND}"}
        found = engine.api.volumes(filters=filters)["Volumes"] or []
        images = {image["Id"] for image in engine.api.images()}
    announced = {volume["Labels"].get(CONTENT_LABEL) for volume in found}
    stale = []
    for volume in found:
        name, labels = str(volume["Name"]), volume["Labels"]
        finished = CONTENT_LABEL in labels or name in announced
        if labels[IMAGE_LABEL] not in images or (not finished and _dead(labels[OWNER_LABEL])):
            stale.append(name)
    with engine.errors("listing volumes"):
        mine = {"label": f"{KIND_LABEL}={CONTENT_KIND}"}
        copies = engine.api.volumes(filters=mine)["Volumes"] or []
    return stale + [str(one["Name"]) for one in copies if _dead(one["Labels"][OWNER_LABEL])]


def _dead(owner: str) -> bool:
    known = Owner.parse(owner)
    return known is not None and is_dead(known)
