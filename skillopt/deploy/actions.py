"""Deploying and undoing: back up, log, change in one step, log again.

What somebody else has changed since the last deployment is never overwritten. If the process is
killed at any moment, either the old state or the new one exists, and the next command knows which.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from skillopt.core.files import remove_folder, replace_folder, sync_folder, write_atomic
from skillopt.core.skill import SKILL_FILE, Skill, SkillError, for_agents, write_skill
from skillopt.deploy.blocks import block_of, find_block, same_block, with_block, without_block
from skillopt.deploy.contents import KEPT, digest, is_as, look
from skillopt.deploy.ledger import Deployment, Ledger, half_made, new_entry, new_id
from skillopt.deploy.places import DeployError, Place


@dataclass(frozen=True)
class Standing:
    """A deployment that has not been undone, and its current state."""

    entry: Deployment
    state: str
    """``unchanged``, ``changed`` (by somebody else since), ``missing``, or ``unreadable``. In a
    file of instructions, only the skill's own block counts."""


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
    """Put a skill into its place after a backup of what is there. A link there stays, and what it
    leads to is changed.

    Args:
        skill: a valid skill, with its provenance.
        place: where to put it.
        ledger: the open ledger.
        source: recorded in the log.

    Returns:
        The entry of the log. If the same is already there, nothing is changed or logged, and the
        entry's ``before`` and ``after`` are the same.

    Raises:
        DeployError: something is in the way, or the last deployment there has been changed since.
        SkillError: the skill is not valid.
    """
    target = place.target(skill.folder)
    real = look(target, place.form)
    _refuse_edited(target, skill.folder, place, ledger)
    told = {**source, "made": _missing_folders(real), **_leads_to(target)}
    with TemporaryDirectory(dir=ledger.root) as staging:
        made, added = _make(skill, place, Path(staging))
        told |= added
        entry = new_entry("deploy", skill.folder, place, digest(target), digest(made), told)
        if entry.before == entry.after:
            return entry
        if entry.before:
            _copy(real, ledger.backup(entry.id), KEPT)
        try:
            return _carry_out(entry, made, ledger)
        except OSError:
            _remove(ledger.backup(entry.id))
            raise


def is_there(skill: Skill, place: Place) -> bool:
    """Whether a deployment would change nothing.

    Raises:
        DeployError: something is in the way.
    """
    with TemporaryDirectory() as staging:
        made, _ = _make(skill, place, Path(staging))
        return digest(made) == digest(place.target(skill.folder))


def _make(skill: Skill, place: Place, staging: Path) -> tuple[Path, dict[str, str]]:
    """What takes its place, made in another folder, and what the log records of a block."""
    target = place.target(skill.folder)
    real = look(target, place.form)
    if place.form == "skill":
        made = staging / skill.folder
        write_skill(for_agents(skill), made)
        return made, {}
    made, block = staging / "made", block_of(skill)
    text, gap = with_block(_read(real), skill.folder, block, target)
    made.write_bytes(text.encode())
    made.chmod(real.stat().st_mode & 0o777 if real.is_file() else 0o644)
    return made, {"block": block, "gap": gap}


def planned(skill: Skill, place: Place) -> tuple[str, str]:
    """The content of a place before and after a deployment, as text to compare.

    Raises:
        DeployError: something is in the way.
    """
    target = place.target(skill.folder)
    real = look(target, place.form)
    if place.form == "instructions":
        text = _read(real)
        return text, with_block(text, skill.folder, block_of(skill), target)[0]
    file = real / SKILL_FILE
    return file.read_bytes().decode("utf-8", "replace") if file.is_file() else "", skill.text


