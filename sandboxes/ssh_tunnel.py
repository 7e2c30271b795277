"""An engine on another machine by the user's own ssh: a Unix socket here that leads to the one
there. So configuration, keys and agents of ssh hold as they do in a shell."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from sandboxes.base import EngineUnavailableError

_ENGINE_SOCKET = "/var/run/docker.sock"
_WAIT_S = 30.0
_POLL_S = 0.05
_LAST_LINES = 3
_OPTIONS = {
    "BatchMode": "yes",  # A question would never be answered.
    "ExitOnForwardFailure": "yes",
    "StreamLocalBindUnlink": "yes",
    "ServerAliveInterval": "15",
    "ConnectTimeout": "15",
    "ControlMaster": "no",
    "ControlPath": "none",
}


class SshTunnel:
    """Forwards a Unix socket of this machine to an engine's. Safe to use from threads.

    Args:
        address: ``ssh://[user@]host[:port][/path/of/the/engine's.sock]``.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._place = _place(address)
        # Short, since names of sockets are limited, and of this user alone.
        folder = Path(tempfile.mkdtemp(prefix="skillopt-ssh-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._socket, self._log = folder / "engine.sock", folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """The address of this end."""
        return f"unix://{self._socket}"

    def ensure(self) -> None:
        """Start it, or start it anew if it has ended.

        Raises:
            EngineUnavailableError: ssh is missing, or does not get there.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()

    def close(self) -> None:
        """End it, until :meth:`ensure` is called again."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        program = shutil.which("ssh")
        if program is None:
            raise EngineUnavailableError(
                f"connecting: the engine is at {self._address}, and this machine has no ssh; "
                "install OpenSSH's client, or set DOCKER_HOST to another engine"
            )
        host = self._place.hostname or ""
        command = [program, "-T", "-L", f"{self._socket}:{_remote_socket(self._place)}"]
        command += [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
        command += ["-l", unquote(self._place.username)] if self._place.username else []
        command += ["-p", str(self._place.port)] if self._place.port else []
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # What runs there ends with its input, hence with this process however that ends.
                [*command, "--", host, "cat"],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C ends rollouts, which need it to be ended.
            )  # fmt: skip
        end = time.monotonic() + _WAIT_S
        while not self._open():
            if self._process.poll() is not None or time.monotonic() > end:
                late = "" if self._process.poll() is not None else f" within {_WAIT_S:g} s"
                self._stop()
                raise self._failure(late)
            time.sleep(_POLL_S)

    def _open(self) -> bool:
        """Whether this end takes connections."""
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(self._socket))
            return True
        return False

    def _failure(self, late: str) -> EngineUnavailableError:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        reason = "; ".join(line.strip() for line in lines[-_LAST_LINES:]) or "it said nothing"
        return EngineUnavailableError(
            f"connecting: ssh does not reach the engine at {self._address}{late} ({reason}); see "
            f"that `docker -H {self._address} version` works without asking anything, and that the "
            "engine's socket is where the address says"
        )

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _place(address: str) -> SplitResult:
    """The parts of an address; raises EngineUnavailableError if it is not one."""
    try:
        place = urlsplit(address)
        usable = bool(place.hostname) and (place.port is None or place.port > 0)
        usable = usable and unquote(address).isprintable()
    except ValueError:
        usable = False
    if not usable or (place.hostname or "").startswith("-") or place.password:
        raise EngineUnavailableError(
            f"connecting: {address!r} is not an address as ssh://user@host or "
            "ssh://user@host:22/run/user/1000/docker.sock; correct DOCKER_HOST"
        )
    return place


def _remote_socket(place: SplitResult) -> str:
    return unquote(place.path) if place.path.strip("/") else _ENGINE_SOCKET
