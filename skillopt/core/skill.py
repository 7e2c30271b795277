"""A skill: the one thing that learns. Reading, changing, writing and hashing its folder.

A skill is a folder plus changes: what was read is kept as it is, and only what is changed is
written anew. Agents' rules and the specification's are in :mod:`skillopt.core.skill_rules`; how a
skill changes is :mod:`skillopt.optimizer.edits`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from harnesses.skills import headline, link_within
from skillopt.core.errors import SkillOptError
from skillopt.core.files import digest_of, replace_folder, sync_folder
from skillopt.core.front_matter import (
    FrontMatterError,
    parse,
    scalars,
    to_yaml,
    with_body,
    with_values,
)

SKILL_FILE = "SKILL.md"
MAX_BYTES = 16 * 1024 * 1024
"""The most bytes of a whole folder, so that a wrong path is not read for minutes."""
LEFT_OUT = (
    *(".git", ".hg", ".svn", ".bzr", ".idea", ".vscode", ".DS_Store", "Thumbs.db", "desktop.ini"),
    *("__pycache__", "*.pyc", ".pytest_cache", ".mypy_cache", ".ruff_cache"),
    *("*.swp", "*.swo", "*~", ".#*", "#*#"),
)
"""Files and folders that belong to version control, editors and caches, not to a skill."""
_MODE = 0o777

FrontValue = Any
"""A value of the front matter: text, number, boolean, None, or a list or mapping of such."""


class SkillError(SkillOptError):
    """A skill cannot be used. The message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Layout:
    """How a skill's folder looks, if it is not as this project would write it.

    Args:
        text: ``SKILL.md`` as it was read; None if it is in canonical form. Names, descriptions
            and bodies that differ from it are changes.
        file: the path of that file in the folder: ``skill.md``, or what a link leads to.
        folder: the folder's name, if it is not the skill's.
        modes: permission bits by path, if not 0o755 for files that start with ``#!`` and 0o644
            for others.
        links: symbolic links within the folder: their targets by path.
    """

    text: str | None = None
    file: str = SKILL_FILE
    folder: str = ""
    modes: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Skill:
    """A skill in memory. Two skills with the same content have the same text and digest."""

    name: str
    """The front matter's name; that of the folder or file if it has none."""
    description: str
    """The front matter's description; the first line of the body if it has none."""
    body: str
    """The Markdown below the front matter."""
    extra: Mapping[str, FrontValue] = field(default_factory=dict)
    """The rest of the front matter: license, compatibility, metadata …"""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The other files of the folder, by relative POSIX path."""
    layout: Layout = field(default_factory=Layout)
    """How its folder was laid out."""

    @cached_property
    def text(self) -> str:
        """``SKILL.md``: as it was read, with the changes; or in canonical form (ordered front
        matter, LF line ends, a final newline).

        Raises:
            SkillError: a value cannot be changed in the front matter as it is.
        """
        if self.layout.text is None:
            return self._canonical()
        was, document = self._was, parse(self.layout.text)
        changes: dict[str, Any] = {}
        if self.name != was.name and "name" in document.values:
            changes["name"] = self.name
        if self.description != was.description:
            changes["description"] = self.description
        if self.extra != was.extra:
            changes |= dict.fromkeys(was.extra.keys() - self.extra.keys()) | dict(self.extra)
        text = self.layout.text
        try:
            if changes:
                text = with_values(document, changes)
            if canonical_body(self.body) != was.body:
                text = with_body(parse(text), canonical_body(self.body))
        except FrontMatterError as error:
            raise SkillError(f"{SKILL_FILE}: {error}") from error
        return text

    @property
    def folder(self) -> str:
        """The name of the skill's folder, by which some agents know it."""
        return self.layout.folder or self.name

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal over the content of the folder: names, bytes, links, and which
        files can be executed."""
        content = {SKILL_FILE: _sha(self.text.encode())}
        for name, data in self.files.items():
            executable = bool(self.mode(name) & 0o100)
            unusual = executable != data.startswith(b"#!")
            content[name] = _sha(data) + (f" executable: {executable}" if unusual else "")
        for name, target in self.layout.links.items():
            if not _is_main(name):
                content[name] = f"link to {target}"
        if self.folder != self.name:
            content["/"] = self.folder
        return digest_of(content)

    def mode(self, name: str) -> int:
        """The permission bits of a file of the folder."""
        usual = 0o755 if self.files.get(name, b"").startswith(b"#!") else 0o644
        return self.layout.modes.get(name, usual)

    def content(self) -> dict[str, bytes]:
        """All files of the folder, links apart, by relative POSIX path."""
        return {**self.files, self.layout.file: self.text.encode()}

    @cached_property
    def _was(self) -> Skill:
        """The skill as it was read."""
        assert self.layout.text is not None
        return _from_text(self.layout.text, self.name)

    def _canonical(self) -> str:
        extra = {
            key: dict(sorted(value.items())) if isinstance(value, Mapping) else value
            for key, value in sorted(self.extra.items())
        }
        head = {"name": self.name, "description": " ".join(self.description.split()), **extra}
        body = canonical_body(self.body)
        return f"---\n{to_yaml(head)}---\n" + (f"\n{body}\n" if body else "")


def canonical_body(text: str) -> str:
    """A body as in :attr:`Skill.body`: LF line ends, no blank lines around it, no final newline."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"\A(?:[ \t]*\n)+", "", text).rstrip(" \t\n")


