"""What 200 hostile sessions do to the gateway: its peak memory, and the delay of another session.

Large nested and flat requests, large texts, requests that come slowly, replies that are not read,
and floods of calls. Attackers and the model's service are processes of lower priority, so that the
gateway and not the processor is measured.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.queues import Queue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import psutil

from harnesses.base import ModelSpec
from harnesses.gateway.addresses import protocols_of
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import HttpUpstream

SESSIONS = 200
SECONDS = 30
ADDRESS = "http://gateway/v1/chat/completions"
HEAD = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "metadata": {"x": ['
REPLY = {
    "id": "c",
    "model": "m",
    "choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1},
}


class _Model(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        left = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        body = json.dumps(REPLY).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _serve(address: Queue[str]) -> None:
    os.nice(10)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    address.put(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


def _slowly() -> Iterator[bytes]:
    yield HEAD
    for _ in range(60):
        time.sleep(0.5)
        yield b"[]," * 5000


def _body(kind: int) -> Any:
    text = {"model": "m", "messages": [{"role": "user", "content": "x" * 8_000_000}]}
    return {
        0: HEAD + b"[]," * 6_500_000 + b"1]}}",
        1: HEAD + b'"ab",' * 3_500_000 + b"1]}}",
        2: json.dumps(text).encode(),
        3: _slowly(),
        4: HEAD + b'"a",' * 100_000 + b"1]}}",
        5: HEAD + b"1]}}",
    }[kind]


def _attack(socket: str, tokens: list[str], until: float) -> None:
    os.nice(10)

    def one(token: str, kind: int) -> None:
        head = {"authorization": f"Bearer {token}"}
        transport = httpx2.HTTPTransport(uds=socket)
        with httpx2.Client(transport=transport, timeout=60, headers=head) as http:
            while time.time() < until:
                try:
                    http.post(ADDRESS, content=_body(kind))
                except httpx2.HTTPError:
                    time.sleep(0.1)

    for number, token in enumerate(tokens):
        threading.Thread(target=one, args=(token, number % 6), daemon=True).start()
    time.sleep(max(0.0, until - time.time()))
    os._exit(0)


def _call(session: Session) -> float:
    """Seconds of one ordinary call."""
    transport = httpx2.HTTPTransport(uds=str(session.socket))
    head = {"authorization": f"Bearer {session.token}"}
    body = {"model": "m", "messages": [{"role": "user", "content": "hello " * 2000}]}
    with httpx2.Client(transport=transport, timeout=120, headers=head) as http:
        began = time.perf_counter()
        http.post(ADDRESS, json=body).raise_for_status()
        return time.perf_counter() - began


def run() -> dict[str, float]:
    """Peak memory above idle in MiB, and seconds of another session's calls."""
    processes = multiprocessing.get_context("spawn")
    address: Queue[str] = processes.Queue()
    processes.Process(target=_serve, args=(address,), daemon=True).start()
    upstream = HttpUpstream(
        "openai-compatible", address.get(), "", protocols_of("openai-compatible")
    )
    with (
        TemporaryDirectory() as scratch,
        Gateway({"up": upstream}, Path(scratch) / "s", lambda *_: 0.0) as gateway,
    ):
        sessions = []
        for number in range(SESSIONS):
            (record := Path(scratch) / str(number)).mkdir()
            sessions.append(gateway.open(Grant(ModelSpec("up", "m"), number, record)))
        other = gateway.open(Grant(ModelSpec("up", "m"), SESSIONS))
        quiet = max(_call(other) for _ in range(20))
        own = psutil.Process()
        idle, peak, until = own.memory_info().rss, 0, time.time() + SECONDS
        for half in range(2):
            tokens = [session.token for session in sessions[half::2]]
            given = (str(gateway.socket), tokens, until)
            processes.Process(target=_attack, args=given, daemon=True).start()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, own.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        calls = []
        while time.time() < until:
            calls.append(_call(other))
            time.sleep(0.1)
        done.set()
        watcher.join()
    results = {
        "peak above idle, MiB": round((peak - idle) / 2**20),
        "slowest call when quiet, s": round(quiet, 2),
        "calls of another session": len(calls),
        "slowest of these, s": round(max(calls), 2),
    }
    for name, value in results.items():
        print(f"{name}: {value}", flush=True)
    return results
