"""SpreadsheetBench as published, and its tasks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from sandboxes.engine import LIBREOFFICE_IMAGE
from skillopt.core.types import Finish, Split, Task
from skillopt.tasks.benchmarks.base import Benchmark, Home, Item, Kept, Options
from skillopt.tasks.benchmarks.spreadsheetbench.layout import read
from skillopt.tasks.benchmarks.spreadsheetbench.positions import Scorer, resolved
from skillopt.tasks.benchmarks.spreadsheetbench.score import (
    PROGRAM,
    RECALCULATION,
    SOLUTION,
    Judge,
)

HOME = Home(
    url="https://huggingface.co/datasets/KAKA22/SpreadsheetBench (also "
    "https://github.com/RUCKBReasoning/SpreadsheetBench, folder data)",
    get="spreadsheetbench_verified_400.tar.gz, or its unpacked folder",
    size="not stated there; the older set of 912 items, which has three cases each, is 91 MB",
    terms="CC BY-SA 4.0",
)
CASE_SECONDS = 120
"""Seconds for one case, as in the reference."""
_INSIDE = Path(__file__).parent / "inside"
_FAMILIES = {"cell": "cell_level", "sheet": "sheet_level"}


class SpreadsheetBenchOptions(Options):
    """``tasks.options`` of SpreadsheetBench."""

    setting: Literal["file", "program"] = "file"
    """``file``: the agent leaves the changed workbook. ``program``: it leaves ``solution.py``,
    which is run afterwards on every case, as in the reference."""
    scorer: Scorer = "public"
    """How a position is read; ``reference`` drops blanks and uses ``answer_sheet``."""
    preview: bool = False
    """Whether the prompt shows 5 rows and 20 columns of each sheet, as the reference's does."""
    recalculate: bool = False
    """Whether LibreOffice computes the formulas of the agent's workbooks before they are judged."""
    image: str | None = None
    """Image of the agent's sandbox, for one with more than openpyxl."""


def notes(items: Mapping[Split, Sequence[Item]]) -> list[str]:
    """The items whose golds or positions are broken."""
    return [
        f"{item.id} ({split}): {_PROBLEMS[problem]}: position {item.row['position']!r}"
        for split, of_split in items.items()
        for item in of_split
        for problem in item.row["problems"]
    ]


_PROBLEMS = {
    **{f"gold:{s}": f"no work can pass by the {s} scorer" for s in ("public", "reference")},
    **{f"input:{s}": f"the unchanged input passes by the {s} scorer" for s in
       ("public", "reference")},
    "uncached": "the gold has formulas there whose values are not stored, so that empty cells pass",
    "unreadable": "a workbook cannot be read",
}  # fmt: skip


def task(item: Kept, options: SpreadsheetBenchOptions) -> Task:
    """One request; the workbooks are in the workspace."""
    row, cases = item.row, item.row["cases"]
    golds = tuple(item.files / f"gold_{number}.xlsx" for number in range(1, cases + 1))
    outputs = _names("output", cases)
    shown = _names("input", cases if options.setting == "file" else 1)
    steps = list[Finish]()
    if options.setting == "program":
        steps.append(_run(item.files, outputs))
    if options.recalculate:
        steps.append(recalculation(outputs))
    return Task(
        name=item.id,
        instruction=_instruction(row, options, shown, outputs),
        digest="",
        family=next((f for word, f in _FAMILIES.items() if word in row["type"].lower()), "other"),
        docker_image=options.image,
        workspace=_workspace(item.files, shown),
        agent_timeout_s=600.0,
        answers=tuple(row["answers"]),
        finish=tuple(steps),
        verify=Judge(
            golds, outputs, row["position"], row["sheet"], options.scorer,
            tuple(step.name for step in steps),
        ),
    )  # fmt: skip


def _names(stem: str, count: int) -> tuple[str, ...]:
    """``input.xlsx``; with several cases ``input_1.xlsx`` and so on."""
    return tuple(f"{stem}{f'_{n}' if count > 1 else ''}.xlsx" for n in range(1, count + 1))


def _workspace(files: Path, names: Sequence[str]) -> Callable[[Path], None]:
    def workspace(target: Path) -> None:
        for number, name in enumerate(names, start=1):
            shutil.copyfile(files / f"input_{number}.xlsx", target / name)

    return workspace


def _run(files: Path, outputs: Sequence[str]) -> Finish:
    """Runs the agent's program on the input of each case."""

    def write(folder: Path) -> None:
        _script("program.py", outputs, folder)
        for number in range(1, len(outputs) + 1):
            shutil.copyfile(files / f"input_{number}.xlsx", folder / f"input_{number}.xlsx")

    return Finish(PROGRAM, write, timeout_s=_seconds(outputs))


def recalculation(outputs: Sequence[str]) -> Finish:
    """Has LibreOffice compute the formulas of the agent's workbooks."""

    def write(folder: Path) -> None:
        _script("recalculate.py", outputs, folder)

    return Finish(RECALCULATION, write, LIBREOFFICE_IMAGE, _seconds(outputs))


def _script(name: str, outputs: Sequence[str], folder: Path) -> None:
    shutil.copyfile(_INSIDE / name, folder / "run.py")
    (folder / "outputs.json").write_text(json.dumps(outputs), "utf-8")


def _seconds(outputs: Sequence[str]) -> float:
    return len(outputs) * (CASE_SECONDS + 10) + 30.0


def _instruction(
    row: Mapping[str, str], options: SpreadsheetBenchOptions, inputs: Sequence[str],
    outputs: Sequence[str],
) -> str:  # fmt: skip
    asked = _program(inputs[0]) if options.setting == "program" else _files(inputs, outputs)
    position = resolved(row["position"], row["sheet"], options.scorer)
    parts = [
        f"{asked} The result is read from the cells {position}; leave all others as they are.",
        f"Kind of request: {row['type']}",
        f"Request:\n{row['instruction']}",
    ]
    if options.preview:
        parts.append(f"The beginning of `{inputs[0]}`:\n{row['preview']}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _files(inputs: Sequence[str], outputs: Sequence[str]) -> str:
    given, made = (", ".join(f"`{name}`" for name in names) for names in (inputs, outputs))
    if len(inputs) == 1:
        return (
            f"Change the workbook {given} in the working directory as the request below asks, and "
            f"save the result there as {made}."
        )
    return (
        f"Change each of the workbooks {given} in the working directory as the request below "
        f"asks, and save the results there as {made}."
    )


def _program(example: str) -> str:
    return (
        f"Write a Python program `{SOLUTION}` into the working directory. It changes a workbook as "
        "the request below asks: it reads the one at INPUT_PATH and saves the result at "
        "OUTPUT_PATH. Both are variables that are set before it runs; do not set them. It may use "
        f"the standard library and openpyxl. `{example}` is such a workbook; the program is run "
        "afterwards, also on others of its form, so take from the workbook how many rows it has."
    )


BENCHMARK = Benchmark(
    name="spreadsheetbench", title="SpreadsheetBench (verified)", home=HOME, read=read, task=task,
    options=SpreadsheetBenchOptions, notes=notes,
)  # fmt: skip
