"""``python -m benchmarks.methods [HARNESS…]``: every method on the quickstart, three seeds each.

The same tasks, agents, budget in distinct rollouts and sealed test for all of them. The model is
simulated: the table compares machinery, not methods. ``smollm2`` is the local model, its own
optimizer. Writes ``benchmarks/methods.json``, whose other rows stay, and prints the tables of
``docs/methods.md``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from sandboxes.errors import SkillOptError
from skillopt import train
from skillopt.config.inputs import read_config
from skillopt.evaluation.run_table import compare_runs

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "methods.json"
BY_HAND = ROOT / "benchmarks" / "by-hand" / "house-rules"
SEEDS = (1, 2, 3)
BUDGET = 160
METHODS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    # The words' initial skill is written by hand as well, so that this is for the quickstart.
    "human": {"kind": "human", "skill": str(BY_HAND)},
    "one_shot": {"kind": "one_shot"},
    "trace2skill": {"kind": "trace2skill"},
    "textgrad": {"kind": "textgrad"},
    "gepa": {"kind": "gepa"},
    "evoskill": {"kind": "evoskill"},
    "skillopt": {"kind": "skillopt"},
}


def settings(method: str, harness: str, seed: int, runs: Path) -> dict[str, Any]:
    """What a run has besides the quickstart's config."""
    found = {
        "name": f"{method}-{harness}-{seed}",
        "seed": seed,
        "runs": str(runs / harness),
        "method": {**METHODS[method], "rollouts": BUDGET},
    }
    if harness == "smollm2":
        # Its own stages ask for one example; whoever asks for a skill needs room for it.
        room = {} if method == "skillopt" else {"optimizer.sampling.max_tokens": 400}
        return found | room | {"tasks.seed": 6 + seed}
    return found | {"upstreams.sim.seed": seed, "workers": 2, "train.epochs": 4}


def run(method: str, harness: str, seed: int, runs: Path) -> dict[str, Any]:
    """Train once; what went wrong is a row too."""
    started = time.monotonic()
    row = {"method": method, "harness": harness, "seed": seed}
    try:
        result = train(read_config(f"quickstart/{harness}", settings(method, harness, seed, runs)))
    except SkillOptError as error:
        return row | {"error": str(error)}
    [found] = compare_runs([result.folder])
    told = found.to_json()
    keys = ("asked", "rollouts", "optimizer", "target", "usd", "skill_tokens", "findings")
    return row | {
        "test": found.score.value,
        "over_start": found.over_start.gain.value,
        "verdict": told["over_start"]["verdict"],
        "over_none": found.over_none.gain.value if found.over_none else None,
        **{key: told[key] for key in keys},
        "ended": result.summary["stopped"],
        "seconds": round(time.monotonic() - started, 1),
    }


def table(rows: list[dict[str, Any]], harness: str) -> str:
    """The table of ``docs/methods.md``: a line for each method, its seeds in one."""
    lines = [
        "| method | test, % | mean | over no skill, points | confirmed | asked | optimizer tokens "
        "| agent's tokens | skill tokens |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method in METHODS:
        own = [row for row in rows if (row["method"], row["harness"]) == (method, harness)]
        done = [row for row in own if "error" not in row]
        if not done:
            said = own[0]["error"] if own else "not run"
            lines.append(f"| `{method}` | {said} | | | | | | | |")
            continue
        cells = [
            f"`{method}`",
            ", ".join(f"{100 * row['test']:.0f}" for row in done),
            f"{_mean(done, 'test', 100):.0f}",
            f"{_mean(done, 'over_none', 100):+.0f}",
            f"{sum(row['verdict'] == 'confirmed' for row in done)} of {len(done)}",
            *(f"{_mean(done, key):,.0f}" for key in ("asked", "optimizer", "target")),
            f"{_mean(done, 'skill_tokens'):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(rows: list[dict[str, Any]], key: str, factor: float = 1.0) -> float:
    return factor * fmean(row[key] for row in rows)


def main() -> None:
    runs = Path("runs") / "methods"
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for harness in sys.argv[1:] or ("direct", "codex"):
        for seed in SEEDS:
            for method in METHODS:
                found = run(method, harness, seed, runs)
                same = {"method": method, "harness": harness, "seed": seed}
                rows = [row for row in rows if not same.items() <= row.items()] + [found]
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
                print(json.dumps(found), file=sys.stderr, flush=True)
        print(f"\n{harness}\n\n{table(rows, harness)}", flush=True)


if __name__ == "__main__":
    main()
