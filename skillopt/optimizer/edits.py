"""Applying edits to a skill: exact, all or nothing per edit, and with a reason for every refusal.

Nothing here asks a model or judges whether an edit is good; that is the gate's task.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from skillopt.core.front_matter import in_line_ends_of
from skillopt.core.skill import SKILL_FILE, Skill, SkillError, canonical_body
from skillopt.core.skill_rules import made_worse
from skillopt.core.types import Edit, EditOutcome
from skillopt.optimizer.files import content_problem, editable_files, path_problem
from skillopt.optimizer.markdown import CODE, Leaf, Splice, breakage, is_rows, leaves, list_kind
from skillopt.optimizer.regions import (
    REMINDERS,
    end_of_text,
    has_marker,
    protected_regions,
    region,
    with_region,
)

Guard = Callable[[Skill, Skill], str]
"""Maps the skill before and after an edit to a reason to refuse it, or ''."""

ALREADY_THERE = "the skill already says this"
NOTE_CHARS = 300
_LINE_CHARS = 300
"""Characters of a line that are compared with a target."""
_FRONT = re.compile(r"---[ \t]*\n(?:.*?\n)??---[ \t]*(?:\n(?:[ \t]*\n)*|\Z)", re.DOTALL)
"""Front matter of a Markdown file, with the blank lines below it."""
_NOTE_BULLET = re.compile(r"\A[ \t]*[-*+](?:[ \t]+|\Z)")
_BULLET = re.compile(r"[ \t>]*(?:(?:[-*+]|\d+[.)])(?=[ \t]|\Z))?[ \t]*")
_BLANK_ITEM = re.compile(r"[ \t>]*(?:[-*+]|\d+[.)])?[ \t]*")


class _RefusedError(Exception):
    """Why an edit is not applied."""


def apply_edits(
    skill: Skill,
    edits: Iterable[Edit],
    budget: int | None,
    *,
    files: bool = False,
    guard: Guard | None = None,
) -> tuple[Skill, tuple[EditOutcome, ...]]:
    """Apply edits in order, each to the result of those before it.

    Args:
        skill: the skill to change.
        edits: in order of importance.
        budget: how many may be applied, None for all; refused edits do not count.
        files: whether other files than ``SKILL.md`` may be changed.
        guard: has the last word on each edit.

    Returns:
        The new skill, valid if the old one was, and one outcome per edit. Never raises.
    """
    outcomes: list[EditOutcome] = []
    applied = 0
    for edit in edits:
        try:
            if budget is not None and applied >= budget:
                raise _RefusedError(f"over the budget of {budget} edits")
            changed = _applied(skill, edit, files)
            refusal = guard(skill, changed) if guard else ""
            if refusal:
                raise _RefusedError(refusal)
            skill = changed
            applied += 1
            outcomes.append(EditOutcome(edit, applied=True))
        except _RefusedError as refusal:
            outcomes.append(EditOutcome(edit, applied=False, reason=str(refusal)))
    return skill, tuple(outcomes)


def _applied(skill: Skill, edit: Edit, files: bool) -> Skill:
    content = _content(edit)
    body = canonical_body(skill.body)
    if edit.file:
        return _with_file(skill, edit, content, files)
    if edit.kind == "set_description":
        changed = replace(skill, description=_description(skill, content))
    elif edit.kind == "note":
        changed = replace(skill, body=_reminded(body, content))
    else:
        changed = replace(skill, body=_edited(body, edit, content))
    try:
        worse = made_worse(skill, changed)
    except SkillError as error:
        raise _RefusedError(str(error)) from error
    if worse:
        raise _RefusedError("the skill would not be valid: " + "; ".join(worse))
    return changed


def _content(edit: Edit) -> str:
    content = canonical_body(edit.content)
    if edit.kind == "delete":
        return ""
    if not content.strip():
        raise _RefusedError("content is empty" + "; use delete" * (edit.kind == "replace"))
    if has_marker(content):
        raise _RefusedError("content must not contain markers of protected regions")
    return content


def _description(skill: Skill, content: str) -> str:
    description = " ".join(content.split())
    if description == skill.description:
        raise _RefusedError(ALREADY_THERE)
    return description


def _reminded(body: str, content: str) -> str:
    """The body with one more reminder in the region of reminders."""
    text = _NOTE_BULLET.sub("", content, count=1).strip()
    blocks = [(leaf.kind, leaf.path) for leaf in leaves(f"- {text}")]
    plain = blocks == [("paragraph", ("bullet_list", "list_item"))]
    if not plain or len(text.splitlines()) != 1 or len(text) > NOTE_CHARS:
        raise _RefusedError(f"a note is one line of plain text, at most {NOTE_CHARS} characters")
    _refuse_repetition(body, text)
    old = canonical_body(region(body, REMINDERS)) or "## Reminders"
    last = leaves(old)[-1:]
    gap = "\n" if last and last[0].list_kind == "bullet_list" else "\n\n"
    try:
        return with_region(body, REMINDERS, f"{old}{gap}- {text}", kept=True)
    except ValueError as error:
        raise _RefusedError(str(error)) from error


def _with_file(skill: Skill, edit: Edit, content: str, files: bool) -> Skill:
    """The skill with an edit made to another file of its folder."""
    path = edit.file
    if not files:
        raise _RefusedError(f"the config allows edits to {SKILL_FILE} only")
    if edit.kind not in ("append", "insert_after", "replace", "delete"):
        raise _RefusedError(f"{edit.kind} is not for files")
    problem = path_problem(path, [*skill.files, *skill.layout.links])
    if path == skill.layout.file or path in skill.layout.links:
        problem = f"file is {SKILL_FILE} itself or a link; it cannot be edited as a file"
    if problem:
        raise _RefusedError(problem)
    known = editable_files(skill)
    if path in skill.files and path not in known:
        raise _RefusedError("the file is too large or not UTF-8 text")
    if path not in known and edit.kind != "append":
        raise _RefusedError("there is no such file; append makes it")
    # Files are edited like SKILL.md: with LF line ends and without a byte order mark.
    old = known.get(path, "").removeprefix("\ufeff")
    mark = "\ufeff" if known.get(path, "").startswith("\ufeff") else ""
    text = old.replace("\r\n", "\n")
    make = _edited_markdown if path.endswith(".md") else _edited_script
    edited = make(text, edit, content)
    if edited == text:
        raise _RefusedError("it changes nothing")
    problem = content_problem(path, edited, text)
    if problem:
        raise _RefusedError(problem)
    written = mark + in_line_ends_of(old, old, edited)
    return replace(skill, files={**skill.files, path: written.encode()})


def _edited_markdown(text: str, edit: Edit, content: str) -> str:
    """A Markdown file after an edit below its front matter; empty if nothing is left there."""
    front = _front(text)
    body = canonical_body(text[len(front) :])
    new = _edited(body, edit, content)
    lead = text[: text.find(body, len(front))] if body else front and f"{front.rstrip()}\n\n"
    end = text[len(text.rstrip()) :] if body else "\n"
    made = lead + new + end if new else ""
    if new and _front(made).rstrip() != front.rstrip():
        raise _RefusedError("it would turn text into front matter")
    return made


def _front(text: str) -> str:
    match = _FRONT.match(text)
    return match.group() if match else ""


def _edited_script(text: str, edit: Edit, content: str) -> str:
    if edit.kind == "append":
        _refuse_repetition(text, content)
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}{_script(edit)}\n"
    start, end = _only_match(text, edit)
    if edit.kind == "insert_after":
        if text[end - 1] != "\n":
            end = text.find("\n", end) + 1 or len(text)
        before = text[:end] if text[end - 1] == "\n" else f"{text[:end]}\n"
        return f"{before}{_script(edit)}\n{text[end:]}"
    new = "" if edit.kind == "delete" else edit.content.replace("\r\n", "\n")
    return text[:start] + new + text[end:]


def _script(edit: Edit) -> str:
    """New lines of a script, with their indentation."""
    return edit.content.replace("\r\n", "\n").strip("\n")


def _edited(body: str, edit: Edit, content: str) -> str:
    match edit.kind:
        case "append":
            _refuse_repetition(body, content)
            end = end_of_text(body)
            splice = _insertion(body, body.count("\n", 0, end) + 1 if body[:end] else 0, content)
        case "insert_after":
            start, end = _only_match(body, edit)
            _refuse_repetition(body, content)
            splice = _insert_after(body, start, end, content)
        case "replace":
            splice = Splice(*_only_match(body, edit), content)
        case "delete":
            splice = _deletion(body, *_only_match(body, edit))
        case _:
            raise _RefusedError(f"unknown kind of edit {edit.kind!r}")
    return _spliced(body, splice)


def _spliced(body: str, splice: Splice) -> str:
    regions = protected_regions(body)
    if any(splice.start < end and start < splice.end for start, end in regions):
        raise _RefusedError("it would change a protected region")
    new = splice.apply(body)
    if canonical_body(new) == body:
        raise _RefusedError("it changes nothing")
    # Whatever an edit joins together, the regions are the same as before, markers and all.
    if [new[a:b] for a, b in protected_regions(new)] != [body[a:b] for a, b in regions]:
        raise _RefusedError("it would change or forge a protected region")
    broken = breakage(body, splice)
    if broken:
        raise _RefusedError(f"not applied to keep the Markdown whole: {broken}")
    return canonical_body(new)


def _only_match(text: str, edit: Edit) -> tuple[int, int]:
    """The position of an edit's target in the body, or in the file that the edit names."""
    where, target = edit.file or "the body", edit.target
    if not target.strip():
        raise _RefusedError(f"target is empty; give text that occurs exactly once in {where}")
    start = text.find(target)
    if start < 0:
        near = nearest_line(text, target)
        near = f"; the nearest line there is {near!r}" if near else ""
        raise _RefusedError(
            f"target not found in {where}; copy it exactly, without the front matter{near}"
        )
    if text.find(target, start + 1) >= 0:
        raise _RefusedError(f"target occurs more than once in {where}; give a longer one")
    end = start + len(target)
    if any(start < b and a < end for a, b in protected_regions(text)):
        raise _RefusedError("target lies in a protected region")
    return start, end


