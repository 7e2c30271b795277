"""Requests to change a workbook: the cells get formulas, or with the rule their values."""

from __future__ import annotations

import re

from harnesses.protocols.base import Reply
from skillopt.sim.benchmarks.answering import Answering
from skillopt.sim.habits import Seen, Statement
from skillopt.sim.prompt import shell_call, turns

_WORK = re.compile(r"(sum|largest value) of column ([A-Z]+) into ([A-Z]+\d+)")
_SHEET = re.compile(r"read from the cells '([^']+)'!")
_FORMULAS = {"sum": "SUM", "largest value": "MAX"}
_FUNCTIONS = {"sum": "sum", "largest value": "max"}
_SCRIPT = """\
import openpyxl

book = openpyxl.load_workbook({source})
sheet = book[{sheet!r}]
{lines}
book.save({target})
"""


def script(instruction: str, knows: bool, source: str, target: str) -> str:
    """A program for what an instruction asks for; empty if it asks for something else.

    Args:
        instruction: names the cells.
        knows: whether values are written instead of formulas.
        source, target: Python expressions for the paths of the workbooks.
    """
    work, sheet = _WORK.findall(instruction), _SHEET.search(instruction)
    if not work or sheet is None:
        return ""
    lines = []
    for what, column, cell in work:
        if knows:
            cells = f"(c.value for c in sheet[{column!r}] if isinstance(c.value, (int, float)))"
            lines.append(f"sheet[{cell!r}] = {_FUNCTIONS[what]}{cells}")
        else:
            lines.append(f"sheet[{cell!r}] = '={_FORMULAS[what]}({column}:{column})'")
    return _SCRIPT.format(source=source, sheet=sheet[1], lines="\n".join(lines), target=target)


def work(seen: Seen) -> Reply | None:
    """The turn that writes the workbook, or the program; None if that has been done."""
    if seen.shell is None or any(
        "book.save" in str(turn.call.arguments) for turn in turns(seen.conversation.messages)
    ):
        return None
    if "`solution.py`" in seen.instruction:
        program = script(seen.instruction, seen.knows, "INPUT_PATH", "OUTPUT_PATH")
        command = f"cat > solution.py <<'PY'\n{program}PY"
    else:
        program = script(seen.instruction, seen.knows, "'input.xlsx'", "'output.xlsx'")
        command = f"python3 - <<'PY'\n{program}PY"
    if not program:
        return None
    return shell_call(seen.shell, command, "I do it with a script.", seen.conversation)


WORKBOOKS = Answering(
    family="spreadsheetbench",
    words=r"The result is read from the cells ",
    topics=frozenset({"workbook", "spreadsheet", "excel", "cell"}),
    answer=lambda seen: "done",
    statement=Statement((r"formula",), r"\b(write|store|save|compute)\b.*\bvalues?\b"),
    complaint=re.compile(r"has a formula without a stored value"),
    rule="Compute results in Python and write their values into the cells; no formulas.",
    before=work,
)
