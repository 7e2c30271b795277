"""What to say before a deployment is asked for: links, limits of agents, scripts.

The limits were measured with the pinned versions of the agents, on files of 120 KiB.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnesses.agents.registry import agent_kind
from skillopt.core.skill import SKILL_FILE, Skill, for_agents
from skillopt.deploy.blocks import find_block
from skillopt.deploy.places import DeployError, Place, is_left_out

PROJECT_DOC_BYTES = 32 * 1024
"""What Codex reads of a project's AGENTS.md files; ``project_doc_max_bytes`` changes it."""
OUTPUT_BYTES = {"codex": 10_000, "opencode": 50 * 1024}
"""What an agent shows of a skill at once: Codex of a command's output, OpenCode of a skill."""
_SUFFIXES = (
    *(".sh", ".bash", ".zsh", ".fish", ".ksh", ".bat", ".cmd", ".ps1", ".vbs"),
    *(".py", ".pyc", ".pyz", ".js", ".cjs", ".mjs", ".ts", ".tsx", ".rb", ".pl", ".php"),
    *(".lua", ".r", ".go", ".swift", ".jar", ".wasm", ".exe", ".com", ".dll", ".so", ".dylib"),
)
SHOWN = 8
"""The most names of files in a remark."""
_MAGIC = (b"#!", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\0asm")
_COMMAND = re.compile(r"!`[^`\n]+`|^```!", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A file of a skill that can be run, and differs from what is deployed."""

    name: str
    before: bytes
    """Empty if there is none."""
    after: bytes
    executable: bool
    """Whether it becomes executable and was not."""


def changed_scripts(skill: Skill, place: Place) -> list[Script]:
    """The files of a skill that can be run and are new or different where it is deployed.

    Args:
        skill: the skill to deploy.
        place: where to. As instructions, no files are deployed.
    """
    if place.form == "instructions":
        return []
    found, ready = [], for_agents(skill)
    for name, data in sorted(ready.files.items()):
        executable = bool(ready.mode(name) & 0o111)
        if not executable and not _runs(name, data):
            continue
        old = place.target(skill.folder) / name
        there = old.is_file()
        before = old.read_bytes() if there else b""
        gains = executable and not (there and old.stat().st_mode & 0o111)
        if not there or before != data or gains:
            found.append(Script(name, before, data, gains))
    return found


def is_first(skill: Skill, place: Place, source: Mapping[str, Any]) -> bool:
    """Whether a skill that its user wrote goes where there is none, so that no script of it has
    been changed: neither by a training nor since it was deployed.

    Args:
        skill: the skill to deploy.
        place: where to.
        source: as of :func:`skillopt.deploy.source.source_of`.
    """
    return "run" not in source and not place.target(skill.folder).exists()


def cautions(skill: Skill, place: Place, before: str, after: str) -> Iterator[str]:
    """Remarks on a deployment that is about to be made.

    Args:
        skill: the skill to deploy.
        place: where to.
        before, after: as of :func:`skillopt.deploy.actions.planned`.

    Raises:
        DeployError: the agent would not read the skill there.
    """
    target = place.target(skill.folder)
    if target.is_symlink():
        yield f"{target} is a link: {os.path.realpath(target)} is changed, and the link stays"
    if place.form == "instructions":
        if skill.files:
            yield f"as instructions, {len(skill.files)} other files of the skill are not deployed"
        yield from _over_project_limit(skill, place, after)
        yield from _overridden(place, target)
    else:
        yield from _files(skill, target)
        size, most = len(after.encode()), OUTPUT_BYTES.get(place.agent)
        if most is not None and size > most:
            yield (
                f"{place.agent} shows about {most:,} bytes at once, and the skill has {size:,}: "
                "the model has to read it in pieces; move details to files of their own"
            )
    for what, found in (("hooks", "hooks" in skill.extra), ("commands", _has_commands(skill))):
        if found and before != after:
            yield f"SKILL.md contains {what} that an agent may run with your rights: read them"


def _files(skill: Skill, folder: Path) -> Iterator[str]:
    """What a deployment does to the other files of a folder, and to links that lead out of it."""
    ready = for_agents(skill)
    new = {*ready.files, *ready.layout.links, SKILL_FILE}
    there = {path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    old = {path.relative_to(folder).as_posix() for path in there}
    old = {name for name in old if not is_left_out(name)}
    changed = {n for n in old & {*ready.files} if _bytes(folder / n) != ready.files[n]}
    removed = sorted(old - new)
    for word, names in (("changed", sorted(changed)), ("removed", removed)):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"other files of the folder that are {word}: {', '.join(names[:SHOWN])}{more}"
    for path in sorted(path for path in there if path.is_symlink()):
        end, name = os.path.realpath(path), path.relative_to(folder).as_posix()
        if name in old and not Path(end).is_relative_to(os.path.realpath(folder)):
            yield f"{path} is a link to {end}: it is replaced, and what it leads to is not changed"


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def project_limit() -> int:
    """The bytes of a project's instructions that Codex reads, by the user's own settings."""
    try:
        settings = tomllib.loads((agent_kind("codex").folders.here() / "config.toml").read_text())
    except (OSError, ValueError):  # Codex itself says what is wrong with that file.
        return PROJECT_DOC_BYTES
    chosen = settings.get("project_doc_max_bytes")
    return chosen if isinstance(chosen, int) else PROJECT_DOC_BYTES


def _over_project_limit(skill: Skill, place: Place, after: str) -> Iterator[str]:
    if place.agent != "codex" or place.scope != "project":
        return
    limit, above = project_limit(), _bytes_above(place.path)
    block = find_block(after, skill.folder, place.path)
    end = len(after[: block.end].encode()) if block else 0
    size = len(after.encode()) + above
    what = (
        f"{place.path}: codex reads the first {limit:,} bytes of a project's AGENTS.md files, and "
        f"there would be {size:,}"
    )
    if above + end > limit:
        raise DeployError(
            f"{what}, with the skill behind that limit: shorten the file, raise "
            "project_doc_max_bytes in Codex's config.toml, or deploy it --as skill"
        )
    if size > limit:
        yield f"{what}: the end of the file is not read"


def _bytes_above(file: Path) -> int:
    """The bytes of the AGENTS.md files above a project's folder, up to its repository's root."""
    folders = [file.parent, *file.parent.parents]
    root = next((n for n, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    above = (folder / file.name for folder in folders[1 : root + 1])
    return sum(path.stat().st_size for path in above if path.is_file())


def _overridden(place: Place, target: Path) -> Iterator[str]:
    override = target.with_name("AGENTS.override.md")
    if place.agent == "codex" and override.is_file():
        yield f"{override}: codex reads this file in place of {target.name}; move it away"


def _runs(name: str, data: bytes) -> bool:
    return data.startswith(_MAGIC) or Path(name).suffix.lower() in _SUFFIXES


def _has_commands(skill: Skill) -> bool:
    """Whether Claude Code runs commands of the text when the skill is opened."""
    return bool(_COMMAND.search(skill.body))
