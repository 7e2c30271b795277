"""``python -m benchmarks.reproduce NAME HARNESS PATH [--set KEY=VALUE …]``: one cell of the paper's
table, from the public download to its scores.

PATH is the download, or the folder that ``skillopt data prepare`` made of it. All else that is
needed is the key of the config's service. Each command is printed before it runs; if one is
interrupted, the same call resumes. ``--dry-run`` prints what the training would need, and stops.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.paper import HARNESSES, PAPER, gain, table

PREPARED = "benchmark.json"
CHAT = {"alfworld": ["--set", "tasks.options.protocol=steps"]}
"""What the paper's direct chat has beside the config, which is that of all harnesses."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.reproduce", description=__doc__)
    parser.add_argument("name", choices=sorted(PAPER))
    parser.add_argument("harness", choices=HARNESSES)
    parser.add_argument("path", type=Path, help="the download, or what was prepared of it")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    name, harness = given.name, given.harness

    tasks = given.path
    if not (tasks / PREPARED).is_file():
        tasks = Path("data") / name
        if not (tasks / PREPARED).is_file():
            _skillopt("data", "prepare", name, "--from", str(given.path))
    config = f"{name}/{harness}"
    settings = ["--set", f"tasks.path={tasks}", "--set", f"runs={given.runs}"]
    settings += CHAT.get(name, []) if harness == "direct" else []
    settings += [part for setting in given.settings for part in ("--set", setting)]
    if given.dry_run:
        _skillopt("train", config, "--dry-run", *settings)
        return
    _skillopt("train", config, *settings)
    run = given.runs / f"{name}-{harness}"
    scores = ["eval", "none", str(run), "--config", config, "--split", "test", "--json"]
    rows = json.loads(_skillopt(*scores, *settings, printed=False))
    measured = run / "paper.json"
    measured.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    print(f"wrote {measured}")
    print(table({name: rows}) if harness == "direct" else gain(name, harness, rows))


def _skillopt(*words: str, printed: bool = True) -> str:
    """Run a command of the project; what it printed, if that is not shown."""
    print(f"$ skillopt {shlex.join(words)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "skillopt", *words],
        stdout=None if printed else subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout or ""


if __name__ == "__main__":
    main(sys.argv[1:])
