"""The source of a skill: what a deployment records about the run that trained it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skillopt.core.skill import Skill
from skillopt.evaluation.claim import claim_of_run
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
    run = _run_of(path)
    if run is None:
        return found
    state = read_state(run)[0]
    summary, claimed = state.summary, claim_of_run(state)
    test = summary["test"].get("best")
    return {
        **found,
        "run": summary["name"],
        "harness": summary["harness"],
        "target": summary["target"],
        "selection": f"{summary['initial_score']:.3f} -> {summary['best_score']:.3f}",
        "test": percent(Estimate(**test.get("score", test["hard"]))) if test else None,
        "gain": f"{points(Estimate(**test['gain']))} points" if test and test["gain"] else None,
        "verdict": claimed["words"] if claimed else None,
    }


def unconfirmed(path: Path) -> str:
    """Why a run does not show that its skill is better than the one that it started from; empty if
    it does, and for a skill that is not a run's.

    Args:
        path: the path of a run or of a skill.
    """
    run = _run_of(path)
    if run is None:
        return ""
    state = read_state(run)[0]
    return _unconfirmed(state.summary, claim_of_run(state))


def _unconfirmed(summary: Mapping[str, Any], claimed: Mapping[str, Any] | None) -> str:
    name = summary["name"]
    if summary["best_skill"] == summary["initial_skill"]:
        return f"run {name} kept no edit: the skill is the one that it started from"
    if claimed is None:
        unfinished = "" if summary["done"] else f" ({summary['state']}, not finished)"
        return f"run {name}{unfinished} has no scores of held-out tasks: its gain is not confirmed"
    return "" if claimed["verdict"] == "confirmed" else f"run {name}: {claimed['words']}"


def _run_of(path: Path) -> Path | None:
    """The run that a path is, or whose best skill it is."""
    path = path.absolute()
    best = path.parent.name == "best_skill"
    runs = (path, path.parent.parent) if best else (path,)
    return next((run for run in runs if (run / LOG).is_file()), None)