def undo(entry: Deployment, ledger: Ledger) -> Deployment:
    """Restore what a deployment replaced, byte for byte.

    In a file of instructions only the skill's own block is restored, so that what its owner wrote
    around it since is kept. What its owner has removed is no obstacle.

    Args:
        entry: the target's last deployment that has not been undone.
        ledger: the open ledger.

    Raises:
        DeployError: something is in the way, or the target has been changed since.
    """
    target, backup = Path(entry.target), ledger.backup(entry.id)
    known = {key: value for key, value in entry.source.items() if key == "leads_to"}
    if _leads_to(target) != known:
        raise DeployError(f"{target}: is not the link, or no link, that it was: put that back")
    real = look(target, "instructions" if entry.form == "instructions" else "skill")
    with TemporaryDirectory(dir=ledger.root) as staging:
        made = Path(staging) / "made"
        back = _undoing(entry, entry.before)
        if is_as(target, entry.after) or not real.exists():
            if entry.before:
                _copy(backup, made)
        elif entry.form == "instructions" and real.is_file():
            text = _with_old_block(target, backup, entry)
            first = ledger.chain(target)[0]
            if text.strip("\ufeff \t\r\n") or first.before:
                made.write_bytes(text.encode())
                made.chmod(real.stat().st_mode & 0o777)
            else:  # The file was created by another skill's deployment, which has been undone.
                back = replace(back, source=back.source | {"made": first.source.get("made", [])})
            back = replace(back, after=digest(made))
        else:
            raise DeployError(_edited(target, entry))
        return _carry_out(back, made if made.exists() else None, ledger)


def list_standing(ledger: Ledger) -> list[Standing]:
    """All deployments that have not been undone, with their current state."""
    targets = dict.fromkeys(entry.target for entry in ledger.entries())
    stacks = (ledger.standing(Path(target)) for target in targets)
    return [Standing(stack[-1], _state(stack[-1])) for stack in stacks if stack]


def _state(entry: Deployment) -> str:
    target = Path(entry.target)
    try:
        if is_as(target, entry.after):
            return "unchanged"
        if not target.exists():
            return "missing"
        if entry.form == "instructions" and target.is_file():
            now = find_block(_read(target), entry.name, target)
            same = now is not None and same_block(now.text, entry.source.get("block", ""))
            return "unchanged" if same else "changed"
    except OSError:
        return "unreadable"
    except DeployError:  # Its block cannot be found, or the file is no text any more.
        return "changed"
    return "changed"


def _carry_out(entry: Deployment, made: Path | None, ledger: Ledger) -> Deployment:
    """Make the change, between two entries of the log. If it fails, nothing of it stays."""
    real, fresh = Path(os.path.realpath(entry.target)), half_made(entry)
    kept = [real / name for name in KEPT if os.path.lexists(real / name)]
    if kept and made is None:
        raise DeployError(
            f"{kept[0]}: was put there since {entry.name} was deployed, and would be lost; move it "
            "away, then try again"
        )
    ledger.write(entry)
    try:
        if made is None:
            _remove(real, fresh)
            _remove_empty(entry.source.get("made", []))
        else:
            real.parent.mkdir(parents=True, exist_ok=True)
            _put(made, real, fresh, kept, entry.action == "deploy")
    except BaseException:
        with suppress(OSError):  # The first error counts; the next command tries this again.
            _remove(fresh)
            _remove_empty(entry.source.get("made", []))
        raise
    done = replace(entry, done=True)
    ledger.write(done)
    return done


def _put(made: Path, real: Path, fresh: Path, kept: Sequence[Path], new: bool) -> None:
    """Put a copy of a file or folder in its place.

    Args:
        made: what to copy.
        real: the place.
        fresh: a name beside it, for the time in which the copy is made.
        kept: entries of the folder in that place that stay.
        new: whether it gets the owner of what is there, and not one of its own.
    """
    before = real.stat() if new and real.exists() else None
    if made.is_file():
        write_atomic(real, made.read_bytes(), made.stat().st_mode & 0o777)
        if before:
            _give(real, before)
        return
    _copy(made, fresh)
    if before:
        _give(fresh, before)
    for path in kept:
        _remove(fresh / path.name)
        _copy(path, fresh / path.name)
    replace_folder(fresh, real)


def _undoing(entry: Deployment, after: str) -> Deployment:
    """The entry for the undo of another one."""
    source = {"undoes": entry.id, "made": entry.source.get("made", [])}
    before = digest(Path(entry.target))
    back = replace(entry, action="undo", before=before, after=after, done=False, source=source)
    return replace(back, id=new_id(), at=time.time())


