"""What a long session costs: ``python -m benchmarks.sessions``.

Requests of a conversation that grows with each one, through the gateway as they come, and then
what is made of their record at the end of the rollout.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from harnesses.base import ModelSpec, Usage
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant
from harnesses.gateway.upstreams import Answer, Call
from harnesses.gateway.wire import WIRE
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from harnesses.trajectories.threads import Turns
from harnesses.trajectories.trajectory import build_trajectory, final_answer

REQUESTS, BYTES = 100, 600_000
"""Of a session, and of its last request."""


class _Instant:
    """A model service that replies at once."""

    protocols: frozenset[ProtocolName] = frozenset({"messages"})
    max_concurrency = 16

    async def send(self, call: Call) -> Answer:
        said = CODECS["messages"].write_stream(Reply("ok", usage=Usage(1, 9, 0, 1)), "m", "1")

        async def chunks() -> AsyncIterator[bytes]:
            yield b"".join(said)

        return Answer(200, "text/event-stream", chunks())

    async def close(self) -> None:
        pass


def requests(count: int, size: int) -> Iterator[dict[str, Any]]:
    """The requests of a session as Claude Code makes them.

    Args:
        count: of the requests.
        size: bytes of the last one.
    """
    tools = [
        {"name": f"tool_{n}", "description": "d" * 1500, "input_schema": {"type": "object"}}
        for n in range(20)
    ]
    system = [{"type": "text", "text": "You are an agent. " * 500}]
    step = (size - len(json.dumps([tools, system]))) // count
    messages: list[dict[str, Any]] = [_user([{"type": "text", "text": "Do it."}])]
    for n in range(count):
        yield {
            "model": "m", "max_tokens": 32_000, "stream": True, "system": system, "tools": tools,
            "messages": [*messages[:-1], _marked(messages[-1])],
        }  # fmt: skip
        call = {"type": "tool_use", "id": f"c{n}", "name": "tool_1", "input": {"command": "ls"}}
        text = f"line {n} " * (step // 8)
        result = {"type": "tool_result", "tool_use_id": f"c{n}", "content": text[: step - 200]}
        messages += [{"role": "assistant", "content": [call]}, _user([result])]


def _user(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    """The last message, up to which the service is to keep the conversation."""
    *before, last = message["content"]
    return _user([*before, last | {"cache_control": {"type": "ephemeral"}}])


@dataclass(frozen=True)
class Spent:
    """What one session cost.

    Args:
        gateway_s, end_s: processor seconds of the requests, client included, and of the end.
        held: bytes of traced memory at the end, before anything is made of the record.
        written: bytes of the record.
    """

    gateway_s: float
    end_s: float
    held: int
    written: int


def run(count: int = REQUESTS, size: int = BYTES) -> dict[str, float]:
    """What one session costs; the parameters as in :func:`requests`."""
    _session(2, size)  # What is loaded and kept once.
    spent = _session(count, size)
    tracemalloc.start()
    before = _session(2, size).held
    held = _session(count, size).held - before
    tracemalloc.stop()
    return {
        "requests": count,
        "last request, kB": size / 1000,
        "CPU of a request, ms": round(spent.gateway_s / count * 1000, 2),
        "CPU at the end, ms": round(spent.end_s * 1000, 1),
        "held until the end, MiB": round(held / 2**20, 2),
        "record, MB": round(spent.written / 1e6, 2),
    }


def _session(count: int, size: int) -> Spent:
    model = ModelSpec("up", "m")
    with (
        TemporaryDirectory() as folder,
        Gateway({"up": _Instant()}, Path(folder) / "s", lambda *_: 0.0) as gateway,
        gateway.open(Grant(model, 1, Path(folder))) as session,
        httpx2.HTTPTransport(uds=str(gateway.socket), verify=False) as transport,
        httpx2.Client(transport=transport, headers={"x-api-key": session.token}) as client,
    ):
        asked_s = sum(_ask(client, body) for body in requests(count, size))
        held = tracemalloc.get_traced_memory()[0]
        began = time.process_time()
        found = Turns(Path(folder) / WIRE).so_far()
        whole = build_trajectory(
            found, agent="a", version="1", model="m", session_id="s", usage=session.usage
        )
        assert whole is not None and final_answer(found) == "ok"
        end_s = time.process_time() - began
        return Spent(asked_s, end_s, held, (Path(folder) / WIRE).stat().st_size)


def _ask(client: httpx2.Client, body: dict[str, Any]) -> float:
    """Make a request; the processor seconds of this process, the client's included."""
    began = time.process_time()
    answer = client.post("http://gateway/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    return time.process_time() - began


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name}: {value}")
