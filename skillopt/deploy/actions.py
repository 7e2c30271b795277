"""Deploying and undoing: back up, log, change in one step, log again.

What somebody else has changed since the last deployment is never overwritten. If the process is
killed at any moment, either the old state or the new one exists, and the next command knows which.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from skillopt.core.files import replace_folder, sync_folder, write_atomic
from skillopt.core.front_matter import parse
from skillopt.core.skill import SKILL_FILE, Skill, SkillError, for_agents, write_skill
from skillopt.deploy.ledger import Deployment, Ledger, new_entry, new_id
from skillopt.deploy.places import DeployError, Place, tree_digest


@dataclass(frozen=True)
class Standing:
    """A deployment that has not been undone, and its current state."""

    entry: Deployment
    state: str
    """``unchanged``, ``changed`` (by somebody else since), or ``missing``."""


def with_provenance(skill: Skill, source: Mapping[str, Any]) -> Skill:
    """A skill whose front matter records its source (``metadata``, Agent Skills format); the same
    skill if it has no front matter, or none that could hold it.

    Args:
        skill: the skill to deploy.
        source: values by short key, such as run, selection, test; None values are left out.
    """
    known = skill.extra.get("metadata") or {}
    told = {f"skillopt-{key}": str(value) for key, value in source.items() if value is not None}
    if not isinstance(known, Mapping):
        return skill
    made = replace(skill, extra={**skill.extra, "metadata": {**known, **told}})
    try:
        return made if made.text else skill
    except SkillError:
        return skill


def deploy(skill: Skill, place: Place, ledger: Ledger, source: Mapping[str, Any]) -> Deployment:
    """Put a skill into its place after a backup of what is there.

    Args:
        skill: a valid skill, with its provenance.
        place: where to put it.
        ledger: the open ledger.
        source: recorded in the log.

    Raises:
        DeployError: the last deployment there has been changed since.
        SkillError: the skill is not valid.
    """
    target = place.target(skill.folder)
    _refuse_edited(target, skill.folder, place, ledger)
    before = tree_digest(target)
    with TemporaryDirectory(dir=ledger.root) as staging:
        made = Path(staging) / (skill.folder if place.form == "skill" else target.name)
        if place.form == "skill":
            write_skill(for_agents(skill), made)
        else:
            made.write_bytes(_with_block(target, skill))
            made.chmod(target.stat().st_mode & 0o777 if target.is_file() else 0o644)
        told = {**source, "block": _block(skill)} if place.form == "instructions" else {**source}
        told["made"] = _missing_folders(target)
        entry = new_entry("deploy", skill.folder, place, before, tree_digest(made), told)
        if before:
            _copy(target, ledger.backup(entry.id))
        return _carry_out(entry, made, ledger)


def planned(skill: Skill, place: Place) -> tuple[str, str]:
    """The content of a place before and after a deployment, as text to compare."""
    target = place.target(skill.folder)
    if place.form == "instructions":
        return _read(target), _with_block(target, skill).decode()
    return _read(target / SKILL_FILE), skill.text


def undo(entry: Deployment, ledger: Ledger) -> Deployment:
    """Restore what a deployment replaced, byte for byte.

    In a file of instructions only the skill's own block is restored, so that what its owner wrote
    around it since is kept.

    Args:
        entry: the target's last deployment that has not been undone.
        ledger: the open ledger.

    Raises:
        DeployError: the target has been changed since.
    """
    target, backup = Path(entry.target), ledger.backup(entry.id)
    now = tree_digest(target)
    back = replace(entry, action="undo", before=now, after=entry.before, done=False)
    back = replace(back, id=new_id(), at=time.time(), source=_undoing(entry))
    with TemporaryDirectory(dir=ledger.root) as staging:
        made = Path(staging) / target.name
        if now == entry.after:
            if entry.before:
                _copy(backup, made)
        elif entry.form == "instructions" and target.is_file():
            text = _with_old_block(target, backup, entry)
            first = ledger.chain(target)[0]
            if text.strip() or first.before:
                made.write_bytes(text)
                made.chmod(target.stat().st_mode & 0o777)
            else:  # The file was created by another skill's deployment, which has been undone.
                back = replace(back, source=back.source | {"made": first.source.get("made", [])})
            back = replace(back, after=tree_digest(made))
        else:
            raise DeployError(_edited(target, entry))
        return _carry_out(back, made if made.exists() else None, ledger)


def list_standing(ledger: Ledger) -> list[Standing]:
    """All deployments that have not been undone, with their current state."""
    targets = dict.fromkeys(entry.target for entry in ledger.entries())
    found = []
    for target in targets:
        stack = ledger.standing(Path(target))
        if stack:
            now = tree_digest(Path(target))
            state = "unchanged" if now == stack[-1].after else "changed" if now else "missing"
            found.append(Standing(stack[-1], state))
    return found


def _carry_out(entry: Deployment, made: Path | None, ledger: Ledger) -> Deployment:
    """Make the change, between two entries of the log."""
    ledger.write(entry)
    target = Path(entry.target)
    if made is None:
        _remove(target)
        _remove_empty(entry.source.get("made", []))
    elif made.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{entry.id[-8:]}.tmp")
        shutil.rmtree(fresh, ignore_errors=True)
        _copy(made, fresh)
        replace_folder(fresh, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, made.read_bytes(), made.stat().st_mode & 0o777)
    done = replace(entry, done=True)
    ledger.write(done)
    return done


def _undoing(entry: Deployment) -> dict[str, Any]:
    return {"undoes": entry.id, "made": entry.source.get("made", [])}


def _missing_folders(target: Path) -> list[str]:
    """The folders that deploying has to create, innermost first."""
    return [str(folder) for folder in target.parents if not folder.exists()]


def _remove_empty(folders: Sequence[str]) -> None:
    """Remove the folders that a deployment created, unless something else is in them now."""
    for folder in map(Path, folders):
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def _refuse_edited(target: Path, name: str, place: Place, ledger: Ledger) -> None:
    standing = ledger.standing(target)
    if not standing or tree_digest(target) == standing[-1].after:
        return
    if place.form == "instructions":
        return  # Others write into such a file too; the block is checked when it is replaced.
    raise DeployError(_edited(target, standing[-1]))


def _edited(target: Path, entry: Deployment) -> str:
    what = "is gone" if not target.exists() else "has been changed"
    return (
        f"{target} {what} since {entry.name} was deployed there, and is left as it is: save what "
        "you want to keep elsewhere, restore the deployed version "
        f"(or remove it and its line {entry.id} from the log), then try again"
    )


def _block(skill: Skill) -> str:
    name, described = skill.folder, bool(parse(skill.text).texts.get("description"))
    parts = [skill.description, skill.body] if described else [skill.body]
    text = "\n\n".join(parts)
    return f"<!-- skillopt:{name} begin -->\n{text}\n<!-- skillopt:{name} end -->\n"


def _find_block(text: str, name: str, where: Path) -> str:
    """The block of a skill in a file of instructions; empty if there is none."""
    own = f"skillopt:{re.escape(name)}"
    found = re.findall(rf"<!-- {own} begin -->\n.*?<!-- {own} end -->\n", text, re.DOTALL)
    if len(found) > 1:
        raise DeployError(f"{where}: has {len(found)} blocks of {name}; remove all but one")
    return found[0] if found else ""


def _read(target: Path) -> str:
    if not target.is_file():
        return ""
    try:
        return target.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DeployError(f"{target}: not UTF-8 text: {error}") from error


def _with_block(target: Path, skill: Skill) -> bytes:
    """A file of instructions with the skill's block, in place of an older one or at the end."""
    text = _read(target)
    old = _find_block(text, skill.folder, target)
    if old:
        return text.replace(old, _block(skill), 1).encode()
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}{_block(skill)}".encode()


def _with_old_block(target: Path, backup: Path, entry: Deployment) -> bytes:
    """The file as it is, with the block from before the deployment, or without one."""
    text = _read(target)
    now = _find_block(text, entry.name, target)
    if now != entry.source.get("block"):
        raise DeployError(_edited(target, entry))
    old = _find_block(_read(backup), entry.name, backup)
    return text.replace(now, old, 1).encode()


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder with its modes and links, synced."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)
    for entry in [target, *target.rglob("*")]:
        if not entry.is_symlink():
            descriptor = os.open(entry, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
    sync_folder(target.parent)


def _remove(target: Path) -> None:
    """Remove a file or folder in one step."""
    if not target.exists():
        return
    gone = target.with_name(f".{target.name}.gone")
    target.rename(gone)
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()
    sync_folder(target.parent)