def _leads_to(target: Path) -> dict[str, str]:
    """What the log records of a target that is a link."""
    return {"leads_to": os.path.realpath(target)} if target.is_symlink() else {}


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
    if not standing or is_as(target, standing[-1].after):
        return
    if place.form == "skill":
        raise DeployError(_edited(target, standing[-1]))
    # Others write into such a file too: only the skill's own block counts.
    own = [entry for entry in standing if entry.name == name]
    now = find_block(_read(target), name, target)
    if own and now and not same_block(now.text, own[-1].source.get("block", "")):
        raise DeployError(_edited(target, own[-1]))


def _edited(target: Path, entry: Deployment) -> str:
    if not target.exists():
        return (
            f"{target} is gone since {entry.name} was deployed there: 'skillopt undeploy' restores "
            "what was there before; then try again"
        )
    return (
        f"{target} has been changed since {entry.name} was deployed there, and is left as it is: "
        "save what you want to keep elsewhere, restore the deployed version "
        f"(or remove it and its line {entry.id} from the log), then try again"
    )


def _read(target: Path) -> str:
    if not target.is_file():
        return ""
    try:
        return target.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DeployError(f"{target}: not UTF-8 text: {error}; save it as UTF-8") from error


def _with_old_block(target: Path, backup: Path, entry: Deployment) -> str:
    """The file as it is, with the block from before the deployment, or without one."""
    text = _read(target)
    now = find_block(text, entry.name, target)
    before = _read(backup)
    old = find_block(before, entry.name, backup)
    if now is None and old is None:
        return text  # Its owner has removed it.
    if now is None or not same_block(now.text, entry.source.get("block", "")):
        raise DeployError(_edited(target, entry))
    if old is None:
        return without_block(text, now, entry.source.get("gap", ""))
    plain = old.text.replace("\r\n", "\n").replace("\r", "\n")
    return with_block(text, entry.name, plain, target)[0]


def _copy(source: Path, target: Path, without: Sequence[str] = ()) -> None:
    """Copy a file or folder with its modes, links and, for root, owners, synced.

    Args:
        source: what to copy.
        target: the path of the copy.
        without: names of entries of the folder itself that are not copied.
    """

    def ignored(folder: str, names: list[str]) -> Iterator[str]:
        for name in names:
            path = Path(folder) / name
            special = not (path.is_symlink() or path.is_dir() or path.is_file())
            if special or (Path(folder) == source and name in without):
                yield name

    if source.is_dir() and not source.is_symlink():
        try:
            shutil.copytree(source, target, symlinks=True, ignore=lambda f, n: set(ignored(f, n)))
        except shutil.Error as error:
            raise _first(error) from error
    else:
        shutil.copy2(source, target, follow_symlinks=False)
    for copy in [target, *target.rglob("*")]:
        original = source / copy.relative_to(target)
        if os.geteuid() == 0:
            _give(copy, original.lstat(), deep=False)
        if not copy.is_symlink():
            descriptor = os.open(copy, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
    sync_folder(target.parent)


def _first(error: shutil.Error) -> OSError:
    """The first of the errors that a copied folder had; they are texts, with numbers in them."""
    _, path, why = error.args[0][0]
    found = re.search(r"\[Errno (\d+)\]", str(why))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number), str(path))


def _give(path: Path, like: os.stat_result, deep: bool = True) -> None:
    """As root, give a file, or a folder with all that is in it, the owner of another one."""
    if os.geteuid() != 0:
        return
    for entry in [path, *(path.rglob("*") if deep else ())]:
        status = entry.lstat()
        if (status.st_uid, status.st_gid) != (like.st_uid, like.st_gid):
            os.lchown(entry, like.st_uid, like.st_gid)
            if not entry.is_symlink():  # A change of the owner clears some bits.
                entry.chmod(stat.S_IMODE(status.st_mode))


def _remove(target: Path, gone: Path | None = None) -> None:
    """Remove a file or folder, in one step if another name beside it is given."""
    if not os.path.lexists(target):
        return
    if gone is not None:
        target.rename(gone)
    path = gone or target
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
    else:
        path.unlink()
    sync_folder(target.parent)
