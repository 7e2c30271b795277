"""A model service on loopback that answers as a scenario says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.services.wire import PATHS, Answer, Asked

Scenario = Callable[[Asked], Answer | None]
"""None closes the connection without an answer."""


class Service(ThreadingHTTPServer):
    """Answers every request by ``scenario``, which may be replaced while it runs."""

    daemon_threads = True

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.asked: list[Asked] = []
        self.times: list[float] = []
        self.paths: list[str] = []
        self.raw: list[bytes] = []
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, raw: bytes, headers: dict[str, str]) -> Answer | None:
        with self._lock:
            self.paths.append(path)
            self.raw.append(raw)
            protocol = PATHS[path.partition("?")[0]]
            asked = Asked(protocol, json.loads(raw), len(self.asked) + 1, headers)
            self.asked.append(asked)
            self.times.append(time.monotonic())
        return self.scenario(asked)

    def handle_error(self, *args: object) -> None:
        """A client that has left is nothing to report."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        heard = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answer(self.path, raw, heard)
        self.close_connection = True
        if answer is None:
            return
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if isinstance(answer.body, bytes):
            self.send_header("content-length", str(len(answer.body)))
        self.send_header("connection", "close")
        self.end_headers()
        for part in [answer.body] if isinstance(answer.body, bytes) else answer.body:
            if isinstance(part, bytes):
                self.wfile.write(part)
                self.wfile.flush()
            else:
                time.sleep(part)


@contextmanager
def serving(scenario: Scenario) -> Iterator[Service]:
    """The service, while it runs."""
    with Service(scenario) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join(5)
