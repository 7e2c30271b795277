"""Requests that last as long as their work, and an engine that hangs meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO

import pytest

from sandboxes.base import EngineUnavailableError, SandboxError
from sandboxes.docker import DockerEngine
from sandboxes.listening import listened

VERSION = b'{"ApiVersion":"1.41"}'
Request = Callable[[DockerEngine], object]


def test_what_is_told_passes_in_its_order() -> None:
    assert list(listened(lambda: range(3), lambda: None, 9)) == [0, 1, 2]


def test_what_the_request_raises_comes_after_what_it_told() -> None:
    def ask() -> Iterator[str]:
        yield "step 1"
        raise SandboxError("no space")

    told = []
    with pytest.raises(SandboxError, match="no space"):
        told.extend(listened(ask, lambda: None, 9))
    assert told == ["step 1"]


def test_silence_is_borne_while_the_engine_answers_others() -> None:
    pinged = threading.Semaphore(0)

    def ask() -> Iterator[str]:
        assert pinged.acquire(timeout=10) and pinged.acquire(timeout=10)
        yield "done"

    assert list(listened(ask, pinged.release, 0.01)) == ["done"]


def test_silence_ends_when_the_engine_answers_nobody() -> None:
    over = threading.Event()

    def ask() -> Iterator[str]:
        yield "step 1"
        over.wait(10)

    def ping() -> None:
        raise EngineUnavailableError("no engine answers")

    found = listened(ask, ping, 0.01)
    assert next(found) == "step 1"
    with pytest.raises(EngineUnavailableError, match="no engine answers"):
        next(found)
    over.set()


def test_a_request_that_nobody_listens_to_any_more_is_given_up() -> None:
    ended, go_on = threading.Event(), threading.Event()

    def ask() -> Iterator[int]:
        try:
            yield 1
            go_on.wait(10)
            yield 2
            yield 3
            raise AssertionError("it went on")
        finally:
            ended.set()

    found = listened(ask, lambda: None, 9)
    assert next(found) == 1
    found.close()  # type: ignore[attr-defined]
    go_on.set()
    assert ended.wait(10)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """A connection to an engine that says its version and nothing else, but for how it is."""
    path = tmp_path_factory.mktemp("silent") / "docker.sock"
    kept: list[socket.socket] = []

    def serve(server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            kept.append(client)
            head = b""
            while b"\r\n\r\n" not in head and (got := client.recv(65536)):
                head += got
            if b"/version" in head:
                length = f"Content-Length: {len(VERSION)}".encode()
                client.sendall(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + b"\r\n\r\n" + VERSION
                )

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        engine = DockerEngine(f"unix://{path}", patience_s=1)
        yield engine
        engine.api.close()
        server.shutdown(socket.SHUT_RDWR)
    for client in kept:
        client.close()


def attach(engine: DockerEngine) -> object:
    with engine.errors("attaching"):
        return engine.api.attach_socket("c1", {"stdout": 1, "stream": 1})


def build(engine: DockerEngine) -> object:
    ask = partial(engine.api.build, fileobj=BytesIO(), custom_context=True, decode=True)
    return list(engine.told("building", ask))


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_of",
    [
        attach,
        build,
        lambda engine: list(engine.told("pulling", lambda: engine.api.pull("a", stream=True))),
        lambda engine: engine.done_to("c1", "2026-01-01T00:00:00Z", 1.0),
        lambda engine: engine.start("c1"),
        lambda engine: engine.wait("c1", 0.1) is None and engine.inspect_image("a"),
        lambda engine: engine.keep("c1", "a"),
        lambda engine: engine.remove("c1"),
    ],
    ids=["attach", "build", "pull", "events", "start", "wait", "keep", "remove"],
)
def test_no_request_waits_for_a_silent_engine_without_end(
    request_of: Request, silent: DockerEngine
) -> None:
    with pytest.raises(EngineUnavailableError, match="no container engine answers"):
        request_of(silent)