def nearest_line(text: str, target: str) -> str:
    """The line of a text that is most like an edit's target; empty if none is like it."""
    wanted = max(target.split("\n"), key=len).strip()[:_LINE_CHARS]
    lines = {line.strip()[:_LINE_CHARS]: None for line in text.split("\n") if line.strip()}
    return next(iter(difflib.get_close_matches(wanted, lines, 1, 0.5)), "")


def _refuse_repetition(body: str, content: str) -> None:
    known = {_plain(line) for line in body.split("\n")}
    lines = {_plain(line) for line in content.split("\n")} - {""}
    if not lines:
        raise _RefusedError("content is empty")
    if lines <= known:
        raise _RefusedError(ALREADY_THERE)


def _plain(line: str) -> str:
    """A line without list marker, case and final full stop, to recognise repeated additions."""
    return " ".join(_BULLET.sub("", line, count=1).split()).rstrip(".").casefold()


def _insert_after(body: str, start: int, end: int, content: str) -> Splice:
    """Insert after the block that holds the target, never in the middle of a block of text.

    In a block of code, it is put below the target's line, unless that is the last one. In a list,
    an item of the same kind becomes the next item; in a table, rows the next rows. Other text goes
    after the whole list or table.
    """
    line = body.count("\n", 0, start + len(body[start:end].rstrip()))
    found = leaves(body)
    leaf = next((leaf for leaf in found if leaf.lines[0] <= line < leaf.lines[1]), None)
    if leaf is None:  # The line below a table's header is none of its rows.
        leaf = next((leaf for leaf in found if leaf.outer[0] < line < leaf.outer[1]), None)
    if leaf is None:
        return _insertion(body, line + 1, content)
    if leaf.kind in CODE and line + 1 < _last_line(body, leaf):
        indent = _indent(body.split("\n")[leaf.lines[0]]) if leaf.path else ""
        return _lines_at(body, line + 1, textwrap.indent(content, indent).split("\n"))
    if "table" in leaf.path and is_rows(content):
        header = leaf.lines[0] == leaf.outer[0]
        return _lines_at(body, leaf.lines[1] + header, content.split("\n"))
    if leaf.item and leaf.list_kind and leaf.list_kind == list_kind(content):
        indent = _indent(body.split("\n")[leaf.item[0]])
        text = textwrap.indent(textwrap.dedent(content), indent)
        return _lines_at(body, leaf.item[1], text.split("\n"))
    return _insertion(body, leaf.outer[1], content)


