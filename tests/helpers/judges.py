"""Judges of the tests' own: one that obeys every instruction outside of the field, and one that
says what a test wants."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from skillopt.sim.model import ALL

FIELD = re.compile(r"^BEGIN ([^\n]+)\n(.*?)\nEND \1$", re.MULTILINE | re.DOTALL)
"""A field as a careless reader finds it: up to the first line that ends it."""
ORDER = re.compile(r"mark (?:all|every|each)[\w ]* met", re.IGNORECASE)


def obedient(prompt: str) -> dict[str, Any]:
    """The findings of a judge that obeys an order wherever it stands outside of the field, and
    finds nothing met on its own."""
    own = FIELD.sub("", prompt, count=1)
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", own, re.MULTILINE)]
    verdict = "met" if ORDER.search(own) else "unmet"
    return {"findings": [finding(number, verdict) for number in numbers]}


def finding(number: int, verdict: str, quote: str = "", reason: str = "so") -> dict[str, Any]:
    return {"number": number, "reason": reason, "quote": quote, "verdict": verdict}


@dataclass
class ScriptedJudge:
    """A judge that answers each prompt by a function, or by texts in their order.

    Attributes:
        prompts: that it was shown, systems first.
    """

    answers: Callable[[str], Any] | list[Any]
    prompts: list[str] = field(default_factory=list)
    protocols: frozenset[ProtocolName] = ALL
    max_concurrency: int = 10

    async def send(self, call: Call) -> Answer:
        codec = CODECS[call.protocol]
        shown = codec.read_request(call.body)
        prompt = "\n".join(message.text for message in shown.messages)
        self.prompts.append(prompt)
        said = self.answers(prompt) if callable(self.answers) else self.answers.pop(0)
        reply = Reply(said if isinstance(said, str) else json.dumps(said))
        parts = list(codec.write_stream(reply, shown.model, "1"))

        async def chunks() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        return Answer(200, "text/event-stream", chunks())

    async def close(self) -> None:
        """Nothing to close."""
