"""A step of training on a benchmark's set of our own, with the simulated model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from tests.helpers.benchmark_sets import EACH, prepared
from tests.helpers.command_line import skillopt

SIM = {"upstream": "sim", "name": "sim-1", "sampling": {}}
OPTIONS: dict[tuple[str, str], dict[str, object]] = {
    # Direct chat without a sandbox, for those whose config gives it a shell.
    ("officeqa", "direct"): {"search": False},
    # The sets' games are won in 11 commands at most.
    ("alfworld", "direct"): {"protocol": "steps", "max_steps": 14},
    ("alfworld", "codex"): {"max_steps": 14},
    ("alfworld", "claude-code"): {"max_steps": 14},
}
"""``tasks.options`` of a cell, where others than its config's are enough."""


@dataclass(frozen=True)
class Step:
    """What a step came to.

    Args:
        seconds: that the training took.
        rollouts: number of different ones.
        before, after: solved share of the test split, without and with the trained skill.
        selection: the same of the selection split.
        requests, prompt_tokens: means over the rollouts, as the simulated model counts them.
    """

    seconds: float
    rollouts: int
    before: float
    after: float
    selection: tuple[float, float]
    requests: float
    prompt_tokens: float


def train_step(name: str, harness: str, folder: Path, **options: object) -> Step:
    """Train one step from the download on.

    Args:
        folder: an empty one, for the download, the tasks and the run.
        options: ``tasks.options``; those of :data:`OPTIONS` if there are none.
    """
    settings = {
        "tasks.path": str(prepared(name, folder)),
        "runs": str(folder / "runs"),
        "target": SIM,
        "optimizer": SIM,
        "upstreams": {"sim": {"kind": "sim", "harm": 0.0}},
        "train.epochs": 1,
        "train.batch_size": EACH,
        "workers": 4,
        "patience": 2,
    }
    options = options or OPTIONS.get((name, harness), {})
    settings |= {f"tasks.options.{key}": value for key, value in options.items()}
    changes = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    started = time.monotonic()
    done = skillopt("train", f"configs/{name}/{harness}.yaml", *changes)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    runs = folder / "runs"
    summary = json.loads((runs / f"{name}-{harness}" / "summary.json").read_text())
    results = [json.loads(file.read_text()) for file in (runs / "store").rglob("result.json")]
    test = summary["test"]
    return Step(
        seconds=seconds,
        rollouts=len(results),
        before=test["initial"]["hard"]["value"],
        after=test["best"]["hard"]["value"],
        selection=(summary["initial_score"], summary["best_score"]),
        requests=mean(result["usage"]["requests"] for result in results),
        prompt_tokens=mean(result["usage"]["prompt_tokens"] for result in results),
    )
