"""What a stream costs this process, event by event: ``python -m benchmarks.streams``, or
``python -m benchmarks.streams encrypted``.

A service, the gateway and a client, each a process of its own. The service sends the events of one
Messages reply at a steady pace; each event has the time at which it was sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from harnesses.base import ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant
from harnesses.gateway.upstreams import HttpUpstream
from skillopt.cli import set_up_process

EVENTS, GAP_S = 2000, 0.002
ROUNDS = 3
_KEY = "STREAMS_BENCHMARK_KEY"
_SENT = re.compile(rb"sent ([0-9.]+)")


@dataclass(frozen=True)
class Measured:
    """One stream.

    Args:
        cpu_us: microseconds of this process's processor time for each event.
        delays_ms: from an event's departure to its arrival at the client, of every event.
    """

    cpu_us: float
    delays_ms: tuple[float, ...]


def run(
    events: int = EVENTS, gap_s: float = GAP_S, rounds: int = ROUNDS, encrypted: bool = False
) -> dict[str, float]:
    """The cheapest of some streams, and the delays of all.

    Args:
        events: of a stream.
        gap_s: seconds between two events.
        rounds: the number of streams, one after another.
        encrypted: whether the service is asked over TLS, as services on the internet are.
    """
    set_up_process()
    with TemporaryDirectory() as folder, _service(folder if encrypted else "") as port:
        url = f"http{'s' * encrypted}://localhost:{port}"
        os.environ[_KEY] = f"sk-ant-{'x' * 100}"  # It is looked for in all that comes.
        upstream = HttpUpstream("anthropic", url, _KEY, frozenset({"messages"}))
        with Gateway({"up": upstream}, Path(folder) / "s", lambda *_: 0.0) as gateway:
            found = [_stream(gateway, events, gap_s) for _ in range(rounds + 1)][1:]
    delays = sorted(delay for one in found for delay in one.delays_ms)
    return {
        "events": events,
        "gap, ms": gap_s * 1000,
        "CPU, us an event": round(min(one.cpu_us for one in found), 1),
        "delay, ms, median": round(delays[len(delays) // 2], 2),
        "delay, ms, 99 %": round(delays[int(len(delays) * 0.99)], 2),
        "delay, ms, longest": round(delays[-1], 2),
    }


def _stream(gateway: Gateway, events: int, gap_s: float) -> Measured:
    with gateway.open(Grant(ModelSpec("up", "m"), 1)) as session:
        argv = [str(gateway.socket), session.token, str(events), str(gap_s)]
        client = subprocess.Popen([*_SELF, "client", *argv], stdout=subprocess.PIPE, text=True)
        assert client.stdout is not None
        client.stdout.readline()  # It has started, and asks next.
        began = time.process_time()
        delays = json.loads(client.stdout.readline())
        used = time.process_time() - began
        client.wait()
    assert len(delays) == events, f"{len(delays)} of {events} events came"
    return Measured(used / events * 1e6, tuple(delays))


@contextmanager
def _service(certificates: str) -> Iterator[int]:
    """The port of a service that is a process of its own, with certificates in a folder."""
    if certificates:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{certificates}/ca.pem")
        issued = authority.issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(f"{certificates}/service.pem")
        os.environ["SSL_CERT_FILE"] = f"{certificates}/ca.pem"
    argv = [*_SELF, "service", certificates]
    service = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        yield int(service.stdout.readline())
    finally:
        service.terminate()
        service.wait()


_SELF = [sys.executable, "-m", "benchmarks.streams"]


async def _serve(certificates: str) -> None:
    context = None
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificates}/service.pem")
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return  # The connection is not needed any more.
        lines = head.decode().lower().split("\r\n")
        size = next(
            int(v) for n, _, v in (x.partition(":") for x in lines) if n == "content-length"
        )
        body = json.loads(await reader.readexactly(size))
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        await _send(writer, body["metadata"]["events"], body["metadata"]["gap_s"])
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _send(writer: asyncio.StreamWriter, events: int, gap_s: float) -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
    usage = {"input_tokens": 10, "output_tokens": 1}
    block = {"type": "text", "text": ""}
    _event(writer, {"type": "message_start", "message": message | {"usage": usage}})
    _event(writer, {"type": "content_block_start", "index": 0, "content_block": block})
    due = time.monotonic()
    for _ in range(events):
        due += gap_s
        await asyncio.sleep(due - time.monotonic())
        delta = {"type": "text_delta", "text": f"sent {time.monotonic()}"}
        _event(writer, {"type": "content_block_delta", "index": 0, "delta": delta})
    _event(writer, {"type": "content_block_stop", "index": 0})
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    _event(writer, {"type": "message_delta", "delta": ending, "usage": {"output_tokens": events}})
    _event(writer, {"type": "message_stop"})


def _event(writer: asyncio.StreamWriter, data: dict[str, object]) -> None:
    raw = f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(raw), raw))


def _ask(path: str, token: str, events: str, gap_s: str) -> None:
    """Ask for a stream, and print how long each of its events was on its way."""
    metadata = {"events": int(events), "gap_s": float(gap_s)}
    asked = {"role": "user", "content": "go"}
    body = json.dumps(
        {"model": "m", "max_tokens": 9, "stream": True, "messages": [asked], "metadata": metadata}
    ).encode()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {token}\r\n"
        f"content-length: {len(body)}\r\ncontent-type: application/json\r\n\r\n"
    )
    print("ready", flush=True)
    raw, ends, times = bytearray(), [], []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(head.encode() + body)
        while not raw.endswith(b"0\r\n\r\n"):
            raw += connection.recv(1 << 16)
            ends.append(len(raw))
            times.append(time.monotonic())
    sent = [(match.end(), float(match[1])) for match in _SENT.finditer(raw)]
    delays = [(times[bisect_left(ends, end)] - departure) * 1000 for end, departure in sent]
    print(json.dumps(delays), flush=True)


def main(argv: list[str]) -> None:
    match argv:
        case ["service", certificates]:
            asyncio.run(_serve(certificates))
        case ["client", *rest]:
            _ask(*rest)
        case _:
            for name, value in run(encrypted="encrypted" in argv).items():
                print(f"{name}: {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
