"""Why a reply ended: the services' words for it, whatever protocol they came in.

Servers use each other's words. A word that reports a failure, or that nobody knows and that comes
without content, means that there is no reply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harnesses.protocols.base import ServiceFailure, ToolCall
from harnesses.protocols.pieces import is_whole

STOPS = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "completed"), "end"),
    **dict.fromkeys(("tool_calls", "function_call", "tool_use"), "tool_calls"),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"), "length"
    ),
    # "sensitive" is Zhipu's word, those in one line are Gemini's.
    **dict.fromkeys(("content_filter", "refusal", "sensitive"), "refusal"),
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content", "spii"), "refusal"),
}
"""The reasons by the services' words, in lower case."""

_FAILED = re.compile(
    r"error|fail|abort|cancel|time_?out|insufficient|overload|unavailable|interrupt|exception"
    r"|\A(queued|in_progress)\Z"
)
"""Words that report a failure, such as DeepSeek's ``insufficient_system_resource`` and Zhipu's
``network_error``, or that the reply is not there yet."""


def check_stop(word: object) -> None:
    """Raises ServiceFailure for a word that reports a failure."""
    if isinstance(word, str) and word.lower() not in STOPS and _FAILED.search(word.lower()):
        raise ServiceFailure(f"the service ended the reply with {word!r}", code=word)


def read_stop(
    word: object, text: str, calls: Sequence[ToolCall], other: bool = False
) -> tuple[str, str]:
    """The reason of :class:`Reply`, and the service's word if it is an unknown one.

    Args:
        word: why the service says that the reply ended.
        text, calls: of the reply.
        other: whether the reply has anything else, such as thoughts, or is known to be empty.

    Raises:
        ServiceFailure: the word reports a failure, or there is no reply.
    """
    check_stop(word)
    stop = STOPS.get(word.lower()) if isinstance(word, str) else None
    said = bool(text.strip()) or any(map(is_whole, calls))
    if stop is None and not said:
        raise ServiceFailure(f"no reply: the service ended it with {word!r} and without content")
    if stop in ("end", "tool_calls") and not (text or calls or other):
        raise ServiceFailure(f"no reply: the service ended it with {word!r} and without content")
    if stop == "tool_calls" and not calls:
        if not said:
            raise ServiceFailure(f"no reply: the service ended it with {word!r} and without a call")
        return "end", str(word)
    odd = "" if stop else word if isinstance(word, str) else "none"
    stop = stop or "end"
    return ("tool_calls" if calls and stop == "end" else stop), odd
