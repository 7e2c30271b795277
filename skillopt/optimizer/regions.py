"""Protected regions of a skill's body: passages that step edits never touch.

The slow update's guidance and the reminders of skill-aware reflection live in two of them, at the
body's end; a skill's owner may mark others.
"""

from __future__ import annotations

import re

from skillopt.optimizer.markdown import is_closed
from skillopt.skill import canonical_body

GUIDANCE = "guidance"
"""Name of the slow update's region."""
REMINDERS = "reminders"
"""Name of the region of rules that were there and not followed."""
_MARKER = re.compile(r"<!--\s*(?P<end>/?)\s*protected:\s*(?P<name>[^\s>]*?)\s*-->")
_FORGED = re.compile(r"<!\s*-*\s*/?\s*protected", re.IGNORECASE)


def protected_regions(body: str) -> tuple[tuple[int, int], ...]:
    """Character spans of the protected regions, markers included.

    A region that is opened and never closed reaches to the end; a lone closing marker is a region.
    """
    return tuple(span for _, span in _named(body))


def has_marker(text: str) -> bool:
    """Whether a text has a marker of a region in it, or what could be taken for one."""
    return _FORGED.search(text) is not None


def region(body: str, name: str) -> str:
    """What stands in a region, without its markers; empty when there is none."""
    span = _find(body, name)
    return "\n".join(body[span[0] : span[1]].split("\n")[1:-1]) if span else ""


def with_region(body: str, name: str, content: str) -> str:
    """A body with a region replaced, or added at its end; without it where content is empty.

    Reminders stand before the guidance.

    Raises:
        ValueError: the content has a marker in it, or content or body leave a code fence,
            comment or region open.
    """
    content = canonical_body(content)
    if has_marker(content):
        raise ValueError(f"{name}: must not contain a marker of protected regions")
    if content and not is_closed(content):
        raise ValueError(f"{name}: leaves a code fence or an HTML block open")
    block = f"<!-- protected:{name} -->\n{content}\n<!-- /protected:{name} -->"
    span = _find(body, name)
    if span and content:
        return body[: span[0]] + block + body[span[1] :]
    if span:
        before, after = body[: span[0]].rstrip("\n"), body[span[1] :].lstrip("\n")
        return "\n\n".join(part for part in (before, after) if part)
    if not content:
        return body
    if any(not found for found, _ in _named(body)):
        raise ValueError(f"{name}: cannot be added: the body has a region that is not closed")
    start = (_find(body, GUIDANCE) if name == REMINDERS else None) or (len(body), len(body))
    before, after = body[: start[0]].rstrip("\n"), body[start[0] :]
    if not is_closed(before):
        raise ValueError(f"{name}: cannot be added: the body leaves a code fence or a block open")
    return "\n\n".join(part for part in (before, block, after) if part)


def end_of_text(body: str) -> int:
    """Where the body's own text ends: before the regions that stand last, if there are any."""
    end = len(body)
    for name, (start, stop) in reversed(_named(body)):
        alone = body[:start].rpartition("\n")[2] == ""
        whole = name and alone and is_closed(body[:start])
        if not whole or body[stop:end].strip():
            break
        end = start
    return len(body[:end].rstrip()) if end < len(body) else end


def _find(body: str, name: str) -> tuple[int, int] | None:
    return next((span for found, span in _named(body) if found == name), None)


def _named(body: str) -> list[tuple[str, tuple[int, int]]]:
    spans: list[tuple[str, tuple[int, int]]] = []
    opened: re.Match[str] | None = None
    for marker in _MARKER.finditer(body):
        if opened is None and not marker["end"]:
            opened = marker
        elif opened is None:
            spans.append(("", marker.span()))
        elif marker["end"] and marker["name"] == opened["name"]:
            spans.append((opened["name"], (opened.start(), marker.end())))
            opened = None
    if opened is not None:
        spans.append(("", (opened.start(), len(body))))
    return spans
