"""The one field of a judge's prompt that has what an agent made, which nothing in it can close.

It is a line of JSON between two lines with a boundary. JSON has no line ends in its texts, and the
boundary is a digest of the line, so no text in it can contain the boundary that it gets.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from typing import Any

_LETTERS = ("L", "M", "N")
"""Beginnings of the Unicode categories that are shown as they are: letters, marks, numbers."""


@dataclass(frozen=True)
class Field:
    """A value in its field.

    Args:
        boundary: stands in the lines before and after it.
        line: the value as one line of JSON.
    """

    boundary: str
    line: str

    @property
    def text(self) -> str:
        """The field as it stands in a prompt."""
        return f"BEGIN {self.boundary}\n{self.line}\nEND {self.boundary}"


def field(value: Any) -> Field:
    """A JSON value in a field."""
    line = quoted(value)
    return Field(hashlib.sha256(line.encode()).hexdigest()[:32], line)


def quoted(value: Any) -> str:
    """A JSON value in one line. Besides what JSON escapes, so is whatever might be taken for
    something else: control and invisible characters, punctuation outside of ASCII, and ``<``, with
    which tags and the marks of roles begin."""
    return "".join(
        char if _is_plain(char) else _escaped(char)
        for char in json.dumps(value, ensure_ascii=False)
    )


def _is_plain(char: str) -> bool:
    if char.isascii():
        return char.isprintable() and char != "<"
    return unicodedata.category(char)[0] in _LETTERS and char.isprintable()


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "<" and not char.isascii() else f"\\u{ord(char):04x}"
