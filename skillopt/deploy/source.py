"""The source of a skill: what a deployment records about the run that trained it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skillopt.core.skill import Skill
from skillopt.evaluation.stats import Estimate, percent, points
from skillopt.run.folder import read_state
from skillopt.run.journal import LOG


def source_of(path: Path, skill: Skill) -> dict[str, Any]:
    """Run, scores with intervals, harness, models and digests; only the digest without a run.

    Args:
        path: the path of a run or of a skill.
        skill: the skill that was read from it.
    """
    found: dict[str, Any] = {"digest": skill.digest}
    if not (path / LOG).is_file():
        return found
    summary = read_state(path)[0].summary
    test = summary["test"].get("best")
    return {
        **found,
        "run": summary["name"],
        "harness": summary["harness"],
        "target": summary["target"],
        "selection": f"{summary['initial_score']:.3f} -> {summary['best_score']:.3f}",
        "test": percent(Estimate(**test["hard"])) if test else None,
        "gain": f"{points(Estimate(**test['gain']))} points" if test and test["gain"] else None,
    }
