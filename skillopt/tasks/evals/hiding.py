"""A skill as agents get it whose folder has the files that score it: without these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from skillopt.core.skill import Skill

FOLDER = "evals"
"""A folder that has eval files and what belongs to them, and nothing else."""


def without_evals(skill: Skill, files: Sequence[Path]) -> Skill:
    """The skill without some files of tasks, and without the folder ``evals`` if they are in it.

    They are found by content, as a skill is also read from copies and from runs.

    Args:
        skill: that agents are to get.
        files: of ``tasks.source``: eval files, prompts with answers.
    """
    lengths = {len(data) for data in skill.files.values()}  # The others can be large.
    contents = {file.read_bytes() for file in files if file.stat().st_size in lengths}
    found = [PurePosixPath(name) for name, data in skill.files.items() if data in contents]
    if not found:
        return skill
    hidden = {name.parent if name.parent.name == FOLDER else name for name in found}

    def kept(name: str) -> bool:
        path = PurePosixPath(name)
        return not any(path.is_relative_to(one) for one in hidden)

    links = {name: target for name, target in skill.layout.links.items() if kept(name)}
    return replace(
        skill,
        files={name: data for name, data in skill.files.items() if kept(name)},
        layout=replace(skill.layout, links=links),
    )
