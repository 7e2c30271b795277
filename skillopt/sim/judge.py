"""The simulated judge: decides by plain rules whether statements are true of what it is shown.

A test instrument, not a language model. What a statement has in quotation marks must occur, or must
not if the statement denies it; without any, most of its words must occur in one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

SCHEMA = "Findings"
"""Name of the reply that a judge is asked for."""
_FIELD = re.compile(r"^BEGIN ([0-9a-f]{32})\n(.*)\nEND \1$", re.MULTILINE)
_STATEMENT = re.compile(r'^(\d+)\. (".*")$', re.MULTILINE)
_QUOTED = re.compile(r"[\"`']([^\"`']+)[\"`']")
_DENIES = re.compile(r"\b(?:not|no|never|without|nothing)\b|n't\b", re.IGNORECASE)
_SHARE = 0.6
"""Share of a statement's words that one line must have."""
_LETTERS = 4
"""Letters of a word that counts."""
_CHARS = 200


def reply(prompt: str) -> str:
    """The reply to a judge's prompt, as JSON."""
    field = _FIELD.search(prompt)
    shown = json.loads(field[2]) if field else {}
    before, after = (prompt[: field.start()], prompt[field.end() :]) if field else ("", prompt)
    found = _STATEMENT.findall(after) or _STATEMENT.findall(before)
    statements = [(int(number), json.loads(text)) for number, text in found]
    findings = [_finding(number, text, list(_texts(shown))) for number, text in statements]
    return json.dumps({"findings": findings})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _finding(number: int, statement: str, texts: list[str]) -> dict[str, Any]:
    wanted = _QUOTED.findall(statement)
    met, quote = _by_quotes(wanted, texts) if wanted else _by_words(statement, texts)
    if wanted and _DENIES.search(_QUOTED.sub("", statement)):
        quote = quote if met else next(iter(_lines(texts)), "")
        met = not met
    return {
        "number": number,
        "reason": "It is there." if quote and met else "It is not there.",
        "quote": quote[:_CHARS] if met else "",
        "verdict": "met" if met else "unmet",
    }


def _by_quotes(wanted: list[str], texts: list[str]) -> tuple[bool, str]:
    """Whether all quoted passages occur, and the first as it stands there."""
    found = [_passage(one, texts) for one in wanted]
    return all(found), found[0]


def _passage(wanted: str, texts: list[str]) -> str:
    for text in texts:
        at = text.lower().find(wanted.lower())
        if at >= 0:
            line = text[text.rfind("\n", 0, at) + 1 :].split("\n")[0]
            return line.strip() if len(line) <= _CHARS else text[at : at + len(wanted)]
    return ""


def _by_words(statement: str, texts: list[str]) -> tuple[bool, str]:
    """Whether one line has most of the statement's words, and that line."""
    wanted = _words(statement)
    line = max(_lines(texts), key=lambda line: len(wanted & _words(line)), default="")
    return bool(wanted) and len(wanted & _words(line)) >= _SHARE * len(wanted), line


def _lines(texts: list[str]) -> Iterator[str]:
    return (line.strip() for text in texts for line in text.split("\n") if line.strip())


def _words(text: str) -> set[str]:
    found = re.findall(rf"[a-z0-9]{{{_LETTERS},}}", text.lower())
    return {word.rstrip("s") for word in found}
