"""Protected regions of a skill's body: passages that step edits never touch.

The slow update's guidance and the reminders of skill-aware reflection are two of them, at the end
of the body. A skill's owner may mark others.
"""

from __future__ import annotations

import re

from skillopt.core.skill import canonical_body
from skillopt.optimizer.markdown import Splice, breakage, is_closed

GUIDANCE = "guidance"
"""Name of the slow update's region."""
OPEN = "it would be inside of a block that is open"
REMINDERS = "reminders"
"""Name of the region for rules that the skill had and the agent did not follow."""
_MARKER = re.compile(r"<!--\s*(?P<end>/?)\s*protected:\s*(?P<name>[^\s>]*?)\s*-->")
_FORGED = re.compile(r"<!\s*-*\s*/?\s*protected", re.IGNORECASE)


def protected_regions(body: str) -> tuple[tuple[int, int], ...]:
    """Character spans of the protected regions, markers included.

    A region that is never closed extends to the end; a closing marker alone is a region too.
    """
    return tuple(span for _, span in _named(body))


def has_marker(text: str) -> bool:
    """Whether a text contains a region's marker, or something that could be taken for one."""
    return _FORGED.search(text) is not None


def region(body: str, name: str) -> str:
    """The content of a region, without its markers; empty if there is none."""
    span = _find(body, name)
    if not span:
        return ""
    markers = list(_MARKER.finditer(body, *span))
    inside = body[markers[0].end() : markers[-1].start()]
    return inside.removeprefix("\n").removesuffix("\n")


def with_region(body: str, name: str, content: str, *, kept: bool = False) -> str:
    """A body with a region replaced, or added at the end; without it if ``content`` is empty.

    Reminders come before the guidance. Adding a region and removing it gives the same body.

    Args:
        body: as :func:`skillopt.core.skill.canonical_body` returns it.
        name: the region's name.
        content: the new text between its markers.
        kept: whether the body is one that its owner has: then a fence or comment that it leaves
            open is no reason to refuse the region.

    Raises:
        ValueError: the content contains a marker, or content or body leave a code fence, comment
            or region open.
    """
    content = canonical_body(content)
    span = _find(body, name)
    if not content:
        return _without(body, span) if span else body
    if has_marker(content):
        raise ValueError(f"{name}: must not contain a marker of protected regions; leave it out")
    if not is_closed(content):
        raise ValueError(f"{name}: leaves a code fence or an HTML block open; close it")
    block = f"<!-- protected:{name} -->\n{content}\n<!-- /protected:{name} -->"
    splice = Splice(*span, block) if span else _addition(body, name, block)
    broken = "" if kept or is_closed(body) else OPEN
    broken = broken or breakage(body, splice)
    if broken:
        raise ValueError(
            f"{name}: cannot be put into the body: {broken}; look for a code fence, an HTML block "
            "or a table there that is not closed"
        )
    made = splice.apply(body)
    if region(made, name) != content:
        raise ValueError(f"{name}: the body has a region that is not closed; close it")
    return made


def _addition(body: str, name: str, block: str) -> Splice:
    guidance = _find(body, GUIDANCE) if name == REMINDERS else None
    # Only if the guidance begins a line; otherwise that line would be split.
    if guidance and not body[: guidance[0]].rpartition("\n")[2]:
        return Splice(guidance[0], guidance[0], f"{block}\n\n")
    end = len(body.rstrip("\n"))
    return Splice(end, len(body), f"\n\n{block}" if end else block)


def _without(body: str, span: tuple[int, int]) -> str:
    before, after = body[: span[0]], body[span[1] :].lstrip("\n")
    text = before.rstrip("\n")
    if not text or not after:
        return text + after
    # Reminders were inserted between the guidance and the space before it.
    gap = before[len(text) :] if _MARKER.match(after) else ""
    return f"{text}{gap or chr(10) * 2}{after}"


def end_of_text(body: str) -> int:
    """The end of the body's own text: before the regions at its end, if there are any."""
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
