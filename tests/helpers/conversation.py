"""A model that says what a function of the prompt says, and the order in which a run asked and
decided."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harnesses.base import Usage
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from skillopt.run.journal import read_records
from skillopt.run.records import MethodDone, Replied, StageStarted, StepDone


@dataclass
class Says:
    """Answers in free text; ``prompts`` collects what it was asked.

    Args:
        answer: maps a prompt to the reply.
    """

    answer: Callable[[str], str]
    prompts: list[str] = field(default_factory=list)
    protocols: frozenset[ProtocolName] = frozenset({"chat"})
    max_concurrency: int = 1

    async def send(self, call: Call) -> Answer:
        codec = CODECS[call.protocol]
        shown = codec.read_request(call.body)
        prompt = "\n".join(message.text for message in shown.messages)
        self.prompts.append(prompt)
        reply = Reply(self.answer(prompt), usage=Usage(1, 10, 0, 10), model=shown.model)
        if shown.stream:
            stream = codec.write_stream(reply, shown.model, "1")
            return Answer(200, "text/event-stream", _chunks(stream))
        body = json.dumps(codec.write_response(reply, shown.model, "1")).encode()
        return Answer(200, "application/json", _chunks([body]))

    async def close(self) -> None:
        """Nothing to close."""


async def _chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def order_of(run: Path) -> list[list[Any]]:
    """What a method's run did, in its order: ``[step, stage, most, calls]`` for each stage, with
    the subjects of its model calls sorted, as they run side by side; ``[step, decision]``; and the
    method's own end."""
    found: list[list[Any]] = []
    for record in read_records(run):
        match record:
            case StageStarted() if record.stage not in ("baseline", "final", "test"):
                found.append([record.step, record.stage, record.total, []])
            case Replied():
                found[-1][3] = sorted([*found[-1][3], record.about])
            case StepDone():
                found.append([record.step, record.action])
            case MethodDone():
                found.append(["end", record.asked])
    return found


def one_rule_more(prompt: str) -> str:
    """An optimizer in free text whose replies depend on the prompt alone: to what asks for a text
    in a tag or a fence, the text with the next of three rules; to all else, criticism."""
    form = re.search(r"<(\w+)>\{", prompt)
    fenced = "within ``` blocks" in prompt
    if form is None and not fenced:
        return "It lacks a rule."
    pattern = r"```\n(.*?)\n```" if fenced else r"<[A-Z_]+>\n(.*?)\n</"
    found = re.search(pattern, prompt, re.DOTALL)
    body = found[1] if found else ""
    made = f"{body}\n- rule {min(body.count('- rule'), 2)}"
    return f"```\n{made}\n```" if fenced or form is None else f"<{form[1]}>\n{made}\n</{form[1]}>"
