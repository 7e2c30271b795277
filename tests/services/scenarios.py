"""The troubles of model services, each with what a rollout must come to.

A scenario that ends by itself must be ``solved``; one that does not is the ``service``'s fault, an
``infra_error``; two refusals are the ``agent``'s: its conversation is too long, and its content is
not accepted. For these an agent may find a way out, so that ``solved`` is right too.
"""

from __future__ import annotations

import email.utils
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tests.services.service import Scenario
from tests.services.wire import (
    EVENTS,
    JSON,
    STOPS,
    Answer,
    Asked,
    Json,
    Protocol,
    Said,
    as_json,
    chunk,
    events,
    good,
    page,
    piece,
    refused,
    reply,
    solution,
    streamed,
    whole,
    written,
)

Right = Literal["solved", "service", "agent"]
Trouble = Callable[[Asked], Answer | None]
ALL: tuple[Protocol, ...] = ("chat", "messages", "responses")


@dataclass(frozen=True)
class Case:
    """A scenario.

    Args:
        make: makes the scenario for one service.
        right: what a rollout comes to.
        protocols: of the services that do this.
        streams: whether it concerns streams alone.
    """

    name: str
    make: Callable[[], Scenario]
    right: Right
    protocols: tuple[Protocol, ...] = ALL
    streams: bool = False


def once(trouble: Trouble) -> Callable[[], Scenario]:
    """The first request meets it."""
    return lambda: lambda asked: (trouble if asked.number == 1 else good)(asked)


def always(trouble: Trouble) -> Callable[[], Scenario]:
    return lambda: trouble


def after_first(trouble: Trouble) -> Callable[[], Scenario]:
    """Each conversation meets it once a tool has been used."""
    return lambda: lambda asked: (trouble if asked.results else good)(asked)


def each_twice(trouble: Trouble) -> Callable[[], Scenario]:
    """Each request meets it twice before it gets its reply."""

    def made() -> Scenario:
        seen: Counter[str] = Counter()

        def scenario(asked: Asked) -> Answer | None:
            seen[text := json.dumps(asked.body)] += 1
            return (trouble if seen[text] <= 2 else good)(asked)

        return scenario

    return made


def status(
    number: int, message: str = "no", type: str = "", code: str = "", **headers: str
) -> Trouble:
    return lambda asked: refused(number, message, type, code, **headers)


def body(content: bytes, content_type: str = JSON) -> Trouble:
    return lambda asked: Answer(200, content, content_type)


def in_stream(change: Callable[[Protocol, list[Json]], list[bytes | float]]) -> Trouble:
    """A streamed solution with its bytes changed; whole ones are as they should be."""

    def trouble(asked: Asked) -> Answer:
        if not asked.streamed:
            return good(asked)
        return Answer(200, change(asked.protocol, events(asked.protocol, solution(asked))), EVENTS)

    return trouble


def rewritten(change: Callable[[bytes], bytes]) -> Trouble:
    """A streamed solution in other bytes that mean the same."""
    return in_stream(lambda p, found: [change(b"".join(_bytes(written(p, found))))])


def _bytes(parts: list[bytes | float]) -> Iterator[bytes]:
    return (part for part in parts if isinstance(part, bytes))


def said(change: Callable[[Asked, Said], Said]) -> Trouble:
    """A solution that is said differently."""
    return lambda asked: reply(asked, change(asked, solution(asked)))


def changed(change: Callable[[Asked, Json], object]) -> Trouble:
    """A whole reply of which something is changed in place; streams are as they should be."""

    def trouble(asked: Asked) -> Answer:
        if asked.streamed:
            return good(asked)
        value = whole(asked.protocol, solution(asked))
        change(asked, value)
        return as_json(value)

    return trouble


# An error in the place of a reply, with status 200


def error_at_top(asked: Asked) -> Answer:
    return as_json({"id": "g", "error": {"message": "provider overloaded", "code": 502}})


def error_in_place(asked: Asked) -> Answer:
    """As routers say that their provider failed."""
    error = {"message": "provider overloaded", "code": 502, "type": "upstream_error"}
    value = whole(asked.protocol, Said("", usage={}))
    if asked.protocol == "chat":
        value["choices"][0] |= {"finish_reason": "error", "error": error}
    elif asked.protocol == "messages":
        value = {"type": "error", "error": {**error, "type": "overloaded_error"}}
    else:
        value |= {"status": "failed", "error": {"code": "server_error", "message": "overloaded"}}
    return _as_asked(asked, value)


def _as_asked(asked: Asked, value: Json) -> Answer:
    if not asked.streamed:
        return as_json(value)
    if asked.protocol == "chat":
        return streamed(
            "chat", [{**chunk({}), "choices": [_as_delta(c) for c in value["choices"]]}]
        )
    if asked.protocol == "messages":
        return streamed("messages", [value])
    status = value["status"]
    kind = f"response.{status}" if status in ("failed", "incomplete") else "response.completed"
    return streamed("responses", [{"type": kind, "response": value, "sequence_number": 0}])


