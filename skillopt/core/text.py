"""Text for people and models: safe to print, and how long it is."""

from __future__ import annotations

import math

CHARS_PER_TOKEN = 4


def printable(text: str) -> str:
    """Text that is safe for a terminal: what agents and models write may contain escapes."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def estimate_tokens(text: str) -> int:
    """A rough estimate of the tokens of a text, without a model's tokenizer."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)
