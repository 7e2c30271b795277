"""An OpenAI-compatible endpoint with a scripted target and optimizer, for both sides.

``python -m benchmarks.reference.server --port 0`` prints its address; ``GET /counts`` says what
was asked. It serves Chat Completions only: neither side asks for anything else here.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import shlex
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from benchmarks.reference.dialects import UnknownPromptError, reply
from benchmarks.reference.rules import answer, questions_in

TARGET, OPTIMIZER = "scripted-target", "scripted-optimizer"
"""Model names, by which roles are told apart and counted."""


@dataclass
class Script:
    """The endpoint's behaviour and its counts.

    Args:
        seed: of bad proposals and of failures.
        latency_s: before each reply.
        fail: share of calls that are answered with status 500, in [0, 1].
        noise: share of questions at which the target forgets the skill, in [0, 1].
        outage_after, outage_s: after so many answered calls all get status 500 for so long;
            0 for no outage.
    """

    seed: int = 0
    latency_s: float = 0.0
    fail: float = 0.0
    noise: float = 0.0
    outage_after: int = 0
    outage_s: float = 0.0
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {TARGET: Counter(), OPTIMIZER: Counter()}
    )
    _attempts: Counter[str] = field(default_factory=Counter)
    _answered: set[str] = field(default_factory=set)
    _down_since: float | None = None

    async def completions(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        try:
            body = await request.json()
        except ClientDisconnect:  # Its sender was killed.
            return Response(status_code=400)
        role = TARGET if body["model"] == TARGET else OPTIMIZER
        asked = json.dumps([role, body["messages"]], sort_keys=True)
        digest = hashlib.sha256(asked.encode()).hexdigest()
        self._attempts[digest] += 1
        await asyncio.sleep(self.latency_s)
        # By what is asked and how often, so that failures do not depend on the order of calls.
        dice = random.Random(f"{self.seed}/{digest}/{self._attempts[digest]}").random()
        if dice < self.fail or self._is_down():
            self.counts[role]["failed"] += 1
            return JSONResponse({"error": {"message": "scripted failure"}}, 500)
        try:
            slips = random.Random(f"noise/{self.seed}/{digest}/{self._attempts[digest]}")
            forgets = slips.random() < self.noise
            message = target(body, forgets) if role == TARGET else self._optimizer(body)
        except UnknownPromptError as error:
            print(error, file=sys.stderr, flush=True)
            return JSONResponse({"error": {"message": str(error)}}, 400)
        self.counts[role]["answered"] += 1
        self.counts[role]["again"] += digest in self._answered
        # Our target needs a second call to end its turn; a rollout is one question answered.
        self.counts[role]["rollouts"] += role == TARGET and not _told(body)
        self._answered.add(digest)
        if body.get("stream"):
            return StreamingResponse(_events(body, message), media_type="text/event-stream")
        return JSONResponse(_completion(body, message))

    def _is_down(self) -> bool:
        if not self.outage_after:
            return False
        answered = sum(counts["answered"] for counts in self.counts.values())
        if self._down_since is None and answered >= self.outage_after:
            self._down_since = time.monotonic()
        since = self._down_since
        return since is not None and time.monotonic() - since < self.outage_s

    def _optimizer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        prompt = "\n".join(m["content"] for m in body["messages"] if m["role"] == "user")
        schema = (body.get("response_format") or {}).get("json_schema")
        return {"role": "assistant", "content": reply(prompt, schema, self.seed)}

    async def show(self, _: Request) -> Response:
        """``GET /counts``: calls by role."""
        return JSONResponse({role: dict(counts) for role, counts in self.counts.items()})


def target(body: Mapping[str, Any], forgets: bool = False) -> dict[str, Any]:
    """The scripted target's message: in words, or by a shell command where it has a shell.

    Args:
        body: the request's.
        forgets: whether it answers as if it had no skill.
    """
    if _told(body):
        return {"role": "assistant", "content": "Done."}
    prompt = "\n".join(str(m.get("content") or "") for m in body["messages"])
    shown = [str(m.get("content") or "") for m in body["messages"] if m["role"] == "user"]
    questions = list(questions_in(shown[0]))
    if not questions:
        raise UnknownPromptError(f"no question in: {shown[0][:200]!r}")
    text = answer(questions[0], shown[0], shown[0] if forgets else prompt)
    if not body.get("tools"):
        return {"role": "assistant", "content": f"<answer>{text}</answer>"}
    command = f"printf '%s\\n' {shlex.quote(text)} > answer.txt"
    function = {"name": "shell", "arguments": json.dumps({"command": command})}
    call = {"id": "call_1", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _told(body: Mapping[str, Any]) -> bool:
    return bool(body["messages"][-1]["role"] == "tool")


def _completion(body: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    stop = "tool_calls" if message.get("tool_calls") else "stop"
    read, wrote = len(json.dumps(body["messages"])) // 4, len(json.dumps(message)) // 4
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": stop}],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": wrote,
            "total_tokens": read + wrote,
        },
    }


def _events(body: Mapping[str, Any], message: Mapping[str, Any]) -> Iterator[str]:
    whole = _completion(body, message)
    calls = [{"index": n, **call} for n, call in enumerate(message.get("tool_calls") or [])]
    delta = {**message, "tool_calls": calls} if calls else dict(message)
    head = {key: whole[key] for key in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"
    stop = whole["choices"][0]["finish_reason"]
    for choices, usage in (
        ([{"index": 0, "delta": delta, "finish_reason": None}], None),
        ([{"index": 0, "delta": {}, "finish_reason": stop}], None),
        ([], whole["usage"]),
    ):
        yield f"data: {json.dumps({**head, 'choices': choices, 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


def app(script: Script) -> Starlette:
    """The endpoint as an ASGI application."""
    return Starlette(
        routes=[
            Route("/v1/chat/completions", script.completions, methods=["POST"]),
            Route("/counts", script.show),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference.server")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--fail", type=float, default=0.0, help="share answered with status 500")
    parser.add_argument("--noise", type=float, default=0.0, help="share answered without the skill")
    parser.add_argument("--outage-after", type=int, default=0, help="calls before an outage")
    parser.add_argument("--outage", type=float, default=0.0, help="its length in seconds")
    given = parser.parse_args()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", given.port))
        listener.listen(128)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        script = Script(
            given.seed, given.latency, given.fail, given.noise, given.outage_after, given.outage
        )
        config = uvicorn.Config(app(script), log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
