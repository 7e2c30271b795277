"""A skill as a package to share: a Claude Code plugin folder, a ``.skill`` archive."""

from __future__ import annotations

import io
import shutil
import stat
import uuid
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from skillopt.core.files import replace_folder, to_json, write_atomic
from skillopt.core.skill import Skill, for_agents, slug, write_skill
from skillopt.deploy.contents import KEPT, look
from skillopt.deploy.places import DeployError

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_plugin(skill: Skill, folder: Path, version: str) -> None:
    """A plugin folder: ``.claude-plugin/plugin.json`` and ``skills/NAME/``.

    Args:
        skill: a valid skill.
        folder: the folder to write; one that was written before for this skill is replaced.
        version: the plugin's version.

    Raises:
        DeployError: something is in the way, or other things are in the folder.
    """
    real = look(folder.absolute(), "folder")
    _refuse_other_content(folder, skill)
    real.parent.mkdir(parents=True, exist_ok=True)
    manifest = {"name": slug(skill.name), "description": skill.description, "version": version}
    with TemporaryDirectory(dir=real.parent) as scratch:
        made = Path(scratch) / real.name
        (made / ".claude-plugin").mkdir(parents=True)
        write_atomic(made / ".claude-plugin" / "plugin.json", to_json(manifest))
        (made / "skills").mkdir()
        write_skill(for_agents(skill), made / "skills" / skill.folder)
        for kept in (real / name for name in KEPT):
            if kept.is_dir():
                shutil.copytree(kept, made / kept.name, symlinks=True)
            elif kept.is_file():
                shutil.copy2(kept, made / kept.name)
        fresh = real.with_name(f".skillopt-{uuid.uuid4().hex[:12]}.tmp")
        made.rename(fresh)
        replace_folder(fresh, real)


def _refuse_other_content(folder: Path, skill: Skill) -> None:
    """Refuse to replace a folder in which there is more than a plugin for this skill."""
    ours = {".claude-plugin", "skills", *KEPT}
    found = [path for path in sorted(folder.glob("*")) if path.name not in ours]
    found += [path for path in folder.glob("skills/*") if path.name != skill.folder]
    found += [path for path in folder.glob(".claude-plugin/*") if path.name != "plugin.json"]
    if found:
        raise DeployError(
            f"{found[0]}: would be removed, as the whole folder is written anew; choose a folder "
            "that does not exist, and copy from there"
        )


def write_archive(skill: Skill, file: Path) -> None:
    """A ``.skill`` archive: a zip of the folder. The same skill gives the same bytes.

    Raises:
        DeployError: something is in the way.
    """
    real = look(file.absolute(), "instructions")
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
    real.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(real, buffer.getvalue())
