"""Gives each tool call of a session an id of its own, and its service's id back to the service.

Services promise no more than ids that differ within one reply; some begin anew with each. Agents
take an id for the name of a call in the whole conversation, and drop results whose id they know.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count
from typing import Any

from harnesses.gateway.upstreams import Answer
from harnesses.json_values import loads
from harnesses.protocols.base import Message, ProtocolError, ProtocolName
from harnesses.protocols.chat_stream import Calls
from harnesses.protocols.fields import made_id, maybe
from harnesses.protocols.sse import MAX_EVENT, event

_FITS = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What every client and service accepts."""
_BLANK = b"\n\n"

Rename = Callable[[int, str], str]
"""A function from the position of a call in its reply, and its service's id, to its own id."""


class CallIds:
    """The ids of one session's tool calls."""

    def __init__(self) -> None:
        self._theirs: dict[str, str] = {}
        """The services' ids by our own."""

    def seen(self, messages: Iterable[Message]) -> None:
        """Note the ids that a client made itself, so that no other call gets them."""
        for message in messages:
            for call in message.calls:
                self._theirs.setdefault(call.id, call.id)

    def own(self, theirs: str, twice: bool = False) -> str:
        """The id of a new call.

        Args:
            theirs: as its service gave it.
            twice: whether the service gave it to two calls of one reply. It then gets our own id
                back, as it could not tell the two apart.
        """
        id = theirs
        if not _FITS.fullmatch(id) or id in self._theirs:
            base = re.sub(r"[^a-zA-Z0-9_-]", "_", theirs)[:48] or f"call_{secrets.token_hex(8)}"
            names = chain([base], (f"{base}_{number}" for number in count(2)))
            id = next(name for name in names if name not in self._theirs)
        self._theirs[id] = id if twice else theirs
        return id

    def forget(self, ids: Iterable[str]) -> None:
        """Take back our own ids of calls in a reply that another try will replace."""
        for id in ids:
            self._theirs.pop(id, None)

    def theirs(self, message: Message) -> Message:
        """A message with the ids that its service gave."""
        return replace(
            message,
            calls=tuple(replace(c, id=self._theirs.get(c.id, c.id)) for c in message.calls),
            results=tuple(
                replace(r, call_id=self._theirs.get(r.call_id, r.call_id)) for r in message.results
            ),
        )

    # For calls that are passed on as they are: client and service have one protocol.

    def request(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A request's body with the services' ids; the same object if none was changed."""
        if all(own == theirs for own, theirs in self._theirs.items()):
            return body
        found: Mapping[str, Any] = _with_ids(body, lambda id: self._theirs.get(id, id))
        return found

    def answer(self, protocol: ProtocolName, answer: Answer) -> Answer:
        """A service's answer with our own ids. The pieces of calls in a stream of Chat Completions
        also get the index of their call, as agents put them together in ways of their own. All
        other events remain as they are, byte for byte."""
        if answer.status != 200:
            return answer
        return replace(answer, chunks=self._chunks(protocol, answer))

    async def _chunks(self, protocol: ProtocolName, answer: Answer) -> AsyncIterator[bytes]:
        rename = self._rename()
        calls = Calls() if protocol == "chat" else None
        if "event-stream" not in answer.content_type:
            raw = b"".join([chunk async for chunk in answer.chunks])
            body = _changed(protocol, raw, rename)
            yield raw if body is None else json.dumps(body).encode()
            return
        held: list[bytes] = []
        size = 0
        async for chunk in answer.chunks:  # In whole lines, which end with LF.
            joint = bool(held) and held[-1].endswith(b"\n") and chunk.startswith(b"\n")
            held.append(chunk)
            size += len(chunk)
            if size > MAX_EVENT:  # No event is so long; its reader will refuse it.
                yield b"".join(held)
                held, size = [], 0
            elif joint or _BLANK in chunk:
                raw = b"".join(held)
                cut = raw.rindex(_BLANK) + len(_BLANK)
                yield _events_changed(protocol, raw[:cut], rename, calls)
                rest = raw[cut:]
                held, size = [rest] if rest else [], len(rest)
        yield _event_changed(protocol, b"".join(held), rename, calls)

    def _rename(self) -> Rename:
        """The function for one reply."""
        known: dict[tuple[int, str], str] = {}
        given: set[str] = set()

        def rename(position: int, theirs: str) -> str:
            if (position, theirs) not in known:
                known[position, theirs] = self.own(theirs, theirs in given)
                given.add(theirs)
            return known[position, theirs]

        return rename


def _events_changed(
    protocol: ProtocolName, raw: bytes, rename: Rename, calls: Calls | None
) -> bytes:
    """Whole events of a stream with our own ids."""
    if not _may_have_ids(raw):
        return raw
    events = [one + _BLANK for one in raw[: -len(_BLANK)].split(_BLANK)]
    return b"".join(_event_changed(protocol, one, rename, calls) for one in events)


def _may_have_ids(raw: bytes) -> bool:
    """Whether one of the words is in it that are in every event with an id of a call."""
    return b"tool_calls" in raw or b"tool_use" in raw or b"call_id" in raw


def _event_changed(
    protocol: ProtocolName, raw: bytes, rename: Rename, calls: Calls | None
) -> bytes:
    if not _may_have_ids(raw):
        return raw
    name, data = "", []
    for line in raw.removeprefix(b"\xef\xbb\xbf").splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip().decode("utf-8", "replace")
    body = _changed(protocol, b"\n".join(data), rename, calls)
    return raw if body is None else event(body, name or None)


def _changed(
    protocol: ProtocolName, raw: bytes, rename: Rename, calls: Calls | None = None
) -> Mapping[str, Any] | None:
    """A reply or an event of one with our own ids; None if nothing is to be changed.

    Args:
        protocol, raw: of the reply.
        rename: gives the ids.
        calls: of a stream of Chat Completions, whose pieces get the index of their call.
    """
    try:
        body = loads(raw)
    except ValueError:
        return None  # Whoever reads it will say what is wrong with it.
    if calls is not None:
        return body if _regular(body, calls, rename) else None
    changed = False
    for position, item, key in _calls(protocol, body):
        theirs = item.get(key)
        item[key] = rename(position, made_id(theirs))
        changed = changed or item[key] != theirs
    return body if changed else None


def _regular(body: Any, calls: Calls, rename: Rename) -> bool:
    """Give the pieces of calls in an event of Chat Completions the form in which OpenAI has them:
    each with the index of its call, id and name in the first. Whether anything was changed."""
    changed = False
    for choice in _dicts(body.get("choices")) if isinstance(body, dict) else []:
        for delta in _dicts([choice.get("delta")]):
            parts = _dicts(delta.get("tool_calls"))
            try:
                right = [new for part in parts for new in _piece(part, calls, rename)]
            except ProtocolError:
                continue  # Its reader will say so.
            if right != parts:
                delta["tool_calls"] = right
                changed = True
    return changed


def _piece(part: dict[str, Any], calls: Calls, rename: Rename) -> Iterator[dict[str, Any]]:
    """A piece in its regular form: the same one if it has it, and none as long as the name of its
    call is not known."""
    call = calls.add(part)
    if not call.name:
        return
    index = next(n for n, one in enumerate(calls.open) if one is call)
    begins, text = call.rest()
    id = rename(index, call.id)
    function = maybe(part, "function", dict) or {}
    same = part.get("index") == index and (function.get("arguments") or "") == text
    if begins and same and part.get("id") == id:
        yield part
    elif begins:
        function = {"name": call.name, "arguments": text}
        yield {"index": index, "id": id, "type": "function", "function": function}
    elif same and part.get("id") in (None, "", id) and not function.get("name"):
        yield part
    else:
        yield {"index": index, "function": {"arguments": text}}


def _calls(protocol: ProtocolName, body: Any) -> Iterator[tuple[int, dict[str, Any], str]]:
    """The calls in a reply or an event: the position, the object and the key of the id of each."""
    if not isinstance(body, dict):
        return
    if protocol == "chat":
        for choice in _dicts(body.get("choices")):
            for said in _dicts([choice.get("delta"), choice.get("message")]):
                for n, call in enumerate(_dicts(said.get("tool_calls"))):
                    yield _position(call.get("index"), n), call, "id"
        return
    if protocol == "messages":
        for n, block in enumerate(_dicts(body.get("content") or [body.get("content_block")])):
            if block.get("type") == "tool_use":
                yield _position(body.get("index"), n), block, "id"
        return
    response = body.get("response")
    whole = response if isinstance(response, dict) else body
    for n, item in enumerate(_dicts(whole.get("output") or [body.get("item")])):
        if "call_id" in item:
            yield _position(body.get("output_index"), n), item, "call_id"


def _position(index: Any, place: int) -> int:
    return index if isinstance(index, int) else place


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _with_ids(value: Any, theirs: Callable[[str], str]) -> Any:
    """A request's body with other ids; the arguments of calls are left alone."""
    if isinstance(value, list):
        return [_with_ids(item, theirs) for item in value]
    if not isinstance(value, Mapping):
        return value
    changed = {
        key: item if key in ("arguments", "input") and "type" in value else _with_ids(item, theirs)
        for key, item in value.items()
    }
    for key in ("call_id", "tool_call_id", "tool_use_id"):
        if isinstance(changed.get(key), str):
            changed[key] = theirs(changed[key])
    own = [changed] if changed.get("type") == "tool_use" else []
    for call in own + _dicts(changed.get("tool_calls")):
        if isinstance(call.get("id"), str):
            call["id"] = theirs(call["id"])
    return changed
