"""Names that a task has made up, which are the same names in any casing.

``sample_idx``, ``sampleIdx`` and ``sample-idx`` are one name, whose form is ``sampleidx``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import pairwise

from skillopt.tasks.conventions import FILE_TYPES, is_generic, is_known, is_usual, word_set
from skillopt.tasks.wording import EDGES, Span, is_ordinary

MAX_PROGRAMS = 200_000
"""Characters of an environment's programs before their names are a code base's, not a task's."""
_MIN_FORM = 8
_MIN_SPOKEN = 10

_NAME = re.compile(r"[A-Za-z0-9]+(?:[_-]+[A-Za-z0-9]+)*")
_JOINED = re.compile(r"[a-z0-9]+(?:[_-]+[a-z0-9]+)+")
_COMPOUND = re.compile(r"[A-Za-z0-9][_-]+[A-Za-z0-9]|[a-z][A-Z]")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_DASHES = {ord(dash): "-" for dash in "‐‑‒–—―−"}
_GRAMMAR = word_set(
    "a about after all an and any are as at be before but by can do does each for from has have if"
    " in into is it its may must no not of off on one only or out over per should so than that the"
    " their then there these they this to too under until up was we were what when where which"
    " while who will with without you your"
)
"""Words of which sentences are made: with them a name is one that prose may have by chance."""
_DEFINED = re.compile(
    r"(?<!override )\b(?:def|class|fun|fn|function|func(?:[ ]\([^()\n]{0,80}\))?|val|var|let"
    r"|const|struct|enum|interface|object|type|int|double|float|bool|boolean|auto|void|long)[ \t]+"
    r"([A-Za-z_]\w{4,60})"
    r"|^[ \t]*([A-Za-z_]\w{4,60})(?:[ \t]*:[ \t]*[\w\[\], .|]{1,40})?[ \t]+:?=[ \t]"
    r"|^[ \t]*(?:export |readonly |local )?([A-Z_][A-Z0-9_]{4,60})=",
    re.M,
)
_OVERRIDDEN = re.compile(r"@Override\s+.*|\boverride\b.*")
_PIECE = re.compile(r"[\w.@/][\w.@+/#-]*")
_PATH = re.compile(r"(?<![\w.:/-])/?[\w.@+-]+(?:/[\w.@+-]+)+")
_SYSTEM = word_set("etc proc sys dev usr bin lib opt Library System")
_PROPER = re.compile(r"\b[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,}){1,7}\b")
_ANNOUNCED = re.compile(
    r"\b(?:columns?|fields?|keys?|variables?|constants?|functions?|methods?|classes|class|attributes?"
    r"|properties|property|labels?|flags?|named|called)[ :]+[\"'*]{0,2}$",
    re.I,
)
_QUOTED = re.compile(r"[\"“]([^\"”\n]{3,80})[\"”]")
_TITLED = re.compile(r"\b[A-Z][a-z]{4,}\b")


class Reach(IntEnum):
    """In which of its forms a name cannot be anything else."""

    CODED = 1
    """As in programs: with capitals or underscores, or quoted."""
    JOINED = 2
    """By hyphens or by nothing, too."""
    SPOKEN = 3
    """As words in prose, too."""


def form(name: str) -> str:
    """What all casings of a name have in common."""
    return "".join(_PART.findall(name)).lower()


def reach(name: str, *, data: bool = False) -> Reach | None:
    """In which forms a name is its task's own; none if it can be guessed or is no compound.

    Args:
        name: in its casing.
        data: whether it is a value or a label. Of what programs name for themselves, two words
            are rather what everyone calls such a thing.
    """
    parts = [part.lower() for part in _PART.findall(name)]
    if parts[:1] == ["test"]:
        parts = parts[1:]
    glued = "".join(parts)
    words = [part for part in parts if len(part) > 1 and part.isalpha()]
    odd = [word for word in words if not is_known(word)]
    numbers = len(parts) - len([part for part in parts if part.isalpha()])
    if len(glued) < _MIN_FORM or is_known(glued) or is_usual(name.lower().replace("-", "_")):
        return None
    if len(words) < 2:
        # A code such as libx264 may be a tool's; one with several numbers, clip_04_17, is not.
        return Reach.SPOKEN if odd and numbers > 1 and "_" in name else None
    if not _COMPOUND.search(name) or is_usual("_".join(parts)):
        return None
    plain = _GRAMMAR.isdisjoint(words)
    told = plain and len(glued) >= _MIN_SPOKEN and not any(map(is_generic, words))
    if (plain and len(words) >= 5) or (told and len(words) >= (3 if odd else 4)):
        return Reach.SPOKEN
    if data and told and (odd or len(words) >= 3):
        return Reach.SPOKEN
    label = "-" in name and len(words) >= 3
    return Reach.JOINED if odd or (plain and (label or len(words) >= 4)) else Reach.CODED


