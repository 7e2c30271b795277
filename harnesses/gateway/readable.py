"""What a client gets of a reply in its own protocol: with words and counts that it can read.

The record keeps the service's own. Whole lines come in, and whole lines go out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from harnesses.protocols.base import ProtocolName

_FLOAT_COUNT = re.compile(rb'("\w*tokens\w*"\s*:\s*\d+)\.0+(?=\s*[,}\]])')
_FINISH = re.compile(rb'("finish_reason"\s*:\s*)"((?:[^"\\]|\\.)*)"')
_CALLS = re.compile(rb'"tool_calls"\s*:\s*\[\s*\{')
_KNOWN = {b"stop", b"length", b"tool_calls", b"content_filter", b"function_call"}
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")
_DETAILS = {"input_tokens_details": "cached_tokens", "output_tokens_details": "reasoning_tokens"}


def readable(protocol: ProtocolName) -> Callable[[bytes], bytes]:
    """A function that makes a client's reply readable, chunk by chunk."""
    if protocol == "messages":
        return _whole_counts
    own = _known_ends() if protocol == "chat" else _with_totals
    return lambda chunk: own(_whole_counts(chunk))


def _whole_counts(raw: bytes) -> bytes:
    """``5.0`` tokens as ``5``, which all agents read."""
    return _FLOAT_COUNT.sub(rb"\1", raw) if b"tokens" in raw else raw


def _known_ends() -> Callable[[bytes], bytes]:
    """Chat Completions: a word for the end that no client knows becomes the one for what was said.
    OpenCode goes on asking until it knows the word."""
    called = False

    def known(found: re.Match[bytes]) -> bytes:
        word = found[2] if found[2] in _KNOWN else b"tool_calls" if called else b"stop"
        return found[1] + b'"' + word + b'"'

    def chunk(raw: bytes) -> bytes:
        nonlocal called
        called = called or _CALLS.search(raw) is not None
        return _FINISH.sub(known, raw) if b"finish_reason" in raw else raw

    return chunk


def _with_totals(raw: bytes) -> bytes:
    """Responses: a usage with all counts, without which Codex takes the reply for broken."""
    if b'"usage"' not in raw:
        return raw
    return b"\n".join(map(_with_total, raw.split(b"\n")))


def _with_total(line: bytes) -> bytes:
    head, data = (b"data:", line[5:]) if line.startswith(b"data:") else (b"", line)
    if b'"usage"' not in data:
        return line
    try:
        value = json.loads(data)
    except ValueError:
        return line  # Of an event on several lines.
    whole = value.get("response", value) if isinstance(value, dict) else None
    usage = whole.get("usage") if isinstance(whole, dict) else None
    if not isinstance(usage, dict) or not isinstance(whole, dict):
        return line
    full = _full(usage)
    if full == usage:
        return line
    whole["usage"] = full
    return head + b" " * bool(head) + json.dumps(value).encode()


def _full(usage: Mapping[str, Any]) -> dict[str, Any]:
    read, wrote, total = (usage.get(key) for key in _COUNTS)
    read, wrote = read if isinstance(read, int) else 0, wrote if isinstance(wrote, int) else 0
    full = {**usage, "input_tokens": read, "output_tokens": wrote}
    full["total_tokens"] = total if isinstance(total, int) else read + wrote
    for name, key in _DETAILS.items():
        details = usage.get(name)
        if isinstance(details, dict) and not isinstance(details.get(key), int):
            full[name] = {**details, key: 0}
    return full
