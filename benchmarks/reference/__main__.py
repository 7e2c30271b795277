"""``python -m benchmarks.reference``: runs both sides, prints a table, writes ``results.json``."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.__main__ import machine
from benchmarks.reference import prompts
from benchmarks.reference.items import make_items, write_harbor, write_questions, write_reference
from benchmarks.reference.run import OUTAGE_S, Situation, run_once, run_seed, run_side
from benchmarks.reference.sides import (
    VERSION,
    Ours,
    Reference,
    Settings,
    install_reference,
)

SIZES = {"train": 40, "val": 20, "test": 40}
_JUDGE = "benchmarks.reference.judge:judge"
SEEDS = (1, 2, 3, 4, 5)
"""Of items and order, besides the one that everything is run with."""
TITLES = {
    "again": "undisturbed, again",
    "failing": "some calls fail",
    "outage": f"outage of {OUTAGE_S:g} s",
    "killed": "killed half way",
    "one-worker": "one worker",
    "one-worker-killed": "one worker, killed half way",
}


def main() -> None:
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="skillopt-reference-") as scratch:
        folder = (given.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        results = compare(folder, given)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(seeds_table(results))
    print(table(results))
    print(f"wrote {given.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    parser.add_argument("--environment", type=Path, help="where the reference is installed to")
    parser.add_argument("--checkout", type=Path, help="of the reference, for its own prompts")
    parser.add_argument("--keep", type=Path, help="new folder for everything that is made")
    parser.add_argument("--latency", type=float, default=0.1, help="of the model, in seconds")
    parser.add_argument("--fail", type=float, default=0.05, help="share of calls that fail")
    parser.add_argument("--seed", type=int, default=42)
    slow = "slow update and meta skill"
    parser.add_argument("--slow", action=argparse.BooleanOptionalAction, default=True, help=slow)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json")
    return parser.parse_args()


def compare(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, as plain values."""
    splits = make_items(given.seed, SIZES)
    write_reference(folder / "items", splits)
    write_harbor(folder / "tasks", splits)
    write_questions(folder / "questions", splits)
    settings = Settings(seed=given.seed, slow=given.slow)
    python = install_reference(given.environment or folder / "environment")
    reference = Reference(python, folder / "items")
    results: dict[str, Any] = {
        "machine": machine(),
        "reference_version": VERSION,
        "settings": asdict(settings) | {"items": SIZES, "latency_s": given.latency},
        "fail": given.fail,
    }
    if prompts.missing(python):
        installed = run_once(reference, Situation("as-installed"), folder / "bare", settings, 0)
        log = (folder / "bare" / "log.txt").read_text("utf-8", errors="replace").strip()
        results["reference_as_installed"] = {
            "code": installed.starts[0].code,
            "last_line": log.splitlines()[-1].replace(str(python.parents[1]), "…"),
            "prompts_added": prompts.complete(python, given.checkout),
        }
    questions = Ours(folder / "questions", "questions", _JUDGE)
    results["seeds"] = _seeds(python, folder / "seeds", settings, given.latency)
    for side in (reference, questions, Ours(folder / "tasks")):
        results[side.name] = run_side(side, folder / side.name, settings, given.latency, given.fail)
    return results


def _seeds(
    python: Path, folder: Path, settings: Settings, latency: float
) -> dict[str, list[dict[str, Any]]]:
    """What both sides spend undisturbed, by side, for each of :data:`SEEDS`."""
    found: dict[str, list[dict[str, Any]]] = {"reference": [], "questions": []}
    for seed in SEEDS:
        here = folder / str(seed)
        splits = make_items(seed, SIZES)
        write_reference(here / "items", splits)
        write_questions(here / "questions", splits)
        for side in (
            Reference(python, here / "items"),
            Ours(here / "questions", "questions", _JUDGE),
        ):
            how = replace(settings, seed=seed)
            row = run_seed(side, here / f"run-{side.name}", how, latency, SIZES["test"])
            found[side.name].append(row)
    return found


