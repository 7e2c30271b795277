"""What is conventional: words and file names that general advice may use, whoever's task has them.

Only what cannot be guessed can be a single task's secret. The lists say where they come from.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


def word_set(text: str) -> frozenset[str]:
    """The words in a text, as a set."""
    return frozenset(text.split())


DATA_TYPES = word_set(
    "csv tsv json jsonl ndjson xml txt log dat bin xlsx xls xlsm ods docx doc odt pptx ppt pdf"
    " eml msg ics vcf zip gz tgz tar bz2 xz 7z db sqlite sqlite3 parquet feather pkl npy npz h5"
    " png jpg jpeg gif bmp tif tiff webp mp3 webm mkv mov avi flac ogg m4a aac srt vtt mid midi"
    " mp4 wav out err bak tmp tex bib html htm yaml yml toml ini cfg conf env md rst css scss"
    " less lock patch diff svg"
)
PROGRAM_TYPES = word_set(
    "sql py ipynb sh bash js mjs cjs ts tsx jsx rb pl go rs java kt kts c h cc cpp hpp cs php r"
    " lua bat ps1 swift m mm scala clj dart proto graphql sol properties plist service gradle"
    " cmake mk nix tf tfvars vue svelte ex exs hs ml jl zig"
)
FILE_TYPES = DATA_TYPES | PROGRAM_TYPES
"""Endings of file names, in lower case."""

_GENERIC = word_set(
    "a an answer answers api app base build check client common compose config configs custom"
    " data db debug default demo dev docker document draft entrypoint example examples export file"
    " files final format get global handler has helper helpers image index init input inputs"
    " install is job list local lock log logs main make model my new old output outputs package"
    " prod production project read report reports request requirements response result results run"
    " sample schema script server service set settings setup solution solve spec src start store"
    " summary table task temp template test tests tmp tool tools types update user users util"
    " utils value values web work write"
)
"""Parts of names that say nothing about the rest."""
_PARTS = re.compile(r"[^\W\d_]+|\d+")


@cache
def _listed(name: str) -> frozenset[str]:
    lines = (_HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    words = (line.split() if name == "words" else [line] for line in lines if line[:1] != "#")
    return frozenset(word for each in words for word in each)


def is_known(word: str) -> bool:
    """Whether a word in lower case is part of what people write about software."""
    return word in _listed("words")


def is_generic(word: str) -> bool:
    """Whether a word in lower case says nothing about the rest of a name."""
    return word in _GENERIC


def is_usual(name: str) -> bool:
    """Whether one who has not seen a task could come upon a name of a file or in a program.

    Usual are the names that tools fix (``package-lock.json``), known words (``schema.sql``), and
    of names that have several parts those with a generic one (``requirements-dev.txt``).

    Args:
        name: in lower case, without folders.
    """
    if name in _listed("names") or is_known(name):
        return True
    stem, dot, _ = name.rpartition(".")
    parts = _PARTS.findall(stem if dot else name)
    if not all(part.isdecimal() or is_known(part) for part in parts):
        return False
    words = [part for part in parts if not part.isdecimal()]
    if any(part.isdecimal() and len(part) > 1 for part in parts):
        return False
    # Prose joins any words by hyphens; a name of two words is its task's unless one says nothing.
    prose = not dot and "_" not in name
    return len(words) < 2 or prose or (len(words) == 2 and not _GENERIC.isdisjoint(words))
