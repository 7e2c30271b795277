"""Runs both sides undisturbed, with failing calls and through a kill, and compares what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.reference.measure import Counts, Ended, Endpoint, endpoint, run
from benchmarks.reference.server import OPTIMIZER, TARGET
from benchmarks.reference.sides import Outcome, Settings, Side

OUTAGE_S = 60.0
"""Longer than either side waits for one call by its defaults."""
TIMEOUT_S = 900.0
"""For one start of a side; a default of the reference's that makes it hang is not waited for."""


@dataclass(frozen=True)
class Situation:
    """What is done to a run.

    Args:
        name: of it.
        fail: share of calls that get status 500.
        kill_after_s: when the first start is killed; the same command is then started again.
        outage_after: answered calls after which all fail for OUTAGE_S; 0 for never. A command
            that then ends with an error is started again once the outage is over.
    """

    name: str
    fail: float = 0.0
    kill_after_s: float | None = None
    outage_after: int = 0


@dataclass(frozen=True)
class Run:
    """A side in a situation."""

    starts: tuple[Ended, ...]
    killed_at: Counts | None
    """Calls before the kill."""
    counts: Counts
    outcome: Outcome

    @property
    def seconds(self) -> float:
        return sum(start.seconds for start in self.starts)


def run_once(
    side: Side, situation: Situation, folder: Path, settings: Settings, latency: float
) -> Run:
    """One run of a side, with a fresh endpoint and a fresh folder."""
    folder.mkdir(parents=True)
    print(f"{side.name}: {situation.name} …", flush=True)
    options = {"--latency": latency, "--fail": situation.fail}
    if situation.outage_after:
        options |= {"--outage-after": situation.outage_after, "--outage": OUTAGE_S}
    log = folder / "log.txt"
    with endpoint(*(str(part) for option in options.items() for part in option)) as served:
        command = side.prepare(folder, served.url, settings)
        starts: list[Ended] = []
        killed_at = None
        if (kill := situation.kill_after_s) is not None:
            starts.append(run(command, side.env(), log, kill_after_s=kill))
            killed_at = _settled(served)
        starts.append(run(command, side.env(), log, timeout_s=TIMEOUT_S))
        if starts[-1].code != 0 and situation.outage_after:
            time.sleep(OUTAGE_S)
            starts.append(run(command, side.env(), log, timeout_s=TIMEOUT_S))
        counts = served.counts()
    result = Run(tuple(starts), killed_at, counts, side.outcome(folder))
    print(f"  {result.seconds:.1f} s, exit codes {[s.code for s in starts]}", flush=True)
    return result


def _settled(served: Endpoint) -> Counts:
    """The counts once the calls that were under way at a kill are over."""
    before = served.counts()
    while True:
        time.sleep(0.5)
        if (counts := served.counts()) == before:
            return counts
        before = counts


def run_side(
    side: Side, folder: Path, settings: Settings, latency: float, fail: float
) -> dict[str, Any]:
    """A side in every situation, as plain values for ``results.json``."""
    results: dict[str, Any] = {}
    single = replace(settings, workers=1)

    def done(situation: Situation, how: Settings, base: Run | None) -> Run:
        result = run_once(side, situation, folder / situation.name, how, latency)
        results[situation.name] = described(result, base or result)
        return result

    base = done(Situation("undisturbed"), settings, None)
    half = base.starts[0].seconds / 2
    calls = sum(counts.get("answered", 0) for counts in base.counts.values()) // 3
    done(Situation("again"), settings, base)
    done(Situation("failing", fail=fail), settings, base)
    done(Situation("outage", outage_after=calls), settings, base)
    done(Situation("killed", kill_after_s=half), settings, base)
    # With one worker no order is left to chance, so that what a resume changes is seen alone.
    base = done(Situation("one-worker"), single, None)
    half = base.starts[0].seconds / 2
    done(Situation("one-worker-killed", kill_after_s=half), single, base)
    return results


def run_seed(
    side: Side, folder: Path, settings: Settings, latency: float, tests: int
) -> dict[str, Any]:
    """What a side spends on its way to its best skill with other items and another order.

    Args:
        tests: tasks of the test split.
    """
    result = run_once(side, Situation(f"seed {settings.seed}"), folder, settings, latency)
    rollouts = result.counts[TARGET].get("rollouts", 0)
    return {
        "seed": settings.seed,
        "test_best": result.outcome.scores.test_best,
        "rollouts": rollouts,
        "besides_tests": rollouts - side.arms * tests,
        "cpu_s": sum(start.cpu_s for start in result.starts),
        "peak_mib": max(start.peak_mib for start in result.starts),
        "seconds": round(result.seconds, 1),
    }


def described(result: Run, base: Run) -> dict[str, Any]:
    """A run as plain values, compared with the undisturbed one."""
    calls = {role: _calls(result.counts, model) for role, model in _ROLES.items()}
    values: dict[str, Any] = {
        "seconds": round(result.seconds, 1),
        "starts": [asdict(start) for start in result.starts],
        "peak_mib": max(start.peak_mib for start in result.starts),
        "calls": calls,
        "rollouts": result.counts[TARGET].get("rollouts", 0),
        "scores": asdict(result.outcome.scores),
        "actions": result.outcome.actions,
        "unanswered": result.outcome.unanswered,
    }
    if result is not base:
        same = result.outcome.skills == base.outcome.skills
        values["same_skills_as_undisturbed"] = same
        best = "best_skill.md"
        values["same_best_skill"] = result.outcome.skills.get(best) == base.outcome.skills.get(best)
    if result.killed_at is not None:
        values["calls_before_kill"] = {
            role: _calls(result.killed_at, model)["answered"] for role, model in _ROLES.items()
        }
        values["calls_more_than_undisturbed"] = {
            role: calls[role]["answered"] - _calls(base.counts, model)["answered"]
            for role, model in _ROLES.items()
        }
    return values


_ROLES = {"target": TARGET, "optimizer": OPTIMIZER}


def _calls(counts: Mapping[str, Mapping[str, int]], model: str) -> dict[str, int]:
    return {key: counts[model].get(key, 0) for key in ("answered", "failed", "again")}
