"""A skill: the one thing that learns. Reading, checking, writing and hashing its folder.

The format is Agent Skills (agentskills.io): a folder with ``SKILL.md``, checked by ``skills-ref``.
How a skill changes is :mod:`skillopt.optimizer.edits`.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import stat
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from skillopt.core.errors import SkillOptError
from skillopt.core.files import digest_of, replace_folder, sync_folder

SKILL_FILE = "SKILL.md"
MAX_BYTES = 16 * 1024 * 1024
"""The most bytes of a whole folder, so that a wrong path is not read for minutes."""
_FRONT = re.compile(r"---[ \t]*\n(?P<front>.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
_DASHES = "front matter must not contain '---', which ends it for some readers"

FrontValue = str | Mapping[str, str]


class SkillError(SkillOptError):
    """A skill cannot be used. The message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Skill:
    """A skill in memory. Two skills with the same content have the same text and digest."""

    name: str
    description: str
    body: str
    """The Markdown below the front matter."""
    extra: Mapping[str, FrontValue] = field(default_factory=dict)
    """The rest of the front matter: license, compatibility, metadata …"""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The other files of the folder, by relative POSIX path."""

    @cached_property
    def text(self) -> str:
        """``SKILL.md`` in canonical form: ordered front matter, LF line ends, a final newline."""
        extra = {
            key: value if isinstance(value, str) else dict(sorted(value.items()))
            for key, value in sorted(self.extra.items())
        }
        head = {"name": self.name, "description": " ".join(self.description.split()), **extra}
        front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=math.inf)
        body = canonical_body(self.body)
        return f"---\n{front}---\n" + (f"\n{body}\n" if body else "")

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical content of the folder, in hexadecimal."""
        content = {**self.files, SKILL_FILE: self.text.encode()}
        return digest_of({name: hashlib.sha256(data).hexdigest() for name, data in content.items()})


def canonical_body(text: str) -> str:
    """A body as in :attr:`Skill.text`: LF line ends, no blank lines around it, no final newline."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"\A(?:[ \t]*\n)+", "", text).rstrip(" \t\n")


def skill_problems(skill: Skill) -> tuple[str, ...]:
    """How a skill breaks the Agent Skills rules; empty if it is valid."""
    from skills_ref.errors import ParseError
    from skills_ref.validator import validate_metadata

    texts = [skill.body, skill.description, *_values(skill.extra)]
    odd = sorted({f"U+{ord(c):04X}" for text in texts for c in text if _is_control(c)})
    if odd:
        return (f"contains control characters: {', '.join(odd)}",)
    try:
        front, body = _front_matter(skill.text)
    except ParseError as error:
        return (str(error),)
    problems = list(validate_metadata(dict(front)))
    if not problems and body != canonical_body(skill.body).strip():
        problems.append(_DASHES)
    return tuple(problems)


def _values(front: Mapping[str, FrontValue]) -> Iterator[str]:
    for value in front.values():
        yield from (value,) if isinstance(value, str) else value.values()


def read_skill(path: Path) -> Skill:
    """Read a skill folder, or a bare Markdown file with front matter.

    Hidden files and ``__pycache__`` are left out, as they belong to tools.

    Raises:
        SkillError: there is nothing, it is not a valid skill, or it contains links or special
            files.
    """
    if path.is_dir():
        skill = _read_folder(path)
    elif path.is_file() and path.suffix.lower() == ".md":
        skill = _parse(path, _read_bytes(path))
    else:
        found = "is not a Markdown file" if path.is_file() else "no such folder or file"
        raise SkillError(f"{path}: {found}; give a folder with a {SKILL_FILE}, or a .md file")
    problems = skill_problems(skill)
    if problems:
        where = path / SKILL_FILE if path.is_dir() else path
        raise SkillError(f"{where}: not a valid skill: " + "; ".join(problems))
    return skill


def write_skill(skill: Skill, folder: Path) -> None:
    """Write a skill to ``folder``, completely or not at all; an existing skill is replaced.

    Files that start with ``#!`` become executable.

    Raises:
        SkillError: the skill is not valid, or the folder's name is not the skill's, which agents
            require.
    """
    problems = skill_problems(skill)
    if folder.name != skill.name:
        problems = (*problems, f"the folder must be named {skill.name!r}")
    if problems:
        raise SkillError(f"{folder}: cannot write the skill: " + "; ".join(problems))
    made = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        for name, data in {**skill.files, SKILL_FILE: skill.text.encode()}.items():
            _write(made / name, data)
        for below, _, _ in os.walk(made):
            sync_folder(Path(below))
        replace_folder(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    file.chmod(0o755 if data.startswith(b"#!") else 0o644)


def _read_folder(root: Path) -> Skill:
    content: dict[str, bytes] = {}
    size = 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(n for n in names if not n.startswith(".") and n != "__pycache__")
        for name in [*names, *sorted(files)]:
            path = Path(folder) / name
            if path.is_symlink():
                raise SkillError(f"{path}: a skill must not contain links; copy the file instead")
            if name in names or name.startswith("."):
                continue
            content[path.relative_to(root).as_posix()] = data = _read_bytes(path)
            size += len(data)
            if size > MAX_BYTES:
                raise SkillError(f"{root}: larger than {MAX_BYTES} bytes; is this a skill?")
    if SKILL_FILE not in content:
        raise SkillError(f"{root}: has no {SKILL_FILE}; a skill is a folder that has one")
    skill = _parse(root / SKILL_FILE, content.pop(SKILL_FILE), content)
    if skill.name != unicodedata.normalize("NFKC", root.absolute().name):
        raise SkillError(
            f"{root / SKILL_FILE}: name: {skill.name!r} must be the folder's name "
            f"{root.absolute().name!r}; rename one of them"
        )
    return skill


def _read_bytes(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):
        raise SkillError(f"{path}: not an ordinary file; remove it from the skill")
    if path.stat().st_size > MAX_BYTES:
        raise SkillError(f"{path}: larger than {MAX_BYTES} bytes; is this a skill?")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SkillError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(path: Path, data: bytes, files: Mapping[str, bytes] | None = None) -> Skill:
    """``SKILL.md`` as values. The front matter is parsed as strict YAML: strings and mappings."""
    from skills_ref.errors import ParseError

    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise SkillError(f"{path}: not UTF-8 text: {error}") from error
    match = _FRONT.match(text)
    if match is None:
        raise SkillError(
            f"{path}: no front matter; begin the file with four lines: '---', 'name: my-skill', "
            "'description: what it does and when to use it', '---'"
        )
    if "---" in match["front"]:
        raise SkillError(f"{path}: {_DASHES}")
    try:
        front = dict(_front_matter(match.group())[0])
    except ParseError as error:
        raise SkillError(f"{path}: {error}") from error
    for key in ("name", "description"):
        if not isinstance(front.get(key), str) or not front[key].strip():
            raise SkillError(f"{path}: {key}: is missing; add it to the front matter")
    name = unicodedata.normalize("NFKC", front.pop("name").strip())
    description = " ".join(front.pop("description").split())
    return Skill(name, description, canonical_body(text[match.end() :]), front, files or {})


@lru_cache(32)  # A run reads and writes few skills many times; strict YAML is slow.
def _front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    """The front matter of a skill as values, and its body.

    Raises:
        skills_ref.errors.ParseError: there is none, or it is not strict YAML.
    """
    from skills_ref.parser import parse_frontmatter

    front, body = parse_frontmatter(text)
    return MappingProxyType(front), body


def _is_control(char: str) -> bool:
    """Whether it is a control character or lone surrogate, which terminals obey and no reader
    shows."""
    return unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t\r"
