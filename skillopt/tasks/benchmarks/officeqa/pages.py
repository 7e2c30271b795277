"""The pages that a question's answer is taken from, as the reference shows them: found by the page
number in ``source_docs``, read from the parsed JSON of ``source_files``, tables as Markdown.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import parse_qs, urlparse

from skillopt.tasks.harbor import TaskError

PAGE_CHARS = 24_000
"""Characters of a page that the reference shows."""
ALL_CHARS = 80_000
"""Characters of all pages together."""
_PAGE_KEYS = ("page", "pagenum", "page_id")
_PAGE = re.compile(r"(?:[?&]|^)page=(\d+)")
_TAG = re.compile(r"<[^>]+>", re.DOTALL)


class Page(TypedDict):
    """A parsed page."""

    file: str
    """The bulletin, as ``source_files`` names it."""
    number: int
    doc: str
    """The entry of ``source_docs`` that names the page."""
    text: str


def listed(cell: object) -> list[str]:
    """The entries of a cell of the published table: a JSON list, one entry a line, or one entry.
    Entries on one line may have commas between them, unless they end as the name of a file."""
    if isinstance(cell, list):
        return _stripped(cell)
    text = str(cell or "").strip()
    try:
        loaded = json.loads(text)
    except ValueError:
        loaded = None
    if isinstance(loaded, list):
        return _stripped(loaded)
    if "\n" in text:
        return _stripped(text.splitlines())
    if "," in text and not text.lower().endswith(".txt"):
        return _stripped(text.split(","))
    return [text] if text else []


def _stripped(entries: Sequence[object]) -> list[str]:
    return [text for entry in entries if (text := str(entry).strip())]


def page_number(doc: str) -> int | None:
    """The page that a link names; None if it names none."""
    try:
        query = parse_qs(urlparse(doc).query)
    except ValueError:  # Not an address.
        query = {}
    for value in (value for key in _PAGE_KEYS for value in query.get(key, ())):
        try:
            return int(value.strip())
        except ValueError:
            continue
    found = _PAGE.search(doc)
    return int(found[1]) if found else None


def pages(files: Sequence[str], docs: Sequence[str], parsed: Mapping[str, Path]) -> Iterator[Page]:
    """The pages that are there, each once.

    Args:
        files: the bulletins; one for each entry of ``docs``, or one for all.
        docs: links that name a page.
        parsed: the parsed JSON files by stem.

    Raises:
        TaskError: a file is not JSON.
    """
    seen = set()
    for place, doc in enumerate(docs):
        number = page_number(doc)
        if number is None or not (place < len(files) or len(files) == 1):
            continue
        file = files[place] if place < len(files) else files[0]
        source = parsed.get(_stem(file))
        if source is None or (source, number) in seen:
            continue
        seen.add((source, number))
        if text := _page(source, number):
            yield Page(file=file, number=number, doc=doc, text=text)


def _stem(file: str) -> str:
    path = Path(file.strip())
    return path.stem if path.suffix else path.name


def shown(pages: Sequence[Page]) -> str:
    """Pages as text, cut where the reference cuts them; empty without any."""
    blocks: list[str] = []
    left = ALL_CHARS
    for page in pages:
        text = page["text"]
        if len(text) > PAGE_CHARS:
            more = len(text) - PAGE_CHARS
            text = text[:PAGE_CHARS].rstrip()
            text += f"\n\n[... {more} characters omitted from this parsed page ...]"
        block = f"### {page['file']} page {page['number']}\nSource URL: {page['doc']}\n\n{text}"
        if len(block) > left:
            if left > 0:
                cut = "[... oracle parsed page context truncated ...]"
                blocks.append(f"{block[:left].rstrip()}\n\n{cut}")
            break
        blocks.append(block)
        left -= len(block)
    return "\n\n".join(blocks)


def _page(source: Path, number: int) -> str:
    parts = [rendered(content) for content, numbers in _elements(source) if number in numbers]
    return "\n\n".join(part for part in parts if part).strip()


@lru_cache(maxsize=8)
def _elements(source: Path) -> tuple[tuple[str, frozenset[int]], ...]:
    """The contents of a parsed document, each with the numbers of its pages."""
    try:
        document = json.loads(source.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError(f"{source}: {error}; is the download complete?") from error
    for key in ("document", "elements"):
        document = document.get(key) if isinstance(document, dict) else None
    return tuple(
        (one["content"], frozenset(_numbers(one.get("bbox"))))
        for one in (document if isinstance(document, list) else ())
        if isinstance(one, dict) and isinstance(one.get("content"), str)
    )


def _numbers(boxes: Any) -> Iterator[int]:
    for box in boxes if isinstance(boxes, list) else ():
        try:
            yield int(box["page_id"])
        except (TypeError, KeyError, ValueError, OverflowError):
            continue


def rendered(content: str) -> str:
    """An element of a parsed document as Markdown."""
    text = content.strip()
    if "<table" in text.lower():
        return _table(text)
    text = re.sub(r"\r\n?", "\n", html.unescape(text))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _table(text: str) -> str:
    """All rows of an HTML text as one Markdown table; its words if it has no rows."""
    rows = _rows(text)
    if not rows:
        return " ".join(html.unescape(_TAG.sub(" ", text)).split())
    width = max(map(len, rows))
    head, *body = (row + [""] * (width - len(row)) for row in rows)
    return "\n".join(map(_line, (head, ["---"] * width, *body)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _rows(text: str) -> list[list[str]]:
    parser = _Rows()
    try:
        parser.feed(text)
    except AssertionError:  # What html.parser makes of some broken declarations.
        return []
    return parser.rows


class _Rows(HTMLParser):
    """Collects the cells of table rows; rows and cells that are not closed are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._row: list[str] | None = None
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self._row = []
        elif tag in ("td", "th") and self._row is not None:
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None and self._row is not None:
            self._row.append(" ".join("".join(self._cell).split()))
            self._cell = None
        elif tag == "tr":
            if self._row is not None and any(self._row):
                self.rows.append(self._row)
            self._row = self._cell = None
