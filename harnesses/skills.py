"""Skill folders as sandboxes see them: copied once, readable by any user, writable by none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def mountable_copy(skill: Path, parent: Path) -> Path:
    """Copy a skill folder to ``parent`` under its own name, with modes that suit every user.

    Raises:
        ValueError: the folder contains a link; agents do not follow them and a link could leave
            the folder.
    """
    target = parent / skill.name
    for folder, _, files in os.walk(skill):
        made = target / Path(folder).relative_to(skill)
        made.mkdir(parents=True)
        for name in files:
            source = Path(folder) / name
            if source.is_symlink():
                raise ValueError(f"{source}: a skill must not contain links")
            shutil.copyfile(source, made / name)
            (made / name).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        made.chmod(0o755)
    return target


def installed_places(harness: str) -> tuple[Path, ...]:
    """The directories in which an agent looks for its user's and its project's skills.

    The project's come first, as they win. Empty for a harness that has none.
    """
    home, here = Path.home(), Path.cwd()
    match harness:
        case "codex":
            own = Path(os.environ.get("CODEX_HOME") or home / ".codex")
            project = (here / ".agents" / "skills", here / ".codex" / "skills")
            return (*project, own / "skills", home / ".agents" / "skills")
        case "claude-code":
            own = Path(os.environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
            return (here / ".claude" / "skills", own / "skills")
    return ()
