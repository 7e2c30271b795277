"""How the simulated target does each kind of chore: functions whose source it runs as a script.

``script`` puts a function, its reading habit and its call into one shell command. Nothing here
knows a task: inputs are the files that the instruction names.
"""

from __future__ import annotations

import csv
import inspect
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

Interpret = Callable[..., Any]
Work = Callable[..., None]

_HEADER = """\
import csv, json, re
from pathlib import Path
from typing import Any, Callable

Interpret = Callable[..., Any]
"""


def script(instruction: str, work: Work, interpret: Interpret, quirks: Collection[str]) -> str:
    """A shell command that runs ``work`` in the current directory.

    It contains only the habit in use, so a trajectory shows what was done and nothing else.
    """
    source = "\n\n".join(inspect.getsource(part) for part in (files_named, interpret, work))
    style = "".join(f", {name}=True" for name in sorted(quirks))
    call = f"{work.__name__}({instruction!r}, {interpret.__name__}{style})"
    return f"python3 - <<'PY'\n{_HEADER}\n\n{source}\n{call}\nPY"


def files_named(instruction: str, ending: str = "") -> tuple[list[str], str]:
    """The existing files that an instruction names in backticks, and the one to be written."""
    names = list(dict.fromkeys(re.findall(r"`([\w./-]+\.\w+)`", instruction)))
    old = [name for name in names if Path(name).exists() and name.endswith(ending)]
    new = [name for name in names if not Path(name).exists()]
    return old, (new or old)[-1]


# Ledgers


def amount(text: str) -> float:
    return float(re.sub(r"[^0-9.-]", "", text))


def signed_amount(text: str) -> float:
    number = float(re.sub(r"[^0-9.-]", "", text))
    return -number if text.strip().startswith("(") else number


def fix_ledger(instruction: str, read: Interpret, sort_rows: bool = False) -> None:
    import openpyxl

    old, new = files_named(instruction)
    book = openpyxl.load_workbook(old[0])
    sheet = book["Ledger"]
    table: list[list[Any]] = [list(row) for row in sheet.iter_rows(values_only=True)]
    header, *rows = table
    column = header.index("Amount")
    for row in rows:
        row[column] = read(str(row[column]))
    if sort_rows:
        rows.sort(key=lambda row: [str(cell) for cell in row[1:]])
    totals: dict[str, float] = {}
    for number, row in enumerate(rows, start=2):
        account = str(row[header.index("Account")])
        totals[account] = round(totals.get(account, 0.0) + row[column], 2)
        for place, value in enumerate(row, start=1):
            sheet.cell(number, place).value = value
    summary = book.create_sheet("Totals")
    for line in [("Account", "Total"), *totals.items()]:
        summary.append(line)
    book.save(new)
    print("wrote", new)


# Reconciliations


def exact_id(text: str) -> str:
    return text.strip()


def loose_id(text: str) -> str:
    return text.strip().lstrip("0").upper()


def reconcile(
    instruction: str, read: Interpret, sort_rows: bool = False, thousands: bool = False
) -> None:
    old, new = files_named(instruction, ".csv")
    tables = [list(csv.DictReader(Path(name).read_text().splitlines())) for name in old[:2]]
    items, payments = sorted(tables, key=lambda rows: "reference" in rows[0])
    received: dict[str, float] = {}
    for payment in payments:
        key = read(payment["reference"])
        received[key] = received.get(key, 0.0) + float(payment["amount"])
    column = next(iter(items[0]))
    lines = []
    for item in items:
        paid = round(received.get(read(item[column]), 0.0), 2)
        status = "paid" if paid >= float(item["amount"]) else "partial" if paid else "unpaid"
        lines.append([item[column], status, f"{paid:,.2f}" if thousands else f"{paid:.2f}"])
    if sort_rows:
        lines.sort()
    with Path(new).open("w", newline="") as file:
        csv.writer(file).writerows([[column, "status", "paid"], *lines])
    print("wrote", new)


# Logs


def hour_written(stamp: str) -> str:
    return f"{stamp[:10]} {stamp[11:13]}:00"


def hour_utc(stamp: str) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromisoformat(stamp).astimezone(UTC):%Y-%m-%d %H:00}"


