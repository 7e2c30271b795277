"""An ssh server of the test's own on loopback, and an ssh that finds it as the host ``far``."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SSH = shutil.which("ssh")
SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")


class OwnSshd:
    """Runs between :meth:`start` and :meth:`kill`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        for name in ("host", "mine", "stranger"):
            key = str(folder / name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        shutil.copy(folder / "mine.pub", folder / "authorized")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
            f"PidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        self.accept("mine")
        self._process: subprocess.Popen[bytes] | None = None

    def accept(self, key: str) -> None:
        """Which key the client offers: ``mine``, or a ``stranger``'s."""
        public = (self.folder / "host.pub").read_text()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {public}")
        (self.folder / "config").write_text(
            f"Host far\n HostName 127.0.0.1\n Port {self.port}\n User {getpass.getuser()}\n"
            f" IdentityFile {self.folder}/{key}\n IdentitiesOnly yes\n IdentityAgent none\n"
            f" UserKnownHostsFile {self.folder}/known\n GlobalKnownHostsFile none\n"
        )
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        program = programs / "ssh"
        program.write_text(f'#!/bin/sh\nexec {SSH} -F {self.folder}/config "$@"\n')
        program.chmod(0o755)

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)  # Where it gives up its rights.
        command = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        """End it, with every connection."""
        if self._process is not None:
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def own_sshd(folder: Path) -> Iterator[OwnSshd]:
    """A server that runs."""
    server = OwnSshd(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
