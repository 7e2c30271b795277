"""Questions about a page: the picture is decoded as it came, the line that fits is found."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from importlib import import_module

from harnesses.protocols.base import Content, Image, Reply, ToolCall
from skillopt.sim.benchmarks.answering import Answering
from skillopt.sim.benchmarks.bitmap_font import Grid, read
from skillopt.sim.habits import Seen, Statement
from skillopt.sim.prompt import turns

SCALE = 3
"""Pixels of a picture for one of the font's."""
_QUESTION = re.compile(r"^Question: What is the (.*)\?$", re.MULTILINE)
_FILE = re.compile(r"picture `([^`]+)`")


def answer(seen: Seen) -> str:
    """What stands behind the words of the question; without the rule with these words."""
    asked = _QUESTION.search(seen.instruction)
    if asked is None:
        return ""
    for picture in _pictures(seen):
        for line in read(_grid(picture)):
            label, _, value = line.partition(":")
            if label.strip().lower() == asked[1].lower():
                return value.strip() if seen.knows else line.strip()
    return ""


def look(seen: Seen) -> Reply | None:
    """The turn that opens the picture, for agents that were not shown it; None if it was."""
    file = _FILE.search(seen.instruction)
    reader = next((t.name for t in seen.conversation.tools if t.name in ("Read", "read")), None)
    if [*_pictures(seen)] or file is None or reader is None:
        return None
    number = len(turns(seen.conversation.messages)) + 1
    key = "file_path" if reader == "Read" else "filePath"
    call = ToolCall(f"call_{number:04d}", reader, {key: f"/app/{file[1]}"})
    return Reply("Let me look at the page.", (call,), stop="tool_calls")


def _pictures(seen: Seen) -> Iterator[bytes]:
    for message in seen.conversation.messages:
        contents: list[Content] = [message.content, *(r.content for r in message.results)]
        for part in (part for content in contents for part in content):
            if isinstance(part, Image) and part.url.startswith("data:"):
                yield base64.b64decode(part.url.partition(",")[2])


def _grid(picture: bytes) -> Grid:
    """The pixels of a picture, in the size of the font."""
    image = import_module("PIL.Image").open(io.BytesIO(picture)).convert("L")
    width, height = image.size[0] // SCALE, image.size[1] // SCALE
    small = image.resize((width, height), 0, (0, 0, width * SCALE, height * SCALE))
    return [[small.getpixel((x, y)) < 128 for x in range(width)] for y in range(height)]


PAGE = Answering(
    family="docvqa",
    words=r"is a page of a document",
    topics=frozenset({"page", "document", "picture", "answer"}),
    answer=answer,
    statement=Statement((r"label|heading|field",), r"\bwithout|\bnot its|\bleave out"),
    complaint=re.compile(r"has the expected text and more around it"),
    rule="Of a field on a page, answer with what stands behind its label, without the label.",
    before=look,
)
