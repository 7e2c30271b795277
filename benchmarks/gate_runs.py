"""Real trainings with a noisy target: the paper's gate and the project's, with one candidate a step
and with three, on the same questions.

The items and the scripted endpoint of :mod:`benchmarks.reference`, as questions in direct chat: the
target forgets its skill in a fifth of the runs. ``python -m benchmarks gate_runs`` takes minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.means import t_interval
from benchmarks.reference.items import make_items, write_questions
from benchmarks.reference.measure import endpoint
from benchmarks.reference.server import OPTIMIZER, TARGET
from benchmarks.reference.sides import SKILL
from skillopt import train
from skillopt.config.schema import Config

GATES = ("strict", "fresh")
CANDIDATES = (1, 3)
SEEDS = range(12)
NOISE = 0.2
SIZES = {"train": 24, "val": 20, "test": 60}


def run() -> dict[str, Any]:
    """A row for each seed, gate and number of candidates, and the means."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="skillopt-gates-") as scratch:
        for seed in SEEDS:
            for gate, many in product(GATES, CANDIDATES):
                rows.append(_run(Path(scratch) / f"{seed}-{gate}-{many}", seed, gate, many))
                print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows, "means": means_of(rows)}


def means_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The means over the seeds, by gate and number of candidates."""
    return [
        {"gate": gate, "candidates": many}
        | _means([row for row in rows if (row["gate"], row["candidates"]) == (gate, many)])
        for gate, many in product(GATES, CANDIDATES)
    ]


def _run(folder: Path, seed: int, gate: str, candidates: int) -> dict[str, Any]:
    """One training: the same tasks, replies and mistakes for both gates."""
    write_questions(folder / "tasks", make_items(seed, SIZES))
    skill = folder / "searchqa"
    skill.mkdir()
    front = "---\nname: searchqa\ndescription: How questions are answered here.\n---\n\n"
    (skill / "SKILL.md").write_text(front + SKILL, encoding="utf-8")
    started = time.monotonic()
    with endpoint("--seed", str(seed), "--noise", str(NOISE)) as server:
        model = {"upstream": "scripted", "name": TARGET}
        config = {
            "name": "run",
            "seed": seed,
            "workers": 1,  # The endpoint's mistakes depend on how often it was asked the same.
            "runs": str(folder / "runs"),
            "tasks": {"source": str(folder / "tasks")},
            "skill": {"init": str(skill)},
            "harness": {"name": "direct"},
            "sandbox": {"kind": "local"},
            "target": model,
            "optimizer": {**model, "name": OPTIMIZER},
            "upstreams": {"scripted": {"kind": "openai-compatible", "base_url": server.url}},
            "train": {
                "epochs": 3,
                "batch_size": 8,
                "minibatch": 4,
                "candidates": candidates,
                "learning_rate": {"start": 1, "end": 1, "schedule": "constant"},
                "slow_update": False,
                "meta_skill": False,
            },
            "gate": {"kind": gate},
            "verifier": "benchmarks.reference.judge:judge",
        }
        result = train(Config.model_validate(config))
    test, stages = result.summary["test"], result.summary["spent"]["stages"]
    judged = [stages.get(stage, {}).get("rollouts", 0) for stage in ("gate", "race")]
    return {
        "seed": seed,
        "gate": gate,
        "candidates": candidates,
        "initial": test["initial"]["hard"]["value"],
        "test": test["best"]["hard"]["value"],
        "selection": result.summary["best_score"],
        "accepted": result.summary["accepted"],
        "rollouts": result.summary["spent"]["rollouts"],
        "gate_rollouts": sum(judged),
        "seconds": round(time.monotonic() - started, 1),
    }


def _means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    keys = ("initial", "test", "selection", "accepted", "rollouts", "gate_rollouts")
    found: dict[str, Any] = {key: round(fmean(row[key] for row in rows), 4) for key in keys}
    gain = t_interval([row["test"] - row["initial"] for row in rows])
    return found | {"gain": {key: round(value, 4) for key, value in vars(gain).items()}}


def table(found: dict[str, Any]) -> str:
    """The table of ``docs/gates.md``."""
    lines = [
        "| gate | candidates | test, % | gain, points | selection, % | accepted | gate rollouts "
        "| rollouts |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for means in found["means"]:
        gain = means["gain"]
        shown = [
            f"{100 * means['test']:.1f}",
            f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]",
            f"{100 * means['selection']:.1f}",
            f"{means['accepted']:.1f}",
            f"{means['gate_rollouts']:.0f}",
            f"{means['rollouts']:.0f}",
        ]
        lines.append(f"| {means['gate']} | {means['candidates']} | {' | '.join(shown)} |")
    return "\n".join(lines)
