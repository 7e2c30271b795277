"""What the gateway of one node takes: many agents at once, each with requests of 200 kB and
replies of 2,000 events.

A service, the gateway and the agents, each a process of its own. Each agent asks again as soon as
a reply has ended; a reply lasts ``REPLY_S`` if nothing is late. What ends first shows: the
gateway's processor time (a whole core), its memory, or the delay of its streams.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.scale import watched
from harnesses.base import Budget, ModelSpec
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant
from harnesses.gateway.upstreams import HttpUpstream

AGENTS = (10, 30, 100, 150)
EVENTS = 2000
REPLY_S = 20.0
REQUEST_BYTES = 200_000
SECONDS = 60.0


def measured(count: int, seconds: float) -> dict[str, float]:
    """Processor time, memory and how late replies are, with so many agents for so long."""
    own = [sys.executable, "-m", "benchmarks.node_gateway"]
    with ExitStack() as stack:
        service = stack.enter_context(
            subprocess.Popen([*own, "service"], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(service.kill)
        assert service.stdout is not None
        folder = Path(stack.enter_context(TemporaryDirectory()))
        upstream = HttpUpstream(
            "openai-compatible", f"http://127.0.0.1:{int(service.stdout.readline())}", "",
            frozenset({"chat"}), max_concurrency=count,
        )  # fmt: skip
        gateway = stack.enter_context(Gateway({"up": upstream}, folder / "s", lambda *_: 0.0))
        tokens = []
        for number in range(count):
            record = folder / f"r{number}"
            record.mkdir()
            grant = Grant(ModelSpec("up", "m"), number, record, Budget())
            tokens.append(stack.enter_context(gateway.open(grant)).token)
        with watched() as used:
            agents = subprocess.run(
                [*own, "agents", str(gateway.socket), str(seconds)],
                input="\n".join(tokens), stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
    took = json.loads(agents.stdout)
    found = {
        "replies": len(took),
        "events/s": len(took) * EVENTS / used.seconds,
        "CPU, share of a core": used.cpu_s / used.seconds,
        "CPU, us an event": used.cpu_s * 1e6 / max(1, len(took) * EVENTS),
        "memory, MB": used.memory_mb,
        "reply, s, median": statistics.median(took) if took else 0.0,
        "reply, s, longest": max(took, default=0.0),
    }
    return {key: round(value, 2) for key, value in found.items()}


async def _serve() -> None:
    """A chat service whose replies have ``EVENTS`` events in ``REPLY_S`` seconds."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    word = {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "word "}}]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 50_000, "completion_tokens": EVENTS,
                      "total_tokens": 50_000 + EVENTS}}  # fmt: skip
    event, end = (f"data: {json.dumps(part)}\n\n".encode() for part in (word, last))

    def framed(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n")
                              if line.startswith(b"content-length"))  # fmt: skip
                await reader.readexactly(int(length.partition(b":")[2]))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                             b"transfer-encoding: chunked\r\n\r\n")  # fmt: skip
                began = asyncio.get_running_loop().time()
                for number in range(EVENTS):
                    writer.write(framed(event))
                    due = began + REPLY_S * number / EVENTS
                    pause = due - asyncio.get_running_loop().time()
                    if pause > 0:
                        await writer.drain()
                        await asyncio.sleep(pause)
                writer.write(framed(end) + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _ask(socket: str, tokens: Sequence[str], seconds: float) -> list[float]:
    """The seconds that replies took, of agents that ask again and again."""
    took: list[float] = []
    until = time.monotonic() + seconds
    text = "x" * (REQUEST_BYTES - 200)
    body = json.dumps({"model": "m", "stream": True,
                       "stream_options": {"include_usage": True},
                       "messages": [{"role": "user", "content": text}]}).encode()  # fmt: skip

    async def agent(token: str, number: int) -> None:
        await asyncio.sleep(REPLY_S * number / max(1, len(tokens)) / 2)
        while time.monotonic() < until:
            began = time.monotonic()
            reader, writer = await asyncio.open_unix_connection(socket, limit=1 << 20)
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n"
                + f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n".encode()
                + f"content-length: {len(body)}\r\n\r\n".encode() + body
            )  # fmt: skip
            data = b""
            while part := await reader.read(1 << 16):
                data = (data + part)[-200:]
            writer.close()
            assert b"[DONE]" in data, data
            took.append(time.monotonic() - began)

    await asyncio.gather(*(agent(token, number) for number, token in enumerate(tokens)))
    return took


def main(words: Sequence[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    if words[0] == "service":
        asyncio.run(_serve())
    else:
        tokens = sys.stdin.read().split()
        print(json.dumps(asyncio.run(_ask(words[1], tokens, float(words[2])))))


if __name__ == "__main__":
    main(sys.argv[1:])
