"""The optimizer model over the gateway: structured replies and free text, recorded, priced,
requested once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from harnesses.agents.asking import PromptTooLongError
from harnesses.base import Budget, ModelSpec, Usage
from harnesses.clock import now
from harnesses.gateway.chat import ChatClient, ChatError
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant, Session
from harnesses.protocols.base import Conversation, Message
from sandboxes.base import SandboxError
from skillopt.core.files import digest_of, end_whole
from skillopt.core.text import without_escapes
from skillopt.optimizer.model import (
    OptimizerRefusedError,
    OptimizerReplyError,
    OptimizerUnavailableError,
    ask_with_repair,
)
from skillopt.rollouts.questions import Chat
from skillopt.rollouts.upstreams import raise_own_error
from skillopt.run.events import Listener
from skillopt.run.records import Noted, Replied
from skillopt.run.spending import Meter

T = TypeVar("T", bound=BaseModel)
Answer = Callable[[Chat, Callable[[str], None]], str]
"""Asks with a chat, and returns the reply as JSON; notes go to the second argument."""


@dataclass
class GatewayModel:
    """The optimizer of one step. Implements :class:`skillopt.optimizer.model.OptimizerModel`.

    Args:
        gateway, spec: the gateway and the model.
        seed: that of run and step; together with a call's subject it seeds the model.
        step: the step's number, for the records.
        record: folder in which ``wire.jsonl`` is written.
        listener: receives each reply.
        meter: checks the limits before each call.
        known: replies from earlier starts of the run, by id. They are not requested again.
        inherited: replies of the run that this one was forked from, likewise. They are recorded
            here when they are first used, and cost nothing.
        service: what else decides the replies, such as the service's address.
        silence_s: seconds for which a reply may think in silence.
        open: opens the chat of a session; by default with the model itself.
        program: name of the agent that asks; empty if this process does.
        budget: of one reply.
    """

    gateway: Gateway
    spec: ModelSpec
    seed: str
    step: int
    record: Path
    listener: Listener
    meter: Meter
    known: Mapping[str, Replied]
    inherited: Mapping[str, Replied] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)
    silence_s: float | None = None
    open: Callable[[Session], AbstractContextManager[Chat]] = ChatClient
    program: str = ""
    budget: Budget = Budget()
    _replies: dict[str, Replied] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        end_whole(self.record / "wire.jsonl")

    def ask(self, stage: str, about: str, system: str, prompt: str, schema: type[T]) -> T:
        def answer(client: Chat, note: Callable[[str], None]) -> str:
            def send(messages: Sequence[Message]) -> str:
                return self._send(client, messages, schema)

            return ask_with_repair(send, system, prompt, schema, note).model_dump_json()

        form = schema.model_json_schema()
        return schema.model_validate_json(self._reply(stage, about, system, prompt, form, answer))

    def say(self, stage: str, about: str, system: str, prompt: str) -> str:
        """Ask for free text, as :meth:`ask` asks for a value of a given shape. Terminal escapes and
        control characters are left out of it.

        Args:
            stage, about, system, prompt: as for :meth:`ask`; an empty system prompt is left out.

        Raises:
            OptimizerReplyError: the reply was empty.
            OptimizerRefusedError: the service refuses the prompt.
            OptimizerUnavailableError: no reply at all.
        """
        own = (Message("system", system),) if system else ()
        messages = (*own, Message("user", prompt))

        def answer(client: Chat, note: Callable[[str], None]) -> str:
            text = without_escapes(self._send(client, messages))
            if not text.strip():
                raise OptimizerReplyError("the reply was empty")
            return json.dumps(text)

        return str(json.loads(self._reply(stage, about, system, prompt, None, answer)))

    def _send(
        self, client: Chat, messages: Sequence[Message], schema: type[BaseModel] | None = None
    ) -> str:
        """The text of the reply to some messages."""
        shown = Conversation(
            self.spec.name,
            tuple(messages),
            schema_name=schema.__name__ if schema else None,
            stream=True,
        )
        reply = client.say(shown, schema.model_json_schema() if schema else None)
        # Some servers take all for a thought.
        return reply.text if reply.text.strip() else reply.reasoning

    def _reply(
        self, stage: str, about: str, system: str, prompt: str, form: Any, answer: Answer
    ) -> str:
        """The reply to a question as JSON, requested once in a run.

        Args:
            stage, about, system, prompt: the question.
            form: JSON schema of the reply; None for free text.
            answer: asks it, and returns the reply as JSON.
        """
        model = [self.spec.name, dict(self.spec.sampling), dict(self.service)]
        id = digest_of([self.seed, stage, about, system, prompt, form, model])
        reply = self.known.get(id) or self._replies.get(id) or self._taken(id)
        reply = reply or self._asked(id, stage, about, answer)
        with self._lock:
            self._replies[id] = reply
        if reply.refused:
            raise OptimizerRefusedError(reply.error)
        if reply.reply is None:
            raise OptimizerReplyError(reply.error)
        return reply.reply

    def _taken(self, id: str) -> Replied | None:
        """A reply of the run that this one was forked from, as one of this run."""
        found = self.inherited.get(id)
        if found is None:
            return None
        reply = found.model_copy(update={"at": now(), "step": self.step, "inherited": True})
        self.listener(reply)
        return reply

    def _asked(self, id: str, stage: str, about: str, answer: Answer) -> Replied:
        """A new reply, recorded before it is used."""
        seed = int(digest_of([self.seed, stage, about])[:12], 16)
        grant = Grant(
            self.spec, seed, self.record, self.budget, silence_s=self.silence_s,
            program=self.program,
        )  # fmt: skip
        value, error, refused = None, "", False
        notes: list[str] = []
        with self.meter.admit(stage, now()), self.gateway.open(grant) as session:
            try:
                with self.open(session) as client:
                    value = answer(client, notes.append)
            except SandboxError as broken:  # Of an agent that asks.
                raise OptimizerUnavailableError(f"optimizer: sandbox: {broken}") from broken
            except PromptTooLongError as long:
                refused, error = True, str(long)
            except ChatError as unavailable:
                last = session.exchanges[-1] if session.exchanges else None
                raise_own_error(self.gateway, self.spec.upstream)
                used_up = bool(session.exhausted) and not session.failure
                if not used_up and (last is None or last.blame != "agent"):
                    advice = _advice(str(unavailable), self.silence_s)
                    raise OptimizerUnavailableError(
                        f"optimizer: {unavailable}{advice}"
                    ) from unavailable
                refused = not used_up
                error = f"{'the service refuses the prompt: ' if refused else ''}{unavailable}"
            except OptimizerReplyError as malformed:
                neglected = sorted({f for e in session.exchanges for f in e.ignored})
                note = f" (the service ignored {', '.join(neglected)})" if neglected else ""
                error = f"{_cut(session)}{malformed}{note}"
            record = Replied(
                id=id, stage=stage, step=self.step, about=about,
                reply=value, error=error, refused=refused, usage=session.usage,
            )  # fmt: skip
            for text in notes:
                said = f"optimizer call ({stage}): {about}: {text}"
                self.listener(Noted(text=said, step=self.step))
            self.listener(record)
            return record

    @property
    def usage(self) -> dict[str, Usage]:
        """The usage by stage, which does not depend on the order of the calls."""
        with self._lock:
            replies = [self._replies[id] for id in sorted(self._replies)]
        stages = sorted({reply.stage for reply in replies})
        return {
            stage: Usage.total(r.usage for r in replies if r.stage == stage) for stage in stages
        }


def _cut(session: Session) -> str:
    """What to do if the service cut the last reply of a session; empty if it did not."""
    last = session.exchanges[-1].reply if session.exchanges else None
    if last is None or last.stop != "length":
        return ""
    return "cut at its token limit; raise optimizer.sampling.max_tokens: "


def _advice(error: str, silence_s: float | None) -> str:
    """The key to change if a reply was given up because it took too long; else empty."""
    if silence_s is None or not re.search(r"stalled|no byte|timed out|no reply began", error):
        return ""
    return (
        f"; optimizer.timeout_s is {silence_s:g}: raise it, and patience.total with it, for a "
        "model that thinks longer"
    )
