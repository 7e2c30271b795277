"""Questions about the tables of bulletins: the row of the month is found in the prompt's pages, or
with a shell; with the rule, its figure is converted to the unit that is asked for.
"""

from __future__ import annotations

import re

from harnesses.protocols.base import Reply
from skillopt.sim.benchmarks.answering import Answering
from skillopt.sim.habits import Seen, Statement
from skillopt.sim.prompt import SHELLS, shell_call, turns

_QUESTION = re.compile(
    r"^Question: What were (.+?) in (\w+ \d{4}), in (\w+) of dollars\?$", re.MULTILINE
)
_FOLDER = re.compile(r"folder `([^`]+)`")
_CAPTION = re.compile(r"\(in (\w+) of dollars\)")
_UNITS = {"thousands": 1_000, "millions": 1_000_000}


def answer(seen: Seen) -> str:
    """The figure of the month; without the rule as it is printed."""
    asked = _QUESTION.search(seen.instruction)
    if asked is None:
        return ""
    what, month, unit = asked.groups()
    read = [turn.result.text for turn in turns(seen.conversation.messages) if turn.result]
    for text in (seen.instruction, *read):
        printed, caption = _figure(text, what, month), _CAPTION.search(text)
        if printed and caption and seen.knows:
            value = int(printed.replace(",", "")) * _UNITS[caption[1]] / _UNITS[unit]
            return f"{value:g}"
        if printed:
            return printed
    return ""


def _figure(text: str, what: str, month: str) -> str:
    """The cell of a Markdown table in the row of a month and the column of a name."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    column = 0
    for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines):
        heads = [cell.lower() for cell in cells]
        if what.lower() in heads:
            column = heads.index(what.lower())
        if cells[0] == month and 0 < column < len(cells):
            return cells[column]
    return ""


def search(seen: Seen) -> Reply | None:
    """The turn that looks for the bulletin, once; None if its page is in the prompt."""
    asked, folder = _QUESTION.search(seen.instruction), _FOLDER.search(seen.instruction)
    if asked is None or folder is None or seen.shell is None:
        return None
    row = f"| {asked[2]} |"
    command = f"grep -rlF '{row}' {folder[1]} | sort | head -n 1 | xargs cat"
    done = turns(seen.conversation.messages)
    ran = [str(t.call.arguments.get(SHELLS.get(t.call.name, ""))) for t in done]
    if row in seen.instruction or command in ran:
        return None
    return shell_call(seen.shell, command, "Let me find the bulletin.", seen.conversation)


TABLES = Answering(
    family="officeqa",
    words=r"issues of the U\.S\. Treasury Bulletin",
    topics=frozenset({"treasury", "bulletin", "table", "answer"}),
    answer=answer,
    statement=Statement((r"\bunits?\b|thousand|million",), r"\bconvert|\bdivide"),
    complaint=re.compile(r"in another unit than the question asks for"),
    rule="Convert a figure to the unit that the question asks for, such as thousands to millions.",
    before=search,
)
