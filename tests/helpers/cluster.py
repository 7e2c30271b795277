"""A Ray cluster of the test's own, whose nodes can be killed, frozen and cut off.

Its processes are in sessions of their own and are ended by their ids; other clusters of this
machine are left alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil

RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
ROOT = Path(__file__).parents[2]
AGENTS = "agents"
"""The resource that nodes for rollouts have, and the driver's has not."""
_QUIET = {
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_infeasible_task_early_exit": "0",
}
_numbers = count()
_TOKEN = secrets.token_hex(32)
"""Of all clusters of this process: Ray keeps the first one that it reads."""


@dataclass
class RayNode:
    """A node: what ``ray start --block`` has started.

    Attributes:
        process: of ``ray start``.
        namespace: network namespace that it is in; empty for this machine's.
    """

    process: subprocess.Popen[bytes]
    namespace: str = ""
    seen: dict[int, psutil.Process] = field(default_factory=dict)

    def processes(self) -> list[psutil.Process]:
        """Its processes, also of what they have started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            self.seen |= {p.pid: p for p in [top, *top.children(recursive=True)]}
        return [process for process in self.seen.values() if process.is_running()]

    def send(self, number: signal.Signals) -> None:
        """Send all of them a signal: SIGKILL is a machine's death, SIGSTOP freezes it."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def stop(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()


@dataclass
class RayCluster:
    """A head without rollouts, on which drivers run, and nodes for rollouts."""

    folder: Path
    address: str = ""
    env: dict[str, str] = field(default_factory=dict)
    """What the environment of nodes and drivers needs: Ray's own token."""
    nodes: list[RayNode] = field(default_factory=list)

    def start(
        self, *options: str, env: Mapping[str, str] | None = None, inside: str = ""
    ) -> RayNode:
        """Start a node, and wait until it is part of the cluster."""
        before = ["ip", "netns", "exec", inside] if inside else []
        log = self.folder / f"ray-{next(_numbers)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*before, *RAY, "start", "--block", "--disable-usage-stats", *options],
                env={**os.environ, **_QUIET, "PYTHONPATH": str(ROOT), **self.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                start_new_session=True,
            )
        node = RayNode(process, inside)
        self.nodes.append(node)
        # Two that start at once on a machine get into each other's way.
        until = time.monotonic() + 60
        while "block forever" not in log.read_text():
            assert time.monotonic() < until and process.poll() is None, log.read_text()
            time.sleep(0.1)
        return node

    def add(
        self, env: Mapping[str, str] | None = None, inside: str = "", address: str = ""
    ) -> RayNode:
        """Start a node for rollouts.

        Args:
            env: its environment's, besides this process's.
            inside: network namespace.
            address: its own there.
        """
        own = [f"--node-ip-address={address}"] if address else []
        return self.start(
            f"--address={self.address}", "--num-cpus=1", f'--resources={{"{AGENTS}": 1}}',
            f"--object-store-memory={80 * 2**20}", *own, env=env, inside=inside,
        )  # fmt: skip

    def close(self) -> None:
        for node in self.nodes:
            node.stop()


@contextmanager
def ray_cluster(address: str = "127.0.0.1") -> Iterator[RayCluster]:
    """A cluster with a head only.

    Args:
        address: of this machine, by which nodes reach it.
    """
    # Ray's sockets have long names below this folder.
    folder = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))
    token = folder / "token"
    token.write_text(_TOKEN)
    token.chmod(0o600)
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    cluster = RayCluster(folder, env=own)
    try:
        port = _free_port()
        cluster.start(
            "--head", f"--port={port}", f"--node-ip-address={address}", "--num-cpus=0",
            "--include-dashboard=false", f"--temp-dir={folder}",
            f"--object-store-memory={80 * 2**20}",
        )  # fmt: skip
        cluster.address = f"{address}:{port}"
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


@contextmanager
def other_network() -> Iterator[tuple[str, str, str]]:
    """A network namespace that is joined to this machine by a cable; needs root.

    Yields:
        Its name, its address there, and this machine's address on the cable.
    """
    name = f"so{os.getpid() % 10000}"
    here, there = f"10.77.{os.getpid() % 250}.1", f"10.77.{os.getpid() % 250}.2"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}n")
        run("ip", "link", "set", f"{name}n", "netns", name)
        run("ip", "addr", "add", f"{here}/24", "dev", f"{name}h")
        run("ip", "link", "set", f"{name}h", "up")
        for words in (["addr", "add", f"{there}/24", "dev", f"{name}n"],
                      ["link", "set", f"{name}n", "up"], ["link", "set", "lo", "up"]):  # fmt: skip
            run("ip", "-n", name, *words)
        yield name, there, here
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("ip", "link", "del", f"{name}h")
        run("ip", "netns", "del", name)


def cut(name: str) -> None:
    """Drop all that arrives there: nobody is told."""
    run("ip", "netns", "exec", name, "iptables", "-I", "INPUT", "!", "-i", "lo", "-j", "DROP")


def mend(name: str) -> None:
    run("ip", "netns", "exec", name, "iptables", "-F", "INPUT")


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
    return done.stdout


def left_over(folder: Path) -> list[str]:
    """Processes that name a folder in their arguments."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if re.search(rf"{re.escape(str(folder))}\b", line):
            found.append(line[:100])
    return found