def plain_text(skill: Skill) -> str:
    """A skill's text for a reader who sees no line ends: with LF, without a byte order mark."""
    return skill.text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def for_agents(skill: Skill) -> Skill:
    """The same skill laid out so that every agent finds it: its text in an ordinary file
    ``SKILL.md``, whatever that was called or linked to."""
    layout, files = skill.layout, dict(skill.files)
    links = {name: target for name, target in layout.links.items() if not _is_main(name)}
    if len(links) < len(layout.links):  # Other files may name what the link led to.
        files[layout.file] = skill.text.encode()
    return replace(skill, files=files, layout=replace(layout, file=SKILL_FILE, links=links))


def for_everyone(skill: Skill) -> Skill:
    """The same skill with files that every user can read, and execute if their owner could."""
    can = {name: bool(skill.mode(name) & 0o100) for name in (*skill.files, skill.layout.file)}
    modes = {name: 0o755 if executable else 0o644 for name, executable in can.items()}
    return replace(skill, layout=replace(skill.layout, modes=modes))


def earlier_form(skill: Skill) -> Skill | None:
    """A skill as earlier versions read it, to go on with what they began: in canonical form, with
    texts as values and without hidden files; None if they refused it."""
    try:
        front = scalars(parse(skill.text))
    except FrontMatterError:
        return None
    files = {name: data for name, data in skill.files.items() if not is_hidden(name)}
    extra = {key: value for key, value in front.items() if key not in ("name", "description")}
    return Skill(skill.name, skill.description, skill.body, extra, files)


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder that it is in, has a name that begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def skill_problems(skill: Skill) -> tuple[str, ...]:
    """The objections of the Agent Skills specification; empty if there are none. Agents load
    skills in spite of nearly all of them: see :mod:`skillopt.core.skill_rules`."""
    from skillopt.core.skill_rules import objections

    return objections(skill)


def read_skill(path: Path) -> Skill:
    """Read a skill folder, or a Markdown file, with front matter or without.

    Everything in the folder is part of it but :data:`LEFT_OUT`, which :func:`left_out` lists.

    Raises:
        SkillError: there is nothing, its front matter or text cannot be read, or the folder
            contains special files or links that lead out of it.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.is_file() and path.suffix.lower() == ".md":
        return _read_file(path)
    found = "is not a Markdown file" if path.is_file() else "no such folder or file"
    raise SkillError(f"{path}: {found}; give a folder with a {SKILL_FILE}, or a .md file")


def left_out(path: Path) -> tuple[str, ...]:
    """What is in a skill's folder and no part of the skill: files of tools, and empty folders."""
    if not path.is_dir():
        return ()
    return tuple(sorted(name for name, _, kind in _entries(path) if kind == "left out"))


