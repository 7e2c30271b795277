"""Real trainings with a noisy target, whose skill is forgotten in a fifth of the runs: the paper's
gate and the project's.

The items and the scripted endpoint of :mod:`benchmarks.reference`, as questions in direct chat:
with one candidate a step and with three, with and without credit to single edits. The quickstart,
in containers. ``python -m benchmarks gate_runs`` takes half an hour.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.means import t_interval
from benchmarks.reference.items import make_items, write_questions
from benchmarks.reference.measure import endpoint
from benchmarks.reference.server import OPTIMIZER, TARGET
from benchmarks.reference.sides import SKILL
from skillopt import RunResult, train
from skillopt.config.inputs import read_config
from skillopt.config.schema import Config

GATES = ("strict", "fresh")
CANDIDATES = (1, 3)
CREDIT = (0.0, 0.5)
"""The share of the step's rollouts that may be spent on finding out what single edits do."""
SEEDS = range(20)
EDITS = 3
"""Most edits of a step; with one there is nothing to share out."""
QUICKSTART_SEEDS = range(1, 5)
NOISE = 0.2
SIZES = {"train": 24, "val": 20, "test": 60}


def run() -> dict[str, Any]:
    """A row for each training, and the means over the seeds."""
    with (
        tempfile.TemporaryDirectory(prefix="skillopt-gates-") as scratch,
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
    ):
        cells = list(product(SEEDS, GATES, CANDIDATES, CREDIT))
        folders = [Path(scratch, "-".join(map(str, cell))) for cell in cells]
        rows = _told(pool.map(_run, folders, *zip(*cells, strict=True)))
        chores = list(product([Path(scratch)], QUICKSTART_SEEDS, GATES))
        quickstart = _told(pool.map(_quickstart, *zip(*chores, strict=True)))
    return {
        "rows": rows,
        "means": means_of(rows, ("gate", "candidates", "credit")),
        "quickstart": {"rows": quickstart, "means": means_of(quickstart, ("gate",))},
    }


def _told(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        print(row, file=sys.stderr, flush=True)
        found.append(row)
    return found


def means_of(rows: list[dict[str, Any]], by: Sequence[str]) -> list[dict[str, Any]]:
    """The means over the seeds of the rows that are alike in some keys."""
    cells = dict.fromkeys(tuple(row[key] for key in by) for row in rows)
    return [
        dict(zip(by, cell, strict=True))
        | _means([row for row in rows if tuple(row[key] for key in by) == cell])
        for cell in cells
    ]


def _run(folder: Path, seed: int, gate: str, candidates: int, credit: float) -> dict[str, Any]:
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
                "learning_rate": {"start": EDITS, "end": EDITS, "schedule": "constant"},
                "credit": credit,
                "slow_update": False,
                "meta_skill": False,
            },
            "gate": {"kind": gate},
            "verifier": "benchmarks.reference.judge:judge",
        }
        result = train(Config.model_validate(config))
    cell = {"seed": seed, "gate": gate, "candidates": candidates, "credit": credit}
    return cell | _figures(result, started)


def _quickstart(folder: Path, seed: int, gate: str) -> dict[str, Any]:
    """One training of the quickstart, in containers."""
    changes = {
        "name": f"quickstart-{gate}-{seed}",
        "seed": seed,
        "runs": str(folder / "runs"),
        "upstreams.sim.seed": seed,
        "upstreams.sim.noise": NOISE,
        "gate.kind": gate,
    }
    started = time.monotonic()
    result = train(read_config("quickstart/direct", changes))
    return {"seed": seed, "gate": gate} | _figures(result, started)


def _figures(result: RunResult, started: float) -> dict[str, Any]:
    test, stages = result.summary["test"], result.summary["spent"]["stages"]
    judged = [stages.get(stage, {}).get("rollouts", 0) for stage in ("gate", "race", "credit")]
    return {
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
    """The table of the questions in ``docs/gates.md``."""
    return _table(found["means"], {"gate": "{}", "candidates": "{}", "credit": "{:g}"})


def quickstart_table(found: dict[str, Any]) -> str:
    """The table of the quickstart there."""
    return _table(found["quickstart"]["means"], {"gate": "{}"})


def _table(rows: list[dict[str, Any]], by: Mapping[str, str]) -> str:
    heads = ("test, %", "gain, points", "selection, %", "accepted", "gate rollouts", "rollouts")
    lines = [
        f"| {' | '.join([*by, *heads])} |",
        f"| {' | '.join(['---', *['---:'] * (len(by) - 1 + len(heads))])} |",
    ]
    for means in rows:
        gain = means["gain"]
        shown = [
            *(form.format(means[key]) for key, form in by.items()),
            f"{100 * means['test']:.1f}",
            f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]",
            f"{100 * means['selection']:.1f}",
            f"{means['accepted']:.1f}",
            f"{means['gate_rollouts']:.0f}",
            f"{means['rollouts']:.0f}",
        ]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)
