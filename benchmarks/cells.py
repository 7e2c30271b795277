"""``python -m benchmarks.cells [NAME…]``: a step of training in each of the 18 cells of the paper's
benchmarks, on the sets of the tests with the simulated model.

Writes ``benchmarks/cells.json`` and the table of ``docs/benchmarks.md``. Takes ten minutes.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.needs import need
from benchmarks.paper import HARNESSES
from skillopt.config.kinds import BENCHMARKS
from tests.helpers.training_step import train_step

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("cells.json")
DOCUMENT = ROOT / "docs" / "benchmarks.md"
_HEAD = (
    "| benchmark | harness | tested offline: seconds | rollouts | solved before → after | commit "
    "| a real run: training rollouts | test rollouts | tokens | cost, USD |",
    "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
)


def table(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """What was measured, and what a real run needs; one line a cell, as Markdown."""
    lines = list(_HEAD)
    for name in BENCHMARKS:
        for harness in HARNESSES:
            if (cell := cells.get(f"{name}/{harness}")) is None:
                continue
            own = 0.0 if harness == "direct" else cell["prompt_tokens"] / cell["requests"]
            real = need(name, harness, own)
            costs = dict.fromkeys(map(_rounded, sorted(real.usd or ())))
            cost = " to ".join(costs) or "not known"
            lines.append(
                f"| {name} | {harness} | {cell['seconds']:.0f} | {cell['rollouts']} | "
                f"{cell['before']:.0%} → {cell['after']:.0%} | {cell['commit']} | "
                f"{real.training:,} | {real.test:,} | {_rounded(real.tokens / 1e6)} M | {cost} |"
            )
    return "\n".join(lines)


def _rounded(value: float) -> str:
    """A number with two digits that count: what it is made of is not known better."""
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def put_table(document: str, found: str) -> str:
    """A document with its table replaced, which begins with the same line."""
    head, _, rest = document.partition(_HEAD[0])
    if not rest:
        raise ValueError(f"the document has no table that begins with {_HEAD[0]}")
    _, end, after = rest.partition("\n\n")
    return head + found + end + after


def main(names: list[str]) -> None:
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    cells = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    for name in names or BENCHMARKS:
        for harness in HARNESSES:
            with tempfile.TemporaryDirectory() as folder:
                step = train_step(name, harness, Path(folder))
            cells[f"{name}/{harness}"] = asdict(step) | {"commit": commit}
            print(table({f"{name}/{harness}": cells[f"{name}/{harness}"]}).splitlines()[-1])
            RESULTS.write_text(json.dumps(cells, indent=2) + "\n", "utf-8")
    DOCUMENT.write_text(put_table(DOCUMENT.read_text("utf-8"), table(cells)), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
