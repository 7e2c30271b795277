"""``python -m benchmarks.ablations``: the configs of ``configs/ablations`` with five seeds each.

Writes ``benchmarks/ablations.json`` and the table of ``docs/ablations.md``. Takes half an hour.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.means import t_interval
from skillopt import train
from skillopt.config.inputs import read_config
from skillopt.core.resources import resource
from skillopt.core.text import estimate_tokens
from skillopt.evaluation.stats import points
from skillopt.run.journal import read_records
from skillopt.run.records import Replied

SEEDS = (1, 2, 3, 4, 5)
HARMS = (0.15, 0.5)
"""Share of reflections that also propose a harmful rule: the quickstart's, and a bad optimizer."""
FULL = "full"
ROOT = Path(__file__).parent.parent


def variants() -> list[str]:
    """The names of the configs, the full algorithm first."""
    names = [path.stem for path in (resource("configs") / "ablations").glob("*.yaml")]
    return [FULL, *sorted(set(names) - {FULL})]


def run(runs: Path, seed: int, harm: float) -> list[dict[str, Any]]:
    """All variants with one seed, one after the other: they share a rollout store."""
    found = []
    for variant in variants():
        settings = {
            "seed": seed,
            "upstreams.sim.seed": seed,
            "upstreams.sim.harm": harm,
            "runs": str(runs / f"seed-{seed}-harm-{harm}"),
            "workers": 2,
        }
        started = time.monotonic()
        result = train(read_config(f"ablations/{variant}", settings))
        replies = [r for r in read_records(result.folder) if isinstance(r, Replied)]
        found.append(
            {
                "variant": variant,
                "seed": seed,
                "harm": harm,
                "selection": result.summary["best_score"],
                "test": result.summary["test"]["best"]["hard"]["value"],
                "initial_test": result.summary["test"]["initial"]["hard"]["value"],
                "accepted": result.summary["accepted"],
                "gate_rollouts": sum(row["selection_evaluated"] for row in result.history),
                "optimizer_calls": len(replies),
                "tokens": estimate_tokens(result.best.text),
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def table(rows: list[dict[str, Any]], harm: float) -> str:
    """One line a variant: means over the seeds, the difference to the full run seed by seed."""
    own = [row for row in rows if row["harm"] == harm]
    full = {row["seed"]: row for row in own if row["variant"] == FULL}
    lines = [
        "| | test, % | to full, points | selection, % | accepted | gate rollouts "
        "| optimizer calls | skill, tokens |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for variant in variants():
        chosen = [row for row in own if row["variant"] == variant]
        gains = [row["test"] - full[row["seed"]]["test"] for row in chosen]
        shown = points(t_interval(gains))
        cells = [
            f"`{variant}`",
            f"{_average(chosen, 'test', 100):.0f}",
            "" if variant == FULL else shown,
            f"{_average(chosen, 'selection', 100):.0f}",
            *(
                f"{_average(chosen, key):.1f}"
                for key in ("accepted", "gate_rollouts", "optimizer_calls")
            ),
            f"{_average(chosen, 'tokens'):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _average(rows: list[dict[str, Any]], key: str, factor: float = 1.0) -> float:
    return factor * fmean(row[key] for row in rows)


def main() -> None:
    runs = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs") / "ablations"
    with ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(run, runs, seed, harm) for harm in HARMS for seed in SEEDS]
        rows = [row for job in jobs for row in job.result()]
    (ROOT / "benchmarks" / "ablations.json").write_text(json.dumps(rows, indent=1) + "\n")
    for harm in HARMS:
        print(f"\nharm {harm}\n\n{table(rows, harm)}")


if __name__ == "__main__":
    main()
