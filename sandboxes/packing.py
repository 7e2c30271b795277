"""What goes into a container by an archive, and what is found in one by its path."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from sandboxes.archive import FILE_RIGHTS, FOLDER_RIGHTS
from sandboxes.docker import DockerEngine

_CHUNK = 2 * 1024 * 1024


def add_tree(
    tar: tarfile.TarFile,
    source: Path,
    target: str,
    *,
    uid: int = 0,
    gid: int = 0,
    read_only: bool = False,
    leave: Collection[str] = (),
) -> None:
    """Add a file or folder of this machine with all in it: links as links, pipes, no devices.

    Args:
        tar: to add it to.
        source: what is added; nobody may change it meanwhile.
        target: its absolute path in the container.
        uid, gid: own it. If it is read-only, that is root and the group.
        read_only: whether its owner's rights to read are also the group's, and nobody may write.
        leave: paths in the container that are left out, with all that is in them.
    """
    tar.inodes = {}  # type: ignore[attr-defined]  # No name of a file shares another tree's rights.
    pending = [(os.fspath(source.resolve()), target)]
    while pending:
        path, place = pending.pop()
        if place in leave:
            continue
        info = tar.gettarinfo(path, place.lstrip("/"))
        if info is None or info.ischr() or info.isblk():
            continue
        info.uname = info.gname = ""
        info.uid, info.gid = (0 if read_only else uid), gid
        if read_only:
            info.mode = (info.mode & 0o755) | (info.mode >> 3 & 0o050)
            info.mtime = int(info.mtime)
        else:
            kept, needed = (FOLDER_RIGHTS, 0o700) if info.isdir() else (FILE_RIGHTS, 0o600)
            info.mode = (info.mode & kept) | needed
            info.pax_headers = {"mtime": f"{info.mtime:.9f}"}  # Engines refuse 1e-09.
        if info.isreg():
            with open(path, "rb") as file:  # noqa: PTH123
                tar.addfile(info, file)
        else:
            tar.addfile(info)
        if info.isdir():
            with os.scandir(path) as found:
                pending += [(entry.path, f"{place}/{entry.name}") for entry in found]


def add_folder(tar: tarfile.TarFile, target: str, ids: tuple[int, int] = (0, 0)) -> None:
    """Add an empty folder that all may enter."""
    info = tarfile.TarInfo(target.lstrip("/"))
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    info.uid, info.gid = ids
    tar.addfile(info)


def add_in_place(tar: tarfile.TarFile, target: str, ids: tuple[int, int] = (0, 0)) -> None:
    """Add an empty file. A folder that is there goes with all that is in it: engines replace what
    is of another kind."""
    info = tarfile.TarInfo(target.lstrip("/"))
    info.mode = 0o600
    info.uid, info.gid = ids
    tar.addfile(info)


def archive_of(engine: DockerEngine, container: str, source: str) -> Generator[bytes, None, None]:
    """The engine's archive of a file or folder in a container. To be closed: an archive that is
    not read to its end keeps the container locked in the engine until then.

    Raises SandboxError.
    """
    api: Any = engine.api
    with engine.errors(f"copying {source} out of a sandbox"):
        url = api._url("/containers/{0}/archive", container)
        response = api._get(url, params={"path": source}, stream=True)
        with closing(response):
            api._raise_for_status(response)
            yield from response.iter_content(_CHUNK)


def exists_in(engine: DockerEngine, container: str, path: str) -> bool:
    """Whether a container has something at a path; raises SandboxError."""
    api: Any = engine.api
    with engine.errors(f"looking for {path} in a sandbox"):
        url = api._url("/containers/{0}/archive", container)
        answer = api.head(url, params={"path": path}, timeout=engine.patience_s)
        if answer.status_code == 404:
            return False
        api._raise_for_status(answer)
        return True