def write_skill(skill: Skill, folder: Path) -> None:
    """Write a skill to ``folder``, completely or not at all; an existing skill is replaced. What
    was read and not changed is written as it was: the same bytes, modes and links.

    Raises:
        SkillError: the folder's name is not the skill's, or a change cannot be written.
    """
    if folder.name != skill.folder or skill.folder in ("", ".", ".."):
        raise SkillError(
            f"{folder}: cannot write the skill: the folder must be named {skill.folder!r}"
        )
    made = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        for name, data in skill.content().items():
            _write(made / name, data, skill.mode(name))
        for name, target in skill.layout.links.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).symlink_to(target)
        for below, _, _ in os.walk(made):
            sync_folder(Path(below))
        replace_folder(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(file: Path, data: bytes, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    file.chmod(mode)


def _read_folder(root: Path) -> Skill:
    files: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    links: dict[str, str] = {}
    size = 0
    for name, path, kind in _entries(root):
        if kind == "link":
            links[name] = _link(root, path)
        elif kind == "file":
            files[name] = data = _read_bytes(path)
            modes[name] = path.stat().st_mode & _MODE
            size += len(data)
            if size > MAX_BYTES:
                raise SkillError(f"{root}: larger than {MAX_BYTES} bytes; is this a skill?")
    main = _main_file(root, [*files, *links])
    file = os.path.relpath(os.path.realpath(root / main), os.path.realpath(root))
    if file not in files:
        raise SkillError(f"{root / main}: is a link to something that is not part of the skill")
    folder = _name_of(root)
    skill = _parsed(root / main, files.pop(file), folder)
    layout = replace(skill.layout, file=file, links=links)
    skill = named(replace(skill, files=files, layout=layout), skill.name, folder)
    unusual = {name: mode for name, mode in modes.items() if mode != skill.mode(name)}
    return replace(skill, layout=replace(skill.layout, modes=unusual))


def named(skill: Skill, name: str, folder: str) -> Skill:
    """The skill with another name and folder; the front matter's name is changed if there is
    one."""
    kept = "" if folder == name else folder
    return replace(skill, name=name, layout=replace(skill.layout, folder=kept))


def _name_of(folder: Path) -> str:
    """The name of a folder that may be given as ``.`` or ``..``; a link's own name."""
    return Path(os.path.normpath(folder.absolute())).name


def _main_file(root: Path, names: list[str]) -> str:
    """The name of ``SKILL.md`` in a folder, in whatever case."""
    found = sorted(filter(_is_main, names))
    if not found:
        raise SkillError(f"{root}: has no {SKILL_FILE}; a skill is a folder that has one")
    return SKILL_FILE if SKILL_FILE in found else found[0]


def _is_main(name: str) -> bool:
    return name.lower() == SKILL_FILE.lower()


def _read_file(path: Path) -> Skill:
    """A Markdown file as a skill. Its folder is named as the skill, if that can be."""
    stem = _name_of(path.parent) if _is_main(path.name) else path.stem
    skill = _parsed(path, _read_bytes(path), slug(stem))
    return named(skill, skill.name, slug(skill.name))


def slug(name: str) -> str:
    """A name as the Agent Skills specification wants it: lower-case letters, digits, hyphens."""
    folded = unicodedata.normalize("NFKC", name).lower()
    plain = "".join(c if c.isalnum() else "-" for c in folded)
    return re.sub("-+", "-", plain).strip("-")[:64].strip("-") or "skill"


Kind = Literal["file", "link", "left out"]


def _entries(root: Path) -> Iterator[tuple[str, Path, Kind]]:
    """What is in a folder: relative name, path and kind, sorted within each folder."""
    for folder, below, files in os.walk(root):
        here = Path(folder)
        if here != root and not below and not files:
            yield f"{here.relative_to(root).as_posix()}/", here, "left out"
        kept = []
        for name in sorted([*below, *files]):
            path = here / name
            shown = path.relative_to(root).as_posix()
            if any(fnmatchcase(name, pattern) for pattern in LEFT_OUT):
                yield f"{shown}/" if name in below else shown, path, "left out"
            elif path.is_symlink():
                yield shown, path, "link"
            elif name in below:
                kept.append(name)
            else:
                yield shown, path, "file"
        below[:] = kept


def _link(root: Path, path: Path) -> str:
    try:
        return link_within(root, path)
    except ValueError as error:
        raise SkillError(str(error)) from error


def _read_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SkillError(f"{path}: not an ordinary file; remove it from the skill")
        if path.stat().st_size > MAX_BYTES:
            raise SkillError(f"{path}: larger than {MAX_BYTES} bytes; is this a skill?")
        return path.read_bytes()
    except OSError as error:
        raise SkillError(f"{path}: cannot be read: {error.strerror}") from error


def _parsed(path: Path, data: bytes, name: str) -> Skill:
    """``SKILL.md`` as a skill without other files.

    Args:
        path: for the message.
        data: its bytes.
        name: the skill's if the front matter has none.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SkillError(f"{path}: not UTF-8 text: {error}; save it as UTF-8") from error
    try:
        skill = _from_text(text, name)
    except FrontMatterError as error:
        raise SkillError(f"{path}: {error}") from error
    return skill if skill.text == text else replace(skill, layout=Layout(text))


def _from_text(text: str, name: str) -> Skill:
    """The values of a skill's text. Raises FrontMatterError if it cannot be read."""
    document = parse(text)
    own = unicodedata.normalize("NFKC", document.texts.get("name", "").strip())
    body = canonical_body(document.rest)
    described = " ".join(document.texts.get("description", "").split()) or headline(body)
    extra = {k: v for k, v in document.values.items() if k not in ("name", "description")}
    return Skill(own or name, described, body, extra)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
