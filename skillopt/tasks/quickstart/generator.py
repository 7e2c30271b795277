"""Writes the quickstart task set: 60 tasks of six families in train, val and test.

In every split each family occurs, and a quarter of the tasks are free of their family's trap.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Split, Task
from skillopt.tasks.generated import generated
from skillopt.tasks.quickstart.chore import Chore
from skillopt.tasks.quickstart.families import ledger, logs, migrate, reconcile, repair, report

Make = Callable[[random.Random, bool], Chore]

FAMILIES: dict[str, Make] = {
    "ledger": ledger.make,
    "reconcile": reconcile.make,
    "logs": logs.make,
    "migrate": migrate.make,
    "repair": repair.make,
    "report": report.make,
}

# Tasks of a family by split, and how many of them are free of the trap. Columns add up to
# 24/16/20 tasks with 6/4/5 free ones; rows are assigned to the families in the order above.
_PLAN: tuple[dict[Split, tuple[int, int]], ...] = (
    {"train": (4, 1), "val": (3, 1), "test": (3, 1)},
    {"train": (4, 1), "val": (3, 1), "test": (3, 1)},
    {"train": (4, 1), "val": (3, 1), "test": (3, 0)},
    {"train": (4, 1), "val": (3, 0), "test": (3, 1)},
    {"train": (4, 1), "val": (2, 1), "test": (4, 1)},
    {"train": (4, 1), "val": (2, 0), "test": (4, 1)},
)

RUN_BY_VERIFIER = ("repair",)
"""Families whose verifier runs what the agent wrote."""
_TASK = """\
schema_version = "1.4"

[task]
name = "quickstart/{name}"
description = "{title}"
keywords = ["office", "{family}"]

[metadata]
category = "{family}"
untrusted_programs = {programs}

[agent]
timeout_sec = 180.0

[verifier]
timeout_sec = 120.0

[environment]
build_timeout_sec = 600.0
cpus = 1
memory_mb = 2048
storage_mb = 512
network_mode = "no-network"
"""
_DOCKERFILE = "FROM skillopt/agent-base:1\nWORKDIR /app\nCOPY files/ /app/\n"
_SOLVE = """\
#!/bin/bash
# Puts a right result into the working directory.
cp "$(dirname "$0")"/result/* .
"""


def source(config: TasksConfig, folder: Path) -> dict[Split, tuple[Task, ...]]:
    """The quickstart's tasks, written below ``folder``. A :data:`.TaskSource`."""
    return generated(generate, folder / f"quickstart-{config.seed}", config.seed)


def generate(target: Path, seed: int) -> None:
    """Write the task set into ``target/train|val|test``; the same seed gives the same bytes.

    Raises FileExistsError if ``target`` already contains one of these folders.
    """
    for (family, make), splits in zip(FAMILIES.items(), _PLAN, strict=True):
        number = 0
        for split, (count, free) in splits.items():
            traps = [True] * (count - free) + [False] * free
            random.Random(f"{seed}/{family}/{split}").shuffle(traps)
            for trap in traps:
                number += 1
                name = f"{family}-{number:02d}"
                chore = make(random.Random(f"{seed}/{name}"), trap)
                _write(target / split / name, family, chore, trap)


def trap_free(folder: Path) -> bool:
    """Whether a naive run of the generated task in ``folder`` is meant to pass (for tests)."""
    return bool(json.loads((folder / "tests" / "data.json").read_text())["trap_free"])


def _write(folder: Path, family: str, chore: Chore, trap: bool) -> None:
    checks = files("skillopt.tasks.quickstart") / "verifiers"
    data = json.dumps({**chore.data, "trap_free": not trap}, indent=1, sort_keys=True) + "\n"
    parts = {
        "task.toml": _TASK.format(
            name=folder.name,
            family=family,
            title=chore.title,
            programs=str(family in RUN_BY_VERIFIER).lower(),
        ).encode(),
        "instruction.md": (chore.instruction + "\n").encode(),
        "environment/Dockerfile": _DOCKERFILE.encode(),
        "solution/solve.sh": _SOLVE.encode(),
        "tests/test.sh": (checks / "test.sh").read_bytes(),
        "tests/verify.py": (checks / "verify.py").read_bytes(),
        "tests/family.py": (checks / f"{family}.py").read_bytes(),
        "tests/data.json": data.encode(),
    }
    parts |= {f"environment/files/{name}": content for name, content in chore.files.items()}
    parts |= {f"solution/result/{name}": content for name, content in chore.solution.items()}
    folder.mkdir(parents=True)
    for name, content in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