def seeds_table(results: dict[str, Any]) -> str:
    """What both sides spend, a row for each seed, as a Markdown table; the reference's first."""
    pairs = list(zip(*(results["seeds"][side] for side in ("reference", "questions")), strict=True))
    lines = [
        "| seed | test of the best | rollouts besides the test | all rollouts | processor time "
        "| peak memory | wall time |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    columns = (
        ("test_best", "{:.3f}"), ("besides_tests", "{:.0f}"), ("rollouts", "{:.0f}"),
        ("cpu_s", "{:.1f} s"), ("peak_mib", "{:.0f} MiB"), ("seconds", "{:.1f} s"),
    )  # fmt: skip
    for pair in pairs:
        cells = (", ".join(form.format(row[key]) for row in pair) for key, form in columns)
        lines.append(f"| {pair[0]['seed']} | {' | '.join(cells)} |")
    means = []
    for key, form in columns:
        theirs, ours = (fmean(row[key] for row in side) for side in zip(*pairs, strict=True))
        means.append(f"{form.format(theirs)}, {form.format(ours)} ({ours / theirs:.2f})")
    lines.append(f"| mean (ours / reference) | {' | '.join(means)} |")
    return "\n".join(lines)


def table(results: dict[str, Any]) -> str:
    """The comparison as a Markdown table."""
    sides = ("reference", "questions", "ours")
    lines = ["| | reference | ours, questions | ours, files |", "| --- | --- | --- | --- |"]

    def row(title: str, *cells: object) -> None:
        lines.append(f"| {title} | " + " | ".join(str(cell) for cell in cells) + " |")

    for name in results["reference"]:
        runs = [results[side][name] for side in sides]
        row(f"**{TITLES.get(name, name)}**", "", "", "")
        for split in ("selection", "test"):
            row(
                f"{split}, initial → best",
                *(
                    f"{_share(r['scores'][f'{split}_initial'])} → "
                    f"{_share(r['scores'][f'{split}_best'])}"
                    for r in runs
                ),
            )
        row("wall time", *(_seconds(r) for r in runs))
        row("processor time", *(f"{sum(s['cpu_s'] for s in r['starts']):.1f} s" for r in runs))
        row("peak memory", *(f"{r['peak_mib']:.0f} MiB" for r in runs))
        row("rollouts", *(r["rollouts"] for r in runs))
        for role in ("target", "optimizer"):
            row(f"{role} calls", *(_calls(r["calls"][role]) for r in runs))
        row("exit codes", *(", ".join(str(s["code"]) for s in r["starts"]) for r in runs))
        if name in ("failing", "outage"):
            row("unanswered rollouts in the records", *(r["unanswered"] for r in runs))
        if "same_best_skill" in runs[0]:
            row("same best skill", *(_yes(r["same_best_skill"]) for r in runs))
            row("same skill at each step", *(_yes(r["same_skills_as_undisturbed"]) for r in runs))
        if "calls_before_kill" in runs[0]:
            for role in ("target", "optimizer"):
                row(
                    f"{role} calls: before the kill, more than undisturbed in all",
                    *(
                        f"{r['calls_before_kill'][role]}, "
                        f"{r['calls_more_than_undisturbed'][role]:+d}"
                        for r in runs
                    ),
                )
    return "\n".join(lines)


def _share(score: float | None) -> str:
    return "none" if score is None else f"{score:.3f}"


def _seconds(values: dict[str, Any]) -> str:
    parts = [f"{start['seconds']:.1f}" for start in values["starts"]]
    return f"{values['seconds']:.1f} s" + (f" ({' + '.join(parts)})" if len(parts) > 1 else "")


def _calls(calls: dict[str, int]) -> str:
    return f"{calls['answered']}" + (f" + {calls['failed']} failed" if calls["failed"] else "")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    main()
