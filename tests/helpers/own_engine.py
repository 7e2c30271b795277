"""A Docker engine of the test's own, that it may kill and start again, beside the machine's."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import psutil
from docker import APIClient
from docker.errors import DockerException

UID = 1000
"""Whose a rootless engine is."""


class OwnEngine:
    """Starts in :meth:`start`, dies without a word in :meth:`kill`; its images stay."""

    def __init__(
        self,
        root: Path,
        remap_users: bool = False,
        arguments: Sequence[str] = (),
        hidden: Sequence[str] = (),
        covered: Sequence[str] = (),
        rootless: bool = False,
    ) -> None:
        self.root = root
        self.rootless = rootless
        self.covered = covered
        self.remap_users = remap_users
        self.arguments = arguments
        self.hidden = hidden
        self.host = f"unix://{root / 'docker.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # As after a reboot: sockets and numbers of processes are of no use any more.
        self._unmount("exec-root")
        shutil.rmtree(self.root / "exec-root", ignore_errors=True)
        (self.root / "docker.pid").unlink(missing_ok=True)
        places = ["data-root", "exec-root"]
        # In a network of its own: without a bridge it would take away that of the machine's engine.
        command = [
            *(() if self.rootless else ("unshare", "--net")),
            "dockerd",
            "--host",
            self.host,
            "--pidfile",
            str(self.root / "docker.pid"),
        ]
        command += [word for name in places for word in (f"--{name}", str(self.root / name))]
        command += ["--bridge", "none", "--iptables=false", "--ip-forward=false"]
        command += self.arguments
        if self.remap_users:
            command = self._remapped(command)
        if self.hidden:
            script = "".join(f"umount {place} && " for place in self.hidden) + 'exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
        if self.rootless:
            command = self._rootless(command)
        if self.covered:
            command = self._far(command)
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(DockerException):
                if APIClient(self.host, timeout=5).ping():
                    return
            time.sleep(0.2)
        raise AssertionError((self.root / "log").read_text()[-2000:])

    def _far(self, command: list[str]) -> list[str]:
        """The command where the covered folders are empty, but for the engine's own."""
        covers = "".join(f"mount -t tmpfs -o mode=1777 none {at} && " for at in self.covered)
        script = (
            f"mount --bind {self.root} /mnt && {covers}"
            f'mkdir -p {self.root} && mount --move /mnt {self.root} && exec "$@"'
        )
        return ["unshare", "--mount", "sh", "-c", script, "sh", *command]

    def _rootless(self, command: list[str]) -> list[str]:
        """The command as an ordinary user's, with a range of users that only it sees in /etc."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        ranges = self.root / "ranges"
        ranges.write_text(f"{pwd.getpwuid(UID).pw_name}:300000:65536\n")
        for path in (self.root, *self.root.iterdir()):
            os.chown(path, UID, UID)
        binds = "".join(f"mount --bind {ranges} /etc/{name} && " for name in ("subuid", "subgid"))
        as_user = f"setpriv --reuid {UID} --regid {UID} --clear-groups env HOME={home} "
        kit = f"rootlesskit --state-dir={home}/kit --net=host --copy-up=/etc --copy-up=/run "
        inner = 'rm -rf /run/docker /run/containerd /run/xtables.lock && exec unshare --net "$@"'
        script = (
            f"touch /etc/subuid /etc/subgid && {binds} export XDG_RUNTIME_DIR={home} && "
            f"exec {as_user} {kit} sh -c '{inner}' sh \"$@\""
        )
        return ["unshare", "--mount", "sh", "-c", script, "sh", *command, "--rootless"]

    def _remapped(self, command: list[str]) -> list[str]:
        """The command with a range of users to map to, which only it sees in /etc."""
        ranges = self.root / "ranges"
        ranges.write_text("nobody:200000:65536\nnogroup:200000:65536\n")
        self.root.chmod(0o711)
        binds = "".join(f"mount --bind {ranges} /etc/{name} && " for name in ("subuid", "subgid"))
        script = f'touch /etc/subuid /etc/subgid && {binds} exec "$@"'
        command = [*command, "--userns-remap", "nobody:nogroup"]
        return ["unshare", "--mount", "sh", "-c", script, "sh", *command]

    def kill(self) -> None:
        """As a crash: the engine and all that it runs are gone at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.root) in word for word in process.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    for one in (*process.children(recursive=True), process):
                        one.kill()

    def hang(self) -> None:
        """Take every request, and answer none until :meth:`go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _unmount(self, below: str) -> None:
        lines = Path("/proc/mounts").read_text().splitlines()
        mounts = [line.split()[1] for line in lines if str(self.root / below) in line]
        for mount in reversed(mounts):
            subprocess.run(["umount", "-l", mount], capture_output=True)

    def remove(self) -> None:
        self.kill()
        self._unmount("")
        shutil.rmtree(self.root)

    def load(self, image: str) -> None:
        """Take an image from the machine's engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "--host", self.host, "load", "-q"], stdin=saved.stdout, check=True
            )


@contextmanager
def own_engine(
    image: str,
    remap_users: bool = False,
    arguments: Sequence[str] = (),
    hidden: Sequence[str] = (),
    covered: Sequence[str] = (),
    rootless: bool = False,
) -> Iterator[OwnEngine]:
    """An engine that has one image, and maps the users of containers to others if asked to.

    Args:
        image: of the machine's engine.
        remap_users: whether users are mapped.
        arguments: more of dockerd's.
        hidden: mounted file systems that it does not see.
        rootless: whether it is an ordinary user's; needs rootlesskit and newuidmap.
        covered: folders of which it sees only its own below them, as one on another machine.
    """
    root = Path(mkdtemp(prefix="so-engine-"))
    engine = OwnEngine(root, remap_users, arguments, hidden, covered, rootless)
    try:
        engine.start()
        engine.load(image)
        yield engine
    finally:
        engine.remove()
