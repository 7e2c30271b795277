"""Text for people and models: safe to print, and how long it is."""

from __future__ import annotations

import math

CHARS_PER_TOKEN = 4


def printable(text: str) -> str:
    """Text that cannot steer a terminal: what agents and models wrote may hold escape sequences."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def estimate_tokens(text: str) -> int:
    """Tokens of a text, roughly: no model's own tokenizer is at hand."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)
