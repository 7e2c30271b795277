"""SpreadsheetBench's verdict: each case's output against its gold. Soft is the share of cases that
pass, hard is all of them; the verified set has one case an item.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.limited import LimitError, limited
from skillopt.tasks.benchmarks.spreadsheetbench import reading
from skillopt.tasks.benchmarks.spreadsheetbench.positions import Scorer
from skillopt.tasks.finishing import ending
from skillopt.tasks.rewards import VerifierError

PROGRAM, RECALCULATION = "program", "recalculation"
"""Names of what is run on the agent's work before."""
SOLUTION = "solution.py"
CANNOT_BEGIN = 69
"""The exit code of a recalculation whose image lacks what it needs."""
NO_PYTHON = (126, 127)
"""The exit codes of a shell, or an engine, that finds no program to start."""
SHOWN = 400


@dataclass(frozen=True)
class Judge:
    """A task's verifier.

    Args:
        golds: the expected workbooks, one for each case.
        outputs: names of the agent's workbooks, in the same order.
        position, sheet: the item's ``answer_position`` and ``answer_sheet``.
        finished: names of what was run on the agent's work.
    """

    golds: tuple[Path, ...]
    outputs: tuple[str, ...]
    position: str
    sheet: str
    scorer: Scorer
    finished: tuple[str, ...] = ()

    def __call__(self, task: Task, workspace: Path, answer: str, rollout: Path) -> Reward:
        failures = self._results(rollout, PROGRAM)
        not_computed = self._results(rollout, RECALCULATION)
        passed, notes = 0, []
        for number, (gold, output) in enumerate(zip(self.golds, self.outputs, strict=True)):
            if failures[number]:
                told = [f"{SOLUTION} {failures[number]}"]
            else:
                told = self._compare(gold, workspace / output)
            if told and (why := not_computed[number]):
                told.append(f"its formulas were not computed: {why}")
            passed += not told
            notes += [f"{output}: {note}" for note in told]
        share = passed / len(self.golds)
        metrics = {"cases": float(len(self.golds)), "passed": float(passed)}
        return Reward(share, metrics, "\n".join(notes), solved=share == 1.0)

    def _compare(self, gold: Path, output: Path) -> list[str]:
        """Why an output does not pass; nothing if it does."""
        if not output.is_file():
            return ["there is no such file"]
        given = {
            "gold": str(gold), "found": str(output), "position": self.position,
            "sheet": self.sheet, "scorer": self.scorer,
        }  # fmt: skip
        try:
            told = limited(reading.judge, given)
        except LimitError as error:
            return [f"reading it {error}"]
        return [] if told["equal"] else told["notes"] or ["it does not pass"]

    def _results(self, rollout: Path, name: str) -> list[str]:
        """What a program reports of each case: why it failed, or an empty text.

        Raises:
            VerifierError: it could not begin.
        """
        if name not in self.finished:
            return [""] * len(self.golds)
        end = ending(rollout, name)
        if end.exit_code in NO_PYTHON or (name, end.exit_code) == (RECALCULATION, CANNOT_BEGIN):
            raise VerifierError(f"{name}: {end.output.strip()[-300:]}")
        if end.exit_code != 0:
            what = f"was ended at its {end.limit} limit" if end.limit else "ended its sandbox"
            return [what] * len(self.golds)
        return _texts(end.output, len(self.golds)) or ["left no report"] * len(self.golds)


def _texts(output: str, count: int) -> list[str]:
    """The list of texts in the last line that is one: what an agent wrote may print there too."""
    for line in reversed(output.splitlines()):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, list) and len(found) == count:
            return [str(each)[:SHOWN] for each in found]
    return []