def _as_delta(choice: Json) -> Json:
    return {**{k: v for k, v in choice.items() if k != "message"}, "delta": {}}


def nothing_said(asked: Asked) -> Answer:
    """A reply with an unknown word for its end, and nothing in it."""
    return _as_asked(asked, whole(asked.protocol, Said("", stop="weird", usage={})))


def stated(word: str) -> Trouble:
    """A Responses object in a state in which there is no reply yet, or none any more."""
    return lambda asked: _as_asked(
        asked, {**whole("responses", Said("", usage={})), "status": word}
    )


def too_long_in_place(asked: Asked) -> Answer:
    """A context that is full, as OpenAI says it in a stream."""
    error = {"code": "context_length_exceeded", "message": "Your input exceeds the context window."}
    return _as_asked(asked, {**whole("responses", Said("")), "status": "failed", "error": error})


# Streams


def error_event(protocol: Protocol) -> Json:
    error = {"type": "overloaded_error", "message": "Overloaded", "code": "server_error"}
    if protocol == "responses":
        return {"type": "error", **error, "sequence_number": 9}
    return {"type": "error", "error": error}


def ping(protocol: Protocol) -> bytes:
    return b'event: ping\ndata: {"type": "ping"}\n\n' if protocol == "messages" else b": alive\n\n"


