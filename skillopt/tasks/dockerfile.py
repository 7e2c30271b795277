"""Reads Dockerfiles that are simple enough not to need an image of their own. Builds nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import join, normpath


@dataclass(frozen=True)
class Copy:
    """``COPY``: sources relative to the context, and the absolute destination."""

    sources: tuple[str, ...]
    target: str
    into: bool
    """Whether the destination was written as a folder (a final slash, or ``.``)."""


@dataclass(frozen=True)
class SimpleDockerfile:
    """A Dockerfile that contains only one FROM, WORKDIR, COPY and comments."""

    image: str
    workdir: str
    copies: tuple[Copy, ...]


def read_simple(text: str, workdir: str) -> SimpleDockerfile | None:
    """The parts of a simple Dockerfile; None for one that has to be built.

    It has to be built if it has any other instruction or a flag, pattern, variable, quoted form
    or line continuation, or copies to a place outside ``workdir``, the task's working directory.
    """
    image, current = "", "/"
    copies: list[Copy] = []
    for line in text.splitlines():
        words = line.split()
        if re.match(r"\s*#\s*\w+\s*=", line) or re.search(r"[\\$*?\[\"'<]|\s--", line):
            return None  # A parser directive, or syntax that only a builder should read.
        if not words or words[0].startswith("#"):
            continue
        match words[0].upper(), *words[1:]:
            case "FROM", name if not image:
                image = name
            case "WORKDIR", folder if image:
                current = normpath(join(current, folder))
            case "COPY", *sources, target if image and sources:
                absolute = normpath(join(current, target))
                if f"{absolute}/".startswith(f"{workdir}/") and not _leaves(sources):
                    into = target.endswith(("/", "/.")) or target == "." or len(sources) > 1
                    copies.append(Copy(tuple(sources), absolute, into))
                else:
                    return None
            case _:
                return None
    return SimpleDockerfile(image, current, tuple(copies)) if image else None


def final_workdir(text: str) -> str | None:
    """The WORKDIR that an image built from this Dockerfile ends with; None if only the image knows
    it: there is none, it has a variable in it, or a text within the file may look like one."""
    current, known = None, False
    if re.search(r"<<-?[\"']?\w", text):
        return None
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].upper() == "WORKDIR":
            current = normpath(join(current or "/", words[1]))
            plain = len(words) == 2 and not re.search(r"[$\"'\\\[]", words[1])
            known = plain and (known or words[1].startswith("/"))
        elif words and words[0].upper() == "FROM":
            current, known = None, False
    return current if known else None


def _leaves(sources: list[str]) -> bool:
    return any(normpath(source).startswith("..") for source in sources)