def count_errors(instruction: str, read: Interpret, unique_lines: bool = False) -> None:
    old, new = files_named(instruction)
    lines = Path(old[0]).read_text().splitlines()
    if unique_lines:
        lines = list(dict.fromkeys(lines))
    hours: dict[str, int] = {}
    for line in lines:
        stamp, level, *_ = line.split()
        if level == "ERROR":
            hours[read(stamp)] = hours.get(read(stamp), 0) + 1
    with Path(new).open("w", newline="") as file:
        csv.writer(file).writerows([("hour", "errors"), *sorted(hours.items())])
    print("wrote", new)


# JSON migrations


def leave_out(record: dict[str, Any], key: str) -> None:
    record.pop(key, None)


def set_null(record: dict[str, Any], key: str) -> None:
    record[key] = None


def migrate(instruction: str, read: Interpret, only_complete: bool = False) -> None:
    old, new = files_named(instruction, ".json")
    parts = [json.loads(Path(name).read_text()) for name in old[:2]]
    records, schema = sorted(parts, key=lambda part: isinstance(part, dict))
    result = []
    for record in records:
        item: dict[str, Any] = {}
        for key, about in schema["properties"].items():
            camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
            value = record.get(about.get("x-from", camel))
            if value is None:
                read(item, key)
            else:
                item[key] = int(value) if "integer" in about["type"] else str(value)
        if not only_complete or all(item.get(key) is not None for key in schema["properties"]):
            result.append(item)
    Path(new).write_text(json.dumps(result, indent=2) + "\n")
    print("wrote", new)


# Scripts


def code_one() -> int:
    return 1


def code_two() -> int:
    return 2


def repair_script(instruction: str, read: Interpret) -> None:
    import subprocess
    import sys

    match = re.search(r"python3 (\S+\.py) (\S+?)`", instruction)
    assert match, "the instruction gives no example call"
    name, sample = match.groups()
    text = Path(name).read_text()
    for _ in range(8):
        run = subprocess.run([sys.executable, name, sample], capture_output=True, text=True)
        hint = re.search(r"'(\w+)'[^']*\. Did you mean: '(\w+)'", run.stderr)
        if run.returncode == 0 or not hint:
            break
        wrong, right = hint.groups()
        at = int(re.findall(rf'{re.escape(name)}", line (\d+)', run.stderr)[-1]) - 1
        lines = text.split("\n")
        lines[at] = re.sub(rf"\b{wrong}\b", right, lines[at])
        text = "\n".join(lines)
        Path(name).write_text(text)
    if re.search(r"not exist|missing", instruction) and "except OSError" not in text:
        guarded = (
            "try:\n        sys.exit(main(sys.argv))\n    except OSError as error:\n"
            f"        print(error, file=sys.stderr)\n        sys.exit({read()})"
        )
        Path(name).write_text(text.replace("sys.exit(main(sys.argv))", guarded))
    print("wrote", name)


# Reports


def month_first(text: str) -> str:
    a, b, year = text.split("/")
    return f"{year}-{b}" if int(a) > 12 else f"{year}-{a}"


def day_first(text: str) -> str:
    _, month, year = text.split("/")
    return f"{year}-{month}"


def write_report(instruction: str, read: Interpret, thousands: bool = False) -> None:
    (source, *_), new = files_named(instruction)
    rows = list(csv.DictReader(Path(source).read_text().splitlines()))
    heading = re.findall(r"`(# [^`]+)`", instruction)[0]
    counted = heading.split()[1]
    months: dict[str, list[float]] = {}
    for row in rows:
        months.setdefault(read(row["date"]), []).append(float(row["amount"]))
    months = {month: months[month] for month in sorted(months)}
    months["Total"] = [amount for month in months.values() for amount in month]
    lines = [heading, "", f"| Month | {counted} | Amount |", "| --- | --- | --- |"]
    for month, amounts in months.items():
        total = f"{sum(amounts):,.2f}" if thousands else f"{sum(amounts):.2f}"
        lines.append(f"| {month} | {len(amounts)} | {total} |")
    Path(new).write_text("\n".join(lines) + "\n")
    print("wrote", new)
