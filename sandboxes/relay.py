"""The only way out of an agent's sandbox: a container that listens on its own loopback interface
and forwards to Unix sockets of this machine. Agents join its network, which has nothing else,
unless the engine's own network was requested.

It knows nothing of what passes through.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sandboxes.base import Limits, Mount, SandboxError, SandboxSpec
from sandboxes.docker import RELAY_KIND, DockerEngine
from sandboxes.execution import ExecStream
from sandboxes.images import RELAY_IMAGE
from sandboxes.mounts import agent_ids

RELAY_PORT = 8377
PROXY_PORT = 8378
OPEN_NETWORK = "bridge"
"""The engine's network that leads to everything."""

_SOCKETS = "/gateway"
_FORWARD = """\
for pair in "$@"; do
    options=bind=127.0.0.1,fork,max-children=220,reuseaddr,backlog=64,nodelay
    socat -d -d TCP-LISTEN:"${pair%%=*},$options" UNIX-CONNECT:"${pair#*=}" &
done
wait -n"""
"""The script of a relay. It ends when one of the forwarders does: a relay works or is gone. More
connections than it has processes for wait: a flood of them must not end it."""
# Measured: 86 MB and 444 processes with all children of two forwarders.
_LIMITS = Limits(memory_mb=192, cpus=1.0, pids=512, disk_mb=1)


class Relay:
    """Forwards ports of its network's ``127.0.0.1`` to Unix sockets.

    The sockets may be created later than the relay, but must all be in one folder of their own: its
    mode is set so that the relay's user can enter it. The sockets must let every user connect.

    A context manager; raises SandboxError on entry if the relay cannot start.

    Args:
        engine: runs it.
        sockets: by port.
        network: of the engine; ``none``, or :data:`OPEN_NETWORK`.
        image: with bash and socat in it.
    """

    def __init__(
        self,
        engine: DockerEngine,
        sockets: Mapping[int, Path],
        *,
        network: str = "none",
        image: str = RELAY_IMAGE,
    ) -> None:
        self._engine = engine
        self._sockets = sockets
        self._network = network
        self._image = image
        self._container: str | None = None

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def network(self) -> str:
        """The value for ``SandboxSpec.network``."""
        if self._container is None:
            raise SandboxError("the relay has not been started")
        return f"container:{self._container}"

    def start(self) -> None:
        """Start the relay, and wait until it listens."""
        self._container = self._create()
        try:
            self._start_and_wait(self._container)
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise SandboxError if the relay is no longer running."""
        if self._container is None:
            raise SandboxError("the relay has been stopped")
        with self._engine.errors("looking at the relay"):
            state = self._engine.api.inspect_container(self._container)["State"]
        if not state["Running"]:
            code = state["ExitCode"]
            raise SandboxError(f"the relay has ended with exit code {code}; start a new one")

    def stop(self) -> None:
        """Remove the relay. Calling it again does nothing."""
        if self._container is not None:
            self._engine.remove(self._container)
            self._container = None

    def _create(self) -> str:
        """Make the relay's container."""
        engine = self._engine
        (folder,) = {socket.parent for socket in self._sockets.values()}
        folder.chmod(0o711)
        spec = SandboxSpec(
            image=self._image,
            workdir="/",
            mounts=(Mount(str(folder), _SOCKETS),),
            limits=_LIMITS,
            network=self._network,
        )
        pairs = [f"{port}={_SOCKETS}/{socket.name}" for port, socket in self._sockets.items()]
        command = ("bash", "-c", _FORWARD, "relay", *pairs)
        user = "{}:{}".format(*agent_ids())
        return engine.launch(spec, kind=RELAY_KIND, user=user, command=command)

    def _start_and_wait(self, container: str) -> None:
        """Wait for socat's messages that it listens, which is quicker than to try the ports."""

        def all_listen(output: bytes) -> bool:
            return output.count(b"listening on") == len(self._sockets)

        api, wanted = self._engine.api, {"stdout": 1, "stderr": 1, "stream": 1}
        with (
            self._engine.errors(f"starting a relay from {self._image}"),
            closing(ExecStream(api.attach_socket(container, wanted))) as stream,
        ):
            self._engine.start(container)
            output = stream.rest(self._engine.patience_s, all_listen)
        if not all_listen(output):
            reason = output.decode(errors="replace").strip()
            raise SandboxError(f"the relay ended at once: {reason}")
