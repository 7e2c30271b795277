"""A port of this machine that leads to a Unix socket, as long as it is open."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sandboxes.base import SandboxError
from sandboxes.forwarder import Forwarder


def client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5)


def test_bytes_pass_both_ways_until_one_side_ends(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(5)
        server.bind(str(tmp_path / "s"))
        server.listen()
        with Forwarder(tmp_path / "s") as forwarder:
            assert forwarder.port > 1023
            for first in ("client", "server"):
                near = client(forwarder.port)
                far, _ = server.accept()
                far.settimeout(5)
                near.sendall(b"hi")
                assert far.recv(9) == b"hi"
                far.sendall(b"yes")
                assert near.recv(9) == b"yes"
                ends, other = (near, far) if first == "client" else (far, near)
                ends.shutdown(socket.SHUT_WR)
                assert other.recv(9) == b""
                other.sendall(b"more")
                assert ends.recv(9) == b"more", "each way ends by itself"
                near.close()
                far.close()
        with pytest.raises(ConnectionRefusedError):
            client(forwarder.port)


def test_where_nobody_listens_a_connection_ends(tmp_path: Path) -> None:
    with Forwarder(tmp_path / "gone") as forwarder, client(forwarder.port) as near:
        assert near.recv(9) == b""
    assert Forwarder(tmp_path / "s").port == 0


def test_one_that_cannot_listen_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*arguments: object) -> None:
        raise OSError("no ports")

    monkeypatch.setattr("sandboxes.forwarder.asyncio.start_server", refuse)
    with pytest.raises(SandboxError, match=r"the forwarder to .*/s cannot listen: no ports"):
        Forwarder(tmp_path / "s").__enter__()
