"""A skill as a package to share: a Claude Code plugin folder, a ``.skill`` archive."""

from __future__ import annotations

import io
import stat
import uuid
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from skillopt.core.files import replace_folder, to_json, write_atomic
from skillopt.core.skill import Skill, for_agents, slug, write_skill

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_plugin(skill: Skill, folder: Path, version: str) -> None:
    """A plugin folder: ``.claude-plugin/plugin.json`` and ``skills/NAME/``.

    Args:
        skill: a valid skill.
        folder: the folder to write; an existing one is replaced.
        version: the plugin's version.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    manifest = {"name": slug(skill.name), "description": skill.description, "version": version}
    with TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        (made / ".claude-plugin").mkdir(parents=True)
        write_atomic(made / ".claude-plugin" / "plugin.json", to_json(manifest))
        (made / "skills").mkdir()
        write_skill(for_agents(skill), made / "skills" / skill.folder)
        fresh = folder.with_name(f".{folder.name[:64]}.{uuid.uuid4().hex[:12]}.tmp")
        made.rename(fresh)
        replace_folder(fresh, folder)


def write_archive(skill: Skill, file: Path) -> None:
    """A ``.skill`` archive: a zip of the folder. The same skill gives the same bytes."""
    links = {name: target.encode() for name, target in skill.layout.links.items()}
    content = {**skill.content(), **links}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(content.items()):
            entry = zipfile.ZipInfo(f"{skill.folder}/{name}", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            kind = stat.S_IFLNK | 0o777 if name in links else skill.mode(name)
            entry.external_attr = kind << 16
            archive.writestr(entry, data)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, buffer.getvalue())
