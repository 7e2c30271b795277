"""A port of loopback that leads to a Unix socket, over TLS, as an engine on another machine has."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def forwarded(path: str, tls: ssl.SSLContext) -> Iterator[int]:
    """The port.

    Args:
        path: of the Unix socket.
        tls: of the server.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, path, tls), daemon=True).start()
        yield int(server.getsockname()[1])


def _serve(server: socket.socket, path: str, tls: ssl.SSLContext) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return  # The test is over.
        threading.Thread(target=_connect, args=(client, path, tls), daemon=True).start()


def _connect(client: socket.socket, path: str, tls: ssl.SSLContext) -> None:
    with (
        suppress(OSError),
        tls.wrap_socket(client, server_side=True) as outer,
        socket.socket(socket.AF_UNIX) as inner,
    ):
        inner.connect(path)
        back = threading.Thread(target=_copy, args=(inner, outer), daemon=True)
        back.start()
        _copy(outer, inner)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
