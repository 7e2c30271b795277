"""One chore whose result depends on the skill: amounts in parentheses."""

from __future__ import annotations

from pathlib import Path

TASK = (
    "The amounts in `ledger.xlsx` were typed as text. Please fix the spreadsheet and save it as "
    "`fixed.xlsx`: in the sheet `Ledger` the Amount column must hold real numbers. Add a sheet "
    "`Totals` with the columns Account and Total."
)


def ledger(workspace: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Ledger"
    for row in (["Date", "Account", "Description", "Amount"], ["d", "Rent", "x", "(10.00)"]):
        sheet.append(row)
    book.save(workspace / "ledger.xlsx")
    (workspace / "ledger.xlsx").chmod(0o666)


def amount(workspace: Path) -> object:
    import openpyxl

    return openpyxl.load_workbook(workspace / "fixed.xlsx")["Ledger"]["D2"].value
