"""Hidden checks of a repaired script: it is run on hidden files, and on one that is missing."""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skillopt.tasks.quickstart.verifiers.verify import Checks


def verify(data: dict[str, Any], checks: Checks) -> None:
    source = checks.content(data["target"])
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / data["target"]
        script.write_bytes(source)
        for number, table in enumerate(data["tables"], start=1):
            with (script.parent / "data.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([data["header"], *table])
            run = checks.run_program([sys.executable, "-I", script.name, "data.csv"], folder)
            if run.code != 0:
                problem = f"on table {number} the script does not end normally"
                if "Traceback" in run.stderr:
                    problem += ": " + run.stderr.strip().splitlines()[-1][:120]
                checks.that(False, problem)
            else:
                checks.that(
                    run.stdout.split() == _lines(data["how"], table),
                    f"on table {number} the script prints other figures than it should",
                )
        run = checks.run_program([sys.executable, "-I", script.name, "missing.csv"], folder)
    checks.that(
        "Traceback" not in run.stderr and bool(run.stderr.strip()) and not run.stdout.strip(),
        "a missing input file is not reported by a message on standard error alone",
    )
    checks.that(
        run.code == 2,
        f"for a missing input file the script ends with exit code {run.code}, "
        "which is not our code for bad input",
    )


def _lines(how: str, table: list[list[str]]) -> list[str]:
    result: dict[str, int] = {}
    for _, key, text in table:
        value = int(text)
        if how == "total":
            value += result.get(key, 0)
        elif how == "largest":
            value = max(value, result.get(key, 0))
        result[key] = value
    return [f"{key},{value}" for key, value in sorted(result.items())]
