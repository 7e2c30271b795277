"""Finds or makes the base system of our images: present, pulled, or built with debootstrap."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sandboxes.base import ImageMissingError, SandboxError
from sandboxes.docker import KIND_LABEL, DockerEngine
from sandboxes.engine import PUBLIC_BASE as PUBLIC_BASE
from sandboxes.owner import scratch_dir

OWN_BASE = "skillopt/debian-base:bookworm"

_SUITE = "bookworm"
_DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_MIRROR = "http://deb.debian.org/debian"
_SOURCES = f"""\
deb {_MIRROR} {_SUITE} main
deb {_MIRROR} {_SUITE}-updates main
deb http://deb.debian.org/debian-security {_SUITE}-security main
"""
_REMOVED = ("var/cache/apt/archives", "var/lib/apt/lists", "var/log", "usr/share/doc")
_WAYS_OUT = (
    "let the engine reach the registry; or `docker load` an image and name it as the base; or, on "
    "a Debian-like machine of the engine's architecture as root, install debootstrap and run "
    "`skillopt images build` again"
)
_WAYS_TO_IT = "let the engine reach its registry, or `docker load` it"


def ensure_base(engine: DockerEngine, image: str, *, log: Callable[[str], None]) -> str:
    """An image of the engine that serves as ``image``: the image itself, pulled if it is missing,
    or, for the default base that cannot be pulled, one made with debootstrap.

    Raises ImageMissingError, with advice, if there is none.
    """
    if engine.inspect_image(image) is not None:
        return image
    if image == PUBLIC_BASE and engine.inspect_image(OWN_BASE) is not None:
        return OWN_BASE
    log(f"pulling {image}")
    reason = _pull(engine, image)
    if reason is None:
        return image
    log(f"{image} cannot be pulled: {reason}")
    if image != PUBLIC_BASE or not _can_bootstrap(engine):
        ways = _WAYS_OUT if image == PUBLIC_BASE else _WAYS_TO_IT
        raise ImageMissingError(f"{image} cannot be pulled ({reason}); {ways}")
    log(f"making {OWN_BASE} with debootstrap instead, which takes a minute or two")
    _bootstrap(engine, log)
    return OWN_BASE


def _pull(engine: DockerEngine, image: str) -> str | None:
    """Pull an image; returns why it could not be pulled, if so."""
    from docker.errors import APIError, NotFound

    name, _, tag = image.partition("@") if "@" in image else image.rpartition(":")

    def pull() -> Iterator[dict[str, Any]]:
        try:
            yield from engine.api.pull(name or tag, tag if name else None, stream=True, decode=True)
        except (APIError, NotFound) as error:
            yield {"error": error.explanation}

    events = engine.told(f"pulling {image}", pull)
    return next((str(event["error"]) for event in events if "error" in event), None)


def _can_bootstrap(engine: DockerEngine) -> bool:
    if os.getuid() != 0 or platform.system() != "Linux" or not _same_machine(engine):
        return False
    return shutil.which("debootstrap") is not None or shutil.which("apt-get") is not None


def _same_machine(engine: DockerEngine) -> bool:
    """Whether the engine's machine has this one's architecture, for which debootstrap works."""
    here, there = (
        _DEBIAN_NAMES.get(name, name)
        for name in (platform.machine(), str(engine.info["Architecture"]))
    )
    return here == there


def _bootstrap(engine: DockerEngine, log: Callable[[str], None]) -> None:
    if shutil.which("debootstrap") is None:
        _run(["apt-get", "update"], log)
        _run(["apt-get", "install", "-y", "--no-install-recommends", "debootstrap"], log)
    with tempfile.TemporaryDirectory(dir=scratch_dir()) as folder:
        root = Path(folder) / "root"
        wanted = ["--variant=minbase", "--include=ca-certificates"]
        _run(["debootstrap", *wanted, _SUITE, str(root), _MIRROR], log)
        (root / "etc/apt/sources.list").write_text(_SOURCES)
        for name in _REMOVED:
            for entry in (root / name).iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        log(f"importing {OWN_BASE}")
        _import(engine, root)


def _import(engine: DockerEngine, root: Path) -> None:
    repository, _, tag = OWN_BASE.partition(":")
    command = ["tar", "--numeric-owner", "-C", str(root), "-c", "."]
    changes = [f"LABEL {KIND_LABEL}=base", 'CMD ["bash"]']
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        ask = partial(engine.api.import_image_from_stream, tar.stdout, repository, tag, changes)
        deque(engine.told(f"importing {OWN_BASE}", lambda: [ask()]), maxlen=0)
    if tar.returncode != 0 or engine.inspect_image(OWN_BASE) is None:
        raise SandboxError(f"importing {OWN_BASE} failed (tar ended with {tar.returncode})")


def _run(command: list[str], log: Callable[[str], None]) -> None:
    """Run a command with its output passed to ``log``; SandboxError with its last lines if it
    fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        for line in process.stdout or ():
            last = [*last[-9:], line.rstrip()]
            log(line.rstrip())
    if process.returncode != 0:
        ending = "\n".join(last)
        raise SandboxError(f"`{' '.join(command)}` failed ({process.returncode}):\n{ending}")
