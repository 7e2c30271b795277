"""A skill as a package to share: a Claude Code plugin folder, a ``.skill`` archive."""

from __future__ import annotations

import io
import uuid
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from skillopt.core.files import replace_folder, to_json, write_atomic
from skillopt.core.skill import SKILL_FILE, Skill, write_skill

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_plugin(skill: Skill, folder: Path, version: str) -> None:
    """A plugin folder: ``.claude-plugin/plugin.json`` and ``skills/NAME/``.

    Args:
        skill: a valid skill.
        folder: the folder to write; an existing one is replaced.
        version: the plugin's version.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    manifest = {"name": skill.name, "description": skill.description, "version": version}
    with TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        (made / ".claude-plugin").mkdir(parents=True)
        write_atomic(made / ".claude-plugin" / "plugin.json", to_json(manifest))
        (made / "skills").mkdir()
        write_skill(skill, made / "skills" / skill.name)
        fresh = folder.with_name(f".{folder.name[:64]}.{uuid.uuid4().hex[:12]}.tmp")
        made.rename(fresh)
        replace_folder(fresh, folder)


def write_archive(skill: Skill, file: Path) -> None:
    """A ``.skill`` archive: a zip of the folder. The same skill gives the same bytes."""
    content = {**skill.files, SKILL_FILE: skill.text.encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(content.items()):
            entry = zipfile.ZipInfo(f"{skill.name}/{name}", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if data.startswith(b"#!") else 0o644) << 16
            archive.writestr(entry, data)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, buffer.getvalue())
