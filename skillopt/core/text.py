"""Text for people and models: safe to print, and how long it is."""

from __future__ import annotations

import math
import re

CHARS_PER_TOKEN = 4
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x1b\\|\x07)?"  # OSC and other strings: titles, links
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Unicode's categories Cc and Cs, but for line ends and tabs."""


def printable(text: str) -> str:
    """Text that is safe for a terminal: what agents and models write may contain escapes."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def expressible(text: str) -> str:
    """Text that UTF-8 can express: half of a surrogate pair, as in the name of a file that is not
    UTF-8, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def estimate_tokens(text: str) -> int:
    """A rough estimate of the tokens of a text, without a model's tokenizer."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def without_escapes(text: str) -> str:
    """Text without terminal escapes and control characters."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return _CONTROLS.sub("", text)
