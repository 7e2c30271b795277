"""Podman's Docker interface, with storage of its own, as root."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from docker import APIClient
from docker.errors import DockerException

PODMAN = shutil.which("podman")
_CONFIG = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_RUNTIME = """\
#!{python}
# runc, without limits beyond this process's own, which Podman asks for and virtual machines may not
# grant.
import json, os, resource, sys
names = {{"--bundle": "config.json", "-b": "config.json", "--process": "", "-p": ""}}
for at, word in enumerate(sys.argv[:-1]):
    if word in names and {{"create", "exec"}} & set(sys.argv):
        path = os.path.join(sys.argv[at + 1], names[word]) if names[word] else sys.argv[at + 1]
        with open(path) as file:
            told = json.load(file)
        process = told.get("process", told)
        process["rlimits"] = [
            one for one in process.get("rlimits") or []
            if one["hard"] <= resource.getrlimit(getattr(resource, one["type"]))[1]
            or resource.getrlimit(getattr(resource, one["type"]))[1] == resource.RLIM_INFINITY
        ]
        with open(path, "w") as file:
            json.dump(told, file)
os.execv({runc!r}, ["runc", *sys.argv[1:]])
"""


@contextmanager
def own_podman(images: Sequence[str]) -> Iterator[str]:
    """The address of a Podman that has images of the machine's engine; ends with the block.

    Args:
        images: their names.
    """
    root, runc = Path(mkdtemp(prefix="so-podman-")), shutil.which("runc")
    (root / "containers.conf").write_text(_CONFIG)
    runtime = root / "runc"
    runtime.write_text(_RUNTIME.format(python=sys.executable, runc=runc))
    runtime.chmod(0o755)
    host = f"unix://{root / 'podman.sock'}"
    command = [str(PODMAN), "--root", str(root / "root"), "--runroot", str(root / "run")]
    command += ["--storage-driver", "overlay", "--runtime", str(runtime)]
    with (root / "log").open("wb") as log:
        service = subprocess.Popen(
            [*command, "system", "service", "-t", "0", host],
            stdout=log, stderr=log, cwd=root, env={"CONTAINERS_CONF": str(root / "containers.conf"),
                                                  "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
    try:
        _wait(host, root / "log")
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            load = ["docker", "--host", host, "load", "-q"]
            subprocess.run(load, stdin=saved.stdout, check=True)
        yield host
    finally:
        service.kill()
        service.wait()
        lines = Path("/proc/mounts").read_text().splitlines()
        for mount in reversed([line.split()[1] for line in lines if str(root) in line]):
            subprocess.run(["umount", "-l", mount], capture_output=True)
        shutil.rmtree(root)


def _wait(host: str, log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(DockerException):
            if APIClient(host, timeout=5).ping():
                return
        time.sleep(0.2)
    raise AssertionError(log.read_text())
