"""Splits thoughts off a text in which a model wrote them between tags.

Servers without a parser for their model pass its text on as it is: ``<think>…</think>`` and then
the answer. Only what stands at the beginning is a thought; a text that mentions the tags later
remains a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harnesses.protocols.base import (
    Piece,
    ProtocolName,
    TextPiece,
    Thought,
    ThoughtDone,
    ThoughtPiece,
)

_NAMES = ("think", "thinking", "thought", "seed:think")
"""Those of DeepSeek, Qwen, GLM and MiniMax; Nova; Gemini; Seed. Magistral has brackets."""
_CLOSINGS = {f"<{name}>": f"</{name}>" for name in _NAMES} | {"[think]": "[/think]"}
_OPENING = re.compile("|".join(map(re.escape, _CLOSINGS)), re.IGNORECASE)
_CLOSING = re.compile("|".join(map(re.escape, _CLOSINGS.values())), re.IGNORECASE)
_LONGEST = max(map(len, _CLOSINGS.values()))
_MAX_BLANK = 4096
"""More blanks than this before a tag make it a part of the text."""
_QUOTES = "`'\"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"


class TagReader:
    """Splits a text that comes in pieces of any size.

    Args:
        origin: the protocol of the reply if its service gets its thoughts back in the text.
    """

    def __init__(self, origin: ProtocolName | None = None) -> None:
        self._origin = origin
        self._held = ""
        """What may be a part of a tag, or blanks at the edge of a thought."""
        self._plain = False
        """Whether the text itself has begun."""
        self._opening = ""
        """The tag of the thought that is being read."""
        self._after = False
        """Whether a thought came before, and with it only blanks."""
        self._said = False
        """Whether the thought has any text."""

    def feed(self, text: str) -> Iterator[Piece]:
        """The pieces that can be told from the text so far."""
        if self._plain:
            yield TextPiece(text)
            return
        self._held += text
        while self._held and not self._plain:
            before = self._held
            yield from self._thought() if self._opening else self._start()
            if self._held == before:
                return

    def finish(self) -> Iterator[Piece]:
        """The pieces at the end of the text."""
        if self._opening:
            yield from self._more(self._held.rstrip())
            yield from self._done()
        held = self._held.lstrip() if self._after else self._held
        self._held = ""
        if held:
            self._plain = True
            yield TextPiece(held)

    def _start(self) -> Iterator[Piece]:
        bare = self._held.lstrip()
        blanks = len(self._held) - len(bare)
        found = _OPENING.match(bare) if blanks <= _MAX_BLANK else None
        if found:
            self._opening, self._said = found.group().lower(), False
            self._held = bare[found.end() :].lstrip()
        elif blanks > _MAX_BLANK or not _may_open(bare):
            self._plain = True
            text, self._held = (bare if self._after else self._held), ""
            yield TextPiece(text)

    def _thought(self) -> Iterator[Piece]:
        if not self._said:
            self._held = self._held.lstrip()
        closing = _CLOSINGS[self._opening]
        found = re.search(re.escape(closing), self._held, re.IGNORECASE)
        if found:
            yield from self._more(self._held[: found.start()].rstrip())
            self._held = self._held[found.end() :].lstrip()
            yield from self._done()
            return
        at = self._held.rfind(closing[0], max(len(self._held) - _LONGEST, 0))
        tag = at >= 0 and closing.startswith(self._held[at:].lower())
        whole = (self._held[:at] if tag else self._held).rstrip()
        self._held = self._held[len(whole) :]
        yield from self._more(whole)

    def _more(self, text: str) -> Iterator[Piece]:
        if text:
            self._said = True
            yield ThoughtPiece(text)

    def _done(self) -> Iterator[Piece]:
        if self._said:
            # The tag as a seal says how the service wrote the thought, and gets it back.
            yield ThoughtDone(self._opening if self._origin else "", self._origin)
        self._opening, self._after = "", True


def _may_open(text: str) -> bool:
    """Whether a text may be the beginning of an opening tag; nothing yet may be."""
    return any(tag.startswith(text.lower()) for tag in _CLOSINGS)


def tagged(seal: str, text: str) -> str:
    """A thought as it stood in the text of the model; ``seal`` is that of its thought."""
    opening = seal.upper() if seal.startswith("[") else seal
    closing = _CLOSINGS[seal]
    return f"{opening}\n{text}\n{closing.upper() if seal.startswith('[') else closing}\n\n"


def is_tag(seal: str) -> bool:
    """Whether the seal of a thought is a tag."""
    return seal in _CLOSINGS


def split_thoughts(
    texts: Sequence[str], origin: ProtocolName | None = None
) -> tuple[tuple[Thought, ...], str]:
    """The thoughts at the beginning of a whole reply, and its text without them.

    Args:
        texts: the reply's, which are one for each block.
        origin: as for :class:`TagReader`.
    """
    first, *others = [text for text in texts if text] or [""]
    reader = TagReader(origin)
    thoughts: list[Thought] = []
    said, rest = "", ""
    for piece in (*reader.feed(first), *reader.finish()):
        match piece:
            case ThoughtPiece(more):
                said += more
            case ThoughtDone(seal, own, _):
                thoughts.append(Thought(said, seal, own))
                said = ""
            case TextPiece(more):
                rest += more
    thought, text = split_unopened("\n".join(part for part in (rest, *others) if part))
    return (*thoughts, *thought), text


def split_unopened(text: str) -> tuple[tuple[Thought, ...], str]:
    """The thought before a closing tag, and the text after it.

    Some servers put the opening tag at the end of the prompt, so that a reply has the closing one
    alone. It stands on a line of its own, or right between thought and text; a tag that is quoted,
    in code, in JSON, or among the words of a sentence is a part of the text.
    """
    found = _CLOSING.search(text)
    if found is None or text.lstrip()[:1] in ("{", "["):
        return (), text
    before, after = text[: found.start()], text[found.end() :]
    begins = not before.strip(" \t") or before.rstrip(" \t").endswith("\n")
    ends = not after.strip(" \t") or after.lstrip(" \t").startswith(("\n", "\r"))
    between = not before[-1:].isspace() and not after[:1].isspace()
    quoted = before[-1:] in tuple(_QUOTES) or after[:1] in tuple("`")
    in_code = before.count("```") % 2 == 1 or before.rpartition("\n")[2].count("`") % 2 == 1
    if _OPENING.search(before) or quoted or in_code or not (begins or ends or between):
        return (), text
    thought = before.strip()
    return ((Thought(thought),) if thought else ()), after.lstrip()
