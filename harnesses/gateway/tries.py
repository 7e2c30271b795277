"""Asks a model service until there is a reply, a refusal, or no patience left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from harnesses.base import ModelSpec
from harnesses.clock import now
from harnesses.gateway.blame import Refusal, refusal_of
from harnesses.gateway.door import NoReplyError, opened
from harnesses.gateway.patience import LIMITS, RETRIED, Attempts, told_pause
from harnesses.gateway.service import Service
from harnesses.gateway.service_time import ServiceTime
from harnesses.gateway.time_limit import TimeLimit
from harnesses.gateway.upstreams import (
    Answer,
    Call,
    UnusableUpstreamError,
    UpstreamError,
    refused_advice,
)
from sandboxes.errors import SkillOptError

_TEXT = 600
_ERROR_BYTES = 64 * 1024
_HOLD_S = 1.0


class GivenUpError(SkillOptError):
    """There is no reply, and no use in asking again. The message says why."""

    exit_code = 3


@dataclass
class Tries:
    """The tries of one call.

    Args:
        service: that is asked.
        call: in its protocol.
        model: of the rollout.
        seed: of the rollout.
        token: of the session, which holds one of the service's places until it is given back.
        waited: the session's time for the service; the call's own interval is kept up to date.
        first_byte_s: seconds to the first byte of a reply that are the agent's.
        thinking_s: seconds of silence within a reply that are; None for the patience's.
        streamed: whether the client asked for a stream; a service may stream in any case.
    """

    service: Service
    call: Call
    model: ModelSpec
    seed: int
    token: str
    waited: ServiceTime
    first_byte_s: float
    thinking_s: float | None = None
    streamed: bool = False
    refusal: Refusal | None = None
    """What the service said, if the answer is no reply."""
    count: int = 0
    _held: bool = False
    _key: object = field(default_factory=object)

    def waits(self, unusual_in_s: float = 0.0) -> None:
        """The session waits for the service from now on, or from some seconds on."""
        self.waited.begin(self._key, now() + unusual_in_s)

    @cached_property
    def _silence_s(self) -> float:
        """Seconds without content in a reply that has begun which are nothing unusual."""
        patience = self.service.patience.silence_s
        return patience if self.thinking_s is None else max(patience, self.thinking_s)

    @cached_property
    def _stalled_s(self) -> float:
        """Seconds without content after which a try is given up and another begun."""
        return self.service.patience.stalled_s if self.thinking_s is None else self._silence_s

    def content(self) -> None:
        """Content has come, so that only a longer silence is the service's."""
        self.waits(self._silence_s)

    def silent_since(self, at: float) -> None:
        """No content has come since then."""
        self.waited.begin(self._key, max(now(), at + self._silence_s))

    def rests(self) -> None:
        """The session does not wait for the service."""
        self.waited.end(self._key)

    @property
    def left_s(self) -> float:
        """Seconds that the session may still wait."""
        return max(0.0, self.service.patience.total_s - self.waited.seconds)

    def impatient(self, what: str) -> GivenUpError:
        """The error for a wait that was too long."""
        return GivenUpError(
            f"model service {self.service.name}: {what}; this rollout has waited "
            f"{self.waited.seconds:.0f} s for it in all, and patience is "
            f"{self.service.patience.total_s:g} s"
        )

    async def answer(self) -> Answer:
        """A reply, whole or begun; or a refusal, which is then in :attr:`refusal`.

        Raises:
            GivenUpError: neither.
        """
        attempts = Attempts(self.service.patience, self.service.health)
        while True:
            await self._hold()
            await self._take()
            if self.service.blocked:
                raise GivenUpError(self.service.blocked)
            began, self.count = now(), self.count + 1
            self.refusal, status, told, last = None, 0, None, attempts.failures > 0
            answer = None
            try:
                answer = await self._sent()
                status = answer.status
                if status == 200:
                    reply = await self._opened(answer)
                    self.service.replied()
                    answer = None  # Its chunks are the reply's, and whoever passes them on ends it.
                    return reply
                raw = await _start_of(answer.chunks)
                self.refusal = said = refusal_of(status, raw)
                told = answer.retry_after_s
                if told is None:
                    told = told_pause(answer.headers, raw.decode("utf-8", "replace"))
                told = self.service.plan_refused(said, answer.headers, told)
                self._check_account(said, told)
                if said.blame == "agent" or (status not in RETRIED and last):
                    return replace(answer, chunks=_again(raw))
                error = f"status {status}: {said.text[:_TEXT]}"
            except NoReplyError as none:
                self.refusal = none.refusal
                if none.refusal.blame == "agent":
                    return none.answer
                status, error = 200, str(none)
                if none.refusal.plan_limit and answer is not None:
                    status = 429  # Said in a stream that had begun.
                    told = self.service.plan_refused(none.refusal, answer.headers, None)
                    self._check_account(none.refusal, told)
            except UpstreamError as broke:
                if isinstance(broke, UnusableUpstreamError):
                    raise GivenUpError(f"model service failed: {broke}") from broke
                error = str(broke)
            finally:
                if answer is not None:
                    await closed(answer.chunks)
            self.waited.add(began, now())
            self.give_back()  # While this call waits, others may be answered.
            await self._pause(attempts, status, told, error)

    async def _hold(self) -> None:
        """Wait as long as the service has asked another gateway to."""
        while (pause := min(self.service.held_until - now(), self.left_s)) > 0:
            self.waits()
            await asyncio.sleep(min(pause, _HOLD_S))

    async def _take(self) -> None:
        """Wait for one of the service's places."""
        self.waits()
        try:
            await self.service.slots.take(self.token, self.left_s)
        except TimeoutError:
            most = self.service.upstream.max_concurrency
            raise self.impatient(f"all {most} calls run (its max_concurrency)") from None
        self._held = True

    def give_back(self) -> None:
        """Give the place back, if there is one."""
        if self._held:
            self._held = False
            self.service.slots.give_back(self.token)

    async def _sent(self) -> Answer:
        self.waits(self.first_byte_s)
        try:
            async with asyncio.timeout(self.left_s + self.first_byte_s):
                answer = await self.service.upstream.send(self.call)
        except TimeoutError:
            raise self.impatient("no reply began") from None
        if not isinstance(answer, Answer):
            raise TypeError(f"send() returned {answer!r}; return an Answer")
        self.service.plan_told(answer.headers)
        return replace(answer, chunks=self._patient(answer.chunks))

    async def _opened(self, answer: Answer) -> Answer:
        self.content()
        return await opened(answer, self.call.protocol, self.streamed, self.content)

    async def _patient(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks of an answer, as long as there is patience."""
        limit, longest_s = TimeLimit(), self.service.patience.total_s + 1.0
        try:
            while True:
                left_s = longest_s - self.waited.seconds
                if left_s < 0:
                    raise self.impatient("a reply without content")
                try:
                    with limit.of(min(self._stalled_s, left_s + self._silence_s)):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise UpstreamError("the reply stalled") from None
                yield chunk
        finally:
            limit.close()
            await closed(chunks)

    def _check_account(self, said: Refusal, told: float | None) -> None:
        """Give up at once where no request has a chance."""
        if said.blame == "agent":
            return
        if said.status == 402 or (said.quota and told is None):
            raise GivenUpError(self.service.used_up(said, None))
        if said.status in (401, 403, 404):
            text = refused_advice(said.status, said.text, self.model.name, self.service.upstream)
            raise GivenUpError(self.service.refused(text, self.seed))

    async def _pause(self, attempts: Attempts, status: int, told: float | None, error: str) -> None:
        """Wait before the next try; raises GivenUpError if there is to be none."""
        self.waits()
        if status not in RETRIED and status not in (0, 200):
            attempts.failures += 1
            await asyncio.sleep(min(1.0, self.service.patience.pause(1, None)))
            return
        pause = attempts.failed(status, told, self.waited.seconds)
        if status in LIMITS and told is not None:
            self.service.limited_until = max(self.service.limited_until, now() + told)
        if pause is not None:
            self.service.waited_for(error, pause)
            await asyncio.sleep(pause)
        elif told is not None and self.refusal and self._too_long(told):
            raise GivenUpError(self.service.used_up(self.refusal, told))
        else:
            tries = f" (after {self.count} tries)" if self.count > 1 else ""
            raise GivenUpError(f"model service failed: {error}{tries}")

    def _too_long(self, told: float) -> bool:
        """Whether a service is to be used again only when all patience is over."""
        plan = self.refusal is not None and self.service.plan_is_used_up(self.refusal)
        return plan or told > self.service.patience.total_s


async def _start_of(chunks: AsyncIterator[bytes]) -> bytes:
    raw = bytearray()
    async for chunk in chunks:
        raw += chunk
        if len(raw) > _ERROR_BYTES:
            break
    return bytes(raw[:_ERROR_BYTES])


async def closed(chunks: AsyncIterator[bytes]) -> None:
    """Close the connection of an answer that is not read to its end, so that nobody pays for it."""
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


async def _again(raw: bytes) -> AsyncIterator[bytes]:
    yield raw
