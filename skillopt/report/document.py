"""The content of a page: one or several runs, and trajectories from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from skillopt.report.page import render
from skillopt.report.trajectory import IN_FILE, rollout_view
from skillopt.report.view import RunView
from skillopt.rollouts.store import failed_place_of, has_result, place_of

RULE = (
    "The file has {held} of {all} trajectories, chosen in this order: rollouts that failed for "
    "infrastructure, latest first, as at most a quarter; held-out tasks that the best skill fails; "
    "tasks that a gate decision fixed or broke, latest first; failures of training batches, latest "
    "first; all others, latest first. Long texts are cut. 'skillopt ui RUN' shows all of them in "
    "full, and --trajectories N puts more into the file."
)
FAILED = "failed/"
"""Prefix in a report's file for the key of a rollout that failed for infrastructure: one with the
same key may have succeeded later."""


def report(views: Sequence[RunView], trajectories: int) -> str:
    """The self-contained page of some runs.

    Args:
        views: at least one.
        trajectories: the most trajectories in the file, over all runs.
    """
    held: dict[str, Any] = {}
    runs = [view.to_json() for view in views]
    share = max(1, trajectories // len(views))
    for view, run in zip(views, runs, strict=True):
        held |= _sampled(view, run, share if trajectories else 0)
    known = {key for run in runs for key in run["rollouts"]["key"]}
    known |= {FAILED + one["key"] for run in runs for one in run["failures"]}
    rule = RULE.format(held=len(held), all=len(known))
    data = {"runs": runs, "trajectories": held, "rule": rule, "live": False}
    return render(data, ", ".join(run["name"] for run in runs))


def folder_of(run: Path, key: str) -> Path:
    """The folder of a rollout in the store next to a run; the key is one that the run names."""
    return place_of(run.parent / "store", key)


def failed_folder_of(run: Path, key: str) -> Path:
    """The folder of the last attempt at a rollout that failed for infrastructure."""
    return failed_place_of(run.parent / "store", key)


def _sampled(view: RunView, run: dict[str, Any], count: int) -> dict[str, Any]:
    """The first rollouts in the order of :data:`RULE` that are in the store."""
    found, store = _failed(view, run, count // 4), view.root.parent / "store"
    for index in _ranked(run):
        if len(found) >= count:
            break
        key = run["rollouts"]["key"][index]
        if key not in found and has_result(store, key):
            with suppress(OSError):  # 'skillopt store verify' names those that are damaged.
                found[key] = rollout_view(place_of(store, key), IN_FILE, view.tasks_folder)
    return found


def _failed(view: RunView, run: dict[str, Any], count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for failure in sorted(run["failures"], key=lambda one: bool(one["over"])):
        folder = failed_folder_of(view.root, failure["key"])
        if len(found) < count and (folder / "result.json").is_file():
            found[FAILED + failure["key"]] = rollout_view(folder, IN_FILE, view.tasks_folder)
    return found


def _ranked(run: dict[str, Any]) -> Iterator[int]:
    rollouts, uses = run["rollouts"], run["uses"]
    flipped = {
        (entry["selection"], task)
        for entry in run["entries"]
        if entry["gate"]
        for task in entry["gate"]["fixed"] + entry["gate"]["broken"]
    }

    def rank(index: int) -> tuple[int, int]:
        use, task = rollouts["use"][index], rollouts["task"][index]
        failed, split = rollouts["soft"][index] < 1, uses[use]["split"]
        if failed and uses[use]["name"] == "test, best skill":
            return 0, -use
        if (use, task) in flipped:
            return 1, -use
        return (2 if failed and split == "train" else 3), -use

    return iter(sorted(range(len(rollouts["key"])), key=rank))