def cut(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    """The stream ends before its reply does."""
    return written(protocol, found[: len(found) // 2], done=False)


def no_trace(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    return []


def begun(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    return written(protocol, found[:1], done=False)


def error_first(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    return written(protocol, [error_event(protocol)], done=False)


def error_later(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    return written(protocol, [found[0], error_event(protocol)], done=False)


def pings_alone(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    waiting = list(itertools.chain(*[(ping(protocol), 0.2)] * 20))
    return [*written(protocol, found[:1], done=False), *waiting]


def pings_first(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    return [*itertools.chain(*[(ping(protocol), 0.2)] * 8), *written(protocol, found)]


def silence(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    parts = written(protocol, found)
    return [parts[0], 1.5, *parts[1:]]


def bytewise(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    text = b"".join(_bytes(written(protocol, found)))
    return [text[at : at + 7] for at in range(0, len(text), 7)]


def foreign_events(protocol: Protocol, found: list[Json]) -> list[bytes | float]:
    """Events and lines that are not known."""
    odd = b'event: x.usage_hint\nid: 7\nretry: 10\ndata: {"type": "x.hint", "choices": []}\n\n'
    return [odd, *written(protocol, found)]


# Services that are strict about what they get


def strict(asked: Asked) -> Answer:
    """Refuses what the services of its protocol refuse."""
    problem = next(_problems(asked), "")
    if problem:
        return refused(400, problem)
    return reply(asked, solution(asked))


def _problems(asked: Asked) -> Iterator[str]:
    for tool in asked.tools:
        name = tool.get("name", "")
        schema = tool.get("parameters") or tool.get("input_schema") or {}
        if len(name) > 64:
            yield f"tool name longer than 64: {name}"
        if schema and schema.get("type") == "object" and "properties" not in schema:
            yield f"schema of {name}: object without properties"
    ids: list[str] = []
    for item in asked.items:
        content = item.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        texts = [b.get("text") for b in blocks if b.get("type") in ("text", "input_text")]
        if texts and asked.protocol == "messages" and not all(t and t.strip() for t in texts):
            yield "text content blocks must contain non-whitespace text"
        ids += [c["id"] for c in item.get("tool_calls") or ()]
        ids += [b["id"] for b in blocks if b.get("type") == "tool_use"]
        ids += [item["call_id"]] if item.get("type") == "function_call" else []
    if len(ids) != len(set(ids)):
        yield f"ids of calls are not unique: {ids}"


def blank_before_calls(asked: Asked, made: Said) -> Said:
    return Said("\n\n" if made.calls else made.text, made.calls)


def strict_with_blanks(asked: Asked) -> Answer:
    answer = strict(asked)
    blank = said(blank_before_calls)(asked)
    return answer if answer.status != 200 or blank is None else blank


def repeated_ids(asked: Asked) -> Answer:
    """Ids that begin anew with each reply; each command needs the one before."""
    commands = ["echo 4 > first.txt", "test -e first.txt && echo 42 > answer.txt"]
    if asked.results >= len(commands):
        return reply(asked, Said("Done."))
    call = asked.shell(commands[asked.results])
    return reply(asked, Said(calls=[("call_0", *call)]) if call else Said("Done."))


# Chat Completions


def calls_in_pieces(pieces: Callable[[str, str], list[Json]]) -> Trouble:
    def trouble(asked: Asked) -> Answer:
        call = asked.shell()
        if not call or asked.results or not asked.streamed:
            return good(asked)
        return streamed("chat", [*pieces(*call), chunk({}, "tool_calls")])

    return trouble


def ids_change(name: str, text: str) -> list[Json]:
    return [piece(0, "a", name, ""), piece(0, "b", None, text[:9]), piece(0, "b", None, text[9:])]


def index_drifts(name: str, text: str) -> list[Json]:
    return [piece(1, "a", name, ""), piece(0, None, None, text)]


def in_turn(name: str, text: str) -> list[Json]:
    heads = [piece(0, "a", name, ""), piece(1, "b", name, "")]
    return [*heads, piece(0, None, None, text), piece(1, None, None, text)]


def thinks_aloud(asked: Asked, made: Said) -> Said:
    return Said(f"<think>\nI run {{it}}.\n</think>\n\n{made.text}", made.calls)


def odd_stop(asked: Asked, made: Said) -> Said:
    return Said(made.text, made.calls, "weird_but_done")


def floats(asked: Asked, made: Said) -> Said:
    kinds = ("prompt", "completion", "input", "output", "total")
    return Said(made.text, made.calls, usage={f"{kind}_tokens": 5.0 for kind in kinds})


def no_totals(asked: Asked, made: Said) -> Said:
    kinds = ("prompt", "completion", "input", "output")
    usage = {f"{kind}_tokens": 5 for kind in kinds}
    return Said(made.text, made.calls, usage={**usage, "input_tokens_details": {}})


def no_usage(asked: Asked, made: Said) -> Said:
    return Said(made.text, made.calls, usage={})


def lost_ids(asked: Asked, value: Json) -> None:
    for choice in value.get("choices", []):
        for call in choice["message"].get("tool_calls", []):
            call["id"] = None


def object_arguments(asked: Asked, value: Json) -> None:
    for choice in value.get("choices", []):
        for call in choice["message"].get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])


class Outage:
    """Down for some seconds, counted from the first request."""

    def __init__(self, seconds: float, trouble: Trouble) -> None:
        self._seconds, self._trouble, self._began = seconds, trouble, 0.0

    def __call__(self, asked: Asked) -> Answer | None:
        self._began = self._began or time.monotonic()
        down = time.monotonic() - self._began < self._seconds
        return (self._trouble if down else good)(asked)


def slow(asked: Asked) -> Answer:
    time.sleep(1.0)
    return good(asked)


def in_a_second(asked: Asked) -> Answer:
    when = email.utils.formatdate(time.time() + 1.5, usegmt=True)
    return refused(429, "slow down", retry_after=when)


def blanks(asked: Asked) -> Answer:
    """Blanks to keep the connection, then a reply."""
    if asked.streamed:
        return good(asked)
    text = json.dumps(whole(asked.protocol, solution(asked))).encode()
    return Answer(200, [*itertools.chain(*[(b" \n", 0.2)] * 8), text])


def closed(asked: Asked) -> None:
    return None


def half(asked: Asked) -> Answer:
    """Fewer bytes than were promised."""
    return Answer(200, b'{"id": "x", "ch', JSON, {"content-length": "500"})


def _cases() -> Iterator[Case]:
    for number in (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529, 530):
        yield Case(f"{number} once", once(status(number)), "solved")
    for number in (429, 500, 503, 529):
        yield Case(f"{number} for ever", always(status(number)), "service")
    yield Case("a pause in a header", once(status(429, retry_after="1")), "solved")
    yield Case("a pause as a date", once(in_a_second), "solved")
    told = "Rate limit reached. Please try again in 1.2s."
    yield Case("a pause in words", once(status(429, told)), "solved")
    yield Case("each request limited twice", each_twice(status(429, retry_after="1")), "solved")
    yield Case("an outage", lambda: Outage(2.0, status(529)), "solved")
    yield Case("an outage without answers", lambda: Outage(2.0, closed), "solved")
    yield Case("a slow model", always(slow), "solved")
    quota = status(429, "You exceeded your current quota", code="insufficient_quota")
    yield Case("quota used up", always(quota), "service")
    yield Case("quota used up later", after_first(quota), "service")
    yield Case("a reset in days", always(status(429, "limit", retry_after="180000")), "service")
    for number in (400, 401, 402, 403, 404, 405, 410, 422):
        yield Case(f"{number} at once", always(status(number)), "service")
        yield Case(f"{number} later", after_first(status(number)), "service")
    credit = "Your credit balance is too low to access the API."
    yield Case("credit used up as 400", after_first(status(400, credit)), "service")
    router = status(400, "Provider returned error", "upstream_error")
    yield Case("a router's provider as 400", after_first(router), "service")
    reply_tokens = "max_tokens is too large: 32000; the context has 32768 tokens"
    yield Case("too many reply tokens", after_first(status(400, reply_tokens)), "service")
    for name, trouble in {
        "anthropic": status(400, "prompt is too long: 209000 tokens > 200000 maximum"),
        "openai": status(400, "Input is too large.", code="context_length_exceeded"),
        "vllm": status(400, "This model's maximum context length is 8192 tokens."),
        "llama.cpp": status(
            400, "the request exceeds the available context size", "exceed_context_size_error"
        ),
        "413": status(413, "request too large", "request_too_large"),
    }.items():
        yield Case(f"too long as {name} says it", after_first(trouble), "agent")
    for name, trouble in {
        "openai": status(400, "Rejected by our safety system.", code="content_policy_violation"),
        "azure": status(400, "The response was filtered.", code="content_filter"),
        "a filter's 403": status(403, "content flagged by moderation"),
    }.items():
        yield Case(f"content refused as {name} says it", after_first(trouble), "agent")
    yield Case("too long in place", after_first(too_long_in_place), "agent", ("responses",))
    for name, trouble in {
        "a page": lambda asked: page("please log in"),
        "nothing": body(b""),
        "an empty object": body(b"{}"),
        "a list": body(b"[]"),
        "null": body(b"null"),
        "a string": body(b'"ok"'),
        "no text": body(b"\xff\xfe\x00"),
        "plain text": body(b"upstream connect error", "text/plain"),
        "half of it": half,
        "an error at the top": error_at_top,
        "an error in place": error_in_place,
        "an end without a reply": nothing_said,
        "a closed connection": closed,
    }.items():
        yield Case(f"{name} once", once(trouble), "solved")
        yield Case(f"{name} for ever", always(trouble), "service")
    for word in ("failed", "cancelled", "queued", "in_progress"):
        yield Case(f"a response that is {word}", once(stated(word)), "solved", ("responses",))
        yield Case(f"all are {word}", always(stated(word)), "service", ("responses",))
    stream_of: dict[str, Callable[[Protocol, list[Json]], list[bytes | float]]] = {
        "no event": no_trace,
        "its beginning alone": begun,
        "an error event": error_first,
        "an error after its beginning": error_later,
        "half of its events": cut,
    }
    for name, change in stream_of.items():
        yield Case(f"a stream with {name} once", once(in_stream(change)), "solved", streams=True)
        yield Case(f"streams with {name}", always(in_stream(change)), "service", streams=True)
    yield Case("pings alone", always(in_stream(pings_alone)), "service", streams=True)
    for name, change in {
        "pings first": pings_first,
        "silence within": silence,
        "seven bytes at a time": bytewise,
        "foreign events": foreign_events,
    }.items():
        yield Case(f"a stream with {name}", always(in_stream(change)), "solved", streams=True)
    for name, spelt in {
        "CR": lambda s: s.replace(b"\n", b"\r"),
        "CRLF": lambda s: s.replace(b"\n", b"\r\n"),
        "a byte order mark": lambda s: b"\xef\xbb\xbf" + s,
        "data on two lines": lambda s: s.replace(b'data: {"', b'data: {\ndata: "'),
        "no space after colons": lambda s: s.replace(b"data: ", b"data:"),
        "comments": lambda s: s.replace(b"\n\n", b"\n\n: alive\n\n"),
        "no end of its last line": lambda s: s.rstrip(b"\n"),
    }.items():
        yield Case(f"a stream with {name}", always(rewritten(spelt)), "solved", streams=True)
    yield Case("blanks before the reply", always(blanks), "solved")
    yield Case(
        "an unknown word for the end", always(said(odd_stop)), "solved", ("chat", "messages")
    )
    yield Case("counts as floats", always(said(floats)), "solved")
    yield Case("counts without a total", always(said(no_totals)), "solved")
    yield Case("no counts", always(said(no_usage)), "solved")
    yield Case("thoughts in the text", always(said(thinks_aloud)), "solved")
    yield Case("ids that repeat", always(repeated_ids), "solved")
    yield Case("a strict service", always(strict), "solved")
    yield Case("a strict service that says blanks", always(strict_with_blanks), "solved")
    for name, whole_change in {"lost ids": lost_ids, "objects": object_arguments}.items():
        yield Case(f"calls with {name}", always(changed(whole_change)), "solved", ("chat",))
    for name, pieces in {
        "changing ids": ids_change,
        "drifting indices": index_drifts,
        "pieces in turn": in_turn,
    }.items():
        made = always(calls_in_pieces(pieces))
        yield Case(f"calls with {name}", made, "solved", ("chat",), streams=True)


CASES = {case.name: case for case in _cases()}
assert STOPS.keys() == set(ALL)