def reaches(programs: Iterable[str], data: Iterable[str]) -> dict[str, Reach]:
    """The forms of those names that are a task's own, and how far each is.

    Args:
        programs: names that programs give to their parts.
        data: values and labels.
    """
    found: dict[str, Reach] = {}
    for name, is_data in [*((n, False) for n in programs), *((n, True) for n in data)]:
        if far := reach(name, data=is_data):
            for each in {form(name), form(name).removeprefix("test")}:
                if len(each) >= _MIN_FORM:
                    found[each] = max(far, found.get(each, far))
    return found


def compounds(text: str) -> Iterator[str]:
    """The names of several parts in a text, in their casing."""
    return (name for name in _NAME.findall(text) if _COMPOUND.search(name))


def pieces(text: str) -> set[str]:
    """The pieces of a text in which its names and paths are, in their casing."""
    return set(_PIECE.findall(text))


def forms(folded: Iterable[str]) -> set[str]:
    """The forms of the names that are joined by signs among :func:`pieces`, in lower case.

    What is joined by capitals alone is its own form in lower case.
    """
    joined = _JOINED.findall("\n".join(each for each in folded if "_" in each or "-" in each))
    return {name.replace("_", "").replace("-", "") for name in joined}


def defined(program: str) -> Iterator[str]:
    """The names that a program in any language gives to its own parts."""
    for groups in _DEFINED.findall(_OVERRIDDEN.sub("", program)):
        yield from (name for name in groups if name and _COMPOUND.search(name))


def name_spans(text: str) -> list[tuple[str, Reach, int, int]]:
    """The form of each name in a text, as what it is written, and its position."""
    plain = text.translate(_DASHES)
    found = []
    for match in _NAME.finditer(plain):
        name, start, end = match[0], *match.span()
        quoted = plain[start - 1 : start] in ("`", '"', "'") and plain[end : end + 1] in "`\"'"
        coded = "_" in name or re.search("[a-z][A-Z]", name) or ("-" in name and quoted)
        kind = Reach.CODED if coded else Reach.JOINED
        glued = form(name)
        if len(glued) >= _MIN_FORM:
            found.append((glued, kind, start, end))
            if glued.startswith("test"):
                found.append((glued[4:], kind, start, end))
    return found


def is_announced(text: str, start: int) -> bool:
    """Whether the words at a place are called a name by the word before them."""
    return _ANNOUNCED.search(text[max(start - 20, 0) : start]) is not None


def path_ends(folded: Iterable[str]) -> set[str]:
    """The last two parts of each path among :func:`pieces`, in lower case."""
    return {"/".join(path.split("/")[-2:]) for path in folded if "/" in path}


def own_paths(pieces: Iterable[str]) -> set[str]:
    """Those of :func:`path_ends` of full paths that a task has made up."""
    found = set()
    for piece in pieces:
        parts = piece.rstrip(EDGES).split("/")[1:]
        if not piece.startswith("/") or len(parts) < 3 or not all(parts) or parts[0] in _SYSTEM:
            continue
        stem, dot, ending = parts[-1].rpartition(".")
        typed = bool(dot) and ending.lower() in FILE_TYPES
        words = [part.lower() for part in _PART.findall(stem if typed else parts[-1])]
        usual = bool(dot) and is_usual(parts[-1].lower())
        if len(words) >= 2 and not any(map(is_generic, words)) and not usual:
            found.add("/".join(parts[-2:]).lower())
    return found


def path_spans(text: str) -> list[Span]:
    """Every two parts of a path that follow each other, with the position of the whole."""
    return [
        (f"{one}/{two}".lower(), match.start(), match.end())
        for match in _PATH.finditer(text)
        for one, two in pairwise(match[0].strip("/").rstrip(EDGES).split("/"))
    ]


def proper(text: str) -> set[str]:
    """Names of two to eight capitalized words, in lower case."""
    return {" ".join(run.lower().split()) for run in _PROPER.findall(text)}


def own_proper(text: str) -> set[str]:
    """Those of :func:`proper` that are no term: of four words one has to be unusual."""
    found = set()
    for run in proper(text):
        odd = sum(not is_known(word) for word in run.split())
        if odd and odd + len(run.split()) >= 5:
            found.add(run)
    return found


def people(text: str) -> set[str]:
    """Those of :func:`proper` that are two unusual words, as names of people are."""
    runs = (run for run in proper(text) if run.count(" ") == 1)
    return {run for run in runs if not any(is_known(w) or is_ordinary(w) for w in run.split())}


def quoted_names(text: str) -> set[str]:
    """Unusual capitalized words in what a text quotes, in lower case."""
    words = {w.lower() for run in _QUOTED.findall(text) for w in _TITLED.findall(run)}
    return {word for word in words if not is_known(word) and not is_ordinary(word)}