def _last_line(body: str, leaf: Leaf) -> int:
    """The end of the text in a block of code, before the line that closes a fence."""
    lines = body.split("\n")[leaf.lines[0] : leaf.lines[1]]
    closed = leaf.kind == "fence" and len(lines) > 1 and lines[-1].strip()[:3] in ("```", "~~~")
    return leaf.lines[1] - closed


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _insertion(body: str, line: int, content: str) -> Splice:
    """Insert before ``line`` as a block of its own, or as items of a list next to it."""
    lines = body.split("\n")
    found, kind = leaves(body), list_kind(content)
    before = next((leaf for leaf in reversed(found) if leaf.lines[1] <= line), None)
    after = next((leaf for leaf in found if leaf.lines[0] >= line), None)
    joins_before = bool(kind and before and before.list_kind == kind and before.outer[1] == line)
    joins_after = bool(kind and after and after.list_kind == kind)
    if joins_after and after and not joins_before:
        line = after.outer[0]
    new = content.split("\n")
    if line > 0 and lines[line - 1].strip() and not joins_before:
        new = ["", *new]
    if line < len(lines) and lines[line].strip() and not joins_after:
        new = [*new, ""]
    return _lines_at(body, line, new)


def _lines_at(body: str, line: int, new: Sequence[str]) -> Splice:
    text = "\n".join(new)
    lines = body.split("\n")
    if not body:
        return Splice(0, 0, text)
    if line >= len(lines):
        return Splice(len(body), len(body), "\n" + text)
    at = sum(len(each) + 1 for each in lines[:line])
    return Splice(at, at, text + "\n")


def _deletion(body: str, start: int, end: int) -> Splice:
    """Delete the target, and with it a list marker, space or blank lines left alone by it."""
    line_start = body.rfind("\n", 0, start) + 1
    line_end = body.find("\n", end)
    line_end = len(body) if line_end < 0 else line_end
    if body[end - 1] == "\n":
        line_end = end - 1
    lone = _BLANK_ITEM.fullmatch(body, line_start, start) and not body[end:line_end].strip()
    if not lone:
        spaced = body[start - 1 : start] == " " and body[end : end + 1] in ("", " ", "\n")
        return Splice(start - spaced, end, "")
    start, end = line_start, min(line_end + 1, len(body))
    while start and body[:start].endswith("\n\n") and body[end:].startswith("\n"):
        end += 1
    return Splice(start, end, "")
