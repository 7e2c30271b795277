"""Stand-ins for the reference's prompt files, which its package on PyPI leaves out.

Version 0.2.0 reads its prompts from Markdown files that are in its repository and in no file that
PyPI has, so that an installed copy fails at its first rollout. A scripted model does not care how
it is asked: these say only what a reply has to hold.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_EDITS = "Reply with a JSON object that has the proposed edits."

_STAND_INS = {
    "envs/searchqa/prompts/rollout_system.md": (
        "{skill_section}Answer the question from the context, between <answer> and </answer>."
    ),
    "envs/searchqa/prompts/analyst_error.md": f"Some runs failed. {_EDITS}",
    "envs/searchqa/prompts/analyst_success.md": f"Some runs succeeded. {_EDITS}",
    "prompts/merge_failure.md": f"Merge patches that come from failures. {_EDITS}",
    "prompts/merge_success.md": f"Merge patches that come from successes. {_EDITS}",
    "prompts/merge_final.md": f"Merge two patches, failures first. {_EDITS}",
    "prompts/ranking.md": "Rank the edits. Reply with a JSON object that has selected_indices.",
    "prompts/slow_update.md": "Reply with a JSON object that has slow_update_content.",
    "prompts/meta_skill.md": "Reply with a JSON object that has meta_skill_content.",
}


def missing(python: Path) -> list[str]:
    """The prompt files that the reference needs here and that its installation lacks."""
    package = _package(python)
    return [name for name in _STAND_INS if not (package / name).is_file()]


def complete(python: Path, checkout: Path | None) -> int:
    """Put prompt files where the installed reference looks for them and finds none.

    Args:
        python: of the environment that the reference is installed in.
        checkout: of its repository, whose own prompts are then taken; None for the stand-ins.

    Returns:
        How many files were missing.
    """
    names, package = missing(python), _package(python)
    for name in names:
        target = package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if checkout is None:
            target.write_text(_STAND_INS[name] + "\n", encoding="utf-8")
        else:
            shutil.copyfile(checkout / "skillopt" / name, target)
    return len(names)


def _package(python: Path) -> Path:
    code = "import pathlib, skillopt; print(pathlib.Path(skillopt.__file__).parent)"
    command = [str(python), "-I", "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())
