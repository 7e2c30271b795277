"""Running tests as an ordinary user, if this process is root: file rights do not bind root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandboxes.endpoint import engine_endpoint
from tests.helpers.small import COMMON

UID = 1000
PROJECT = Path(__file__).parents[2]
COPIED = ("skillopt", "harnesses", "sandboxes", "tests", "configs", "dockerfiles", "pyproject.toml")
PROBE = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import docker, httpx2, pydantic, pytest, xdist"], check=True)
"""


FAR = "/mnt/far"
"""The user's folder where only the user sees it."""
_HIDE = f'mount -t tmpfs none /mnt && mkdir {FAR} && mount --bind "$0" {FAR} && cd {FAR}/project'


@contextmanager
def ordinary_user(far: bool = False) -> Iterator[OrdinaryUser]:
    """A user with a copy of the project, a home and a temporary folder, who may use the engine.

    Args:
        far: whether the engine sees nothing of the user's files, as one on another machine.

    Raises:
        LookupError: there is no interpreter that such a user can run, or no way to the engine.
    """
    # Not below pytest's folder, which no other user can enter. Paths of sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="user-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        for name in COPIED:
            source, target = PROJECT / name, folder / "project" / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, UID, UID, follow_symlinks=False)
        user = OrdinaryUser(folder, far)
        user.find_python()
        yield user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class OrdinaryUser:
    """Runs commands as :data:`UID` in a folder of its own."""

    def __init__(self, folder: Path, far: bool = False) -> None:
        self.folder = folder
        self.far = far
        self.python = ""
        seen = Path(FAR) if far else folder
        packages = [path for path in sys.path if path.endswith("site-packages")]
        self.env = {
            "PATH": os.defpath,
            "HOME": str(seen / "home"),
            "TMPDIR": str(seen / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(seen / "project"), *packages]),
        }
        shared = {name: v for name, v in os.environ.items() if name.startswith("SKILLOPT_")}
        shared.pop(COMMON, None)  # Another user's folder.
        self.env |= shared

    def find_python(self) -> None:
        name = f"python3.{sys.version_info.minor}"
        for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
            if Path(python).exists() and self.run([python, "-c", PROBE]).returncode == 0:
                self.python = python
                return
        raise LookupError(f"an ordinary user can run no {name} with this project's packages")

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        hidden = ["unshare", "--mount", "sh", "-c", f'{_HIDE} && exec "$@"', str(self.folder)]
        return subprocess.run(
            [
                *(hidden if self.far else ()),
                "setpriv",
                f"--reuid={UID}",
                f"--regid={UID}",
                f"--groups={_group()}",
                *argv,
            ],
            cwd=self.folder / "project",
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def pytest(self, *arguments: str) -> str:
        """Run tests; the output, with a last line that says how it ended."""
        argv = [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = self.run(argv)
        return f"{done.stdout}{done.stderr}\nexit code {done.returncode}"


def _group() -> int:
    """The group that may use the engine."""
    address = engine_endpoint().host
    if not address.startswith("unix://"):
        raise LookupError(f"the engine is not reached by a socket: {address}")
    status = Path(address.removeprefix("unix://")).stat()
    if not status.st_mode & stat.S_IWGRP or status.st_gid == 0:
        raise LookupError("no group but root's may use the engine's socket")
    return status.st_gid
