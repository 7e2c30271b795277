"""A spreadsheet to fix: amounts typed as text become numbers, and a sheet of totals is added.

House convention: an amount in parentheses is negative.
"""

from __future__ import annotations

import random
from typing import Any

from skillopt.tasks.quickstart.chore import CUSTOMERS, Cell, Chore, days, money, xlsx_bytes

_ACCOUNTS = (
    ("Travel", "Office supplies", "Rent", "Consulting", "Software"),
    ("4000 Sales", "4100 Returns", "5000 Materials", "6200 Freight", "6900 Sundry"),
    ("Kitchen", "Bar", "Events", "Deliveries", "Wages"),
    ("Vehicles", "Fuel", "Tolls", "Repairs", "Insurance"),
)
_STEMS = ("ledger", "cashbook", "expenses", "postings", "bookings")
_WORDINGS = (
    "The amounts in `{source}` were typed as text, so nothing adds up. Please fix the spreadsheet "
    "and save it as `{target}`: in the sheet `Ledger` the Amount column must hold real numbers, "
    "everything else stays as it is, rows in the same order. Add a sheet `Totals` with the columns "
    "Account and Total, one row per account in the order in which they first appear.",
    "Our bookkeeper's workbook `{source}` has an Amount column full of text. Turn it into numbers "
    "(same rows, same order, other columns untouched) and add a `Totals` sheet: header Account, "
    "Total, then each account once, in order of first appearance, with the sum of its amounts. "
    "Keep the sheet name `Ledger`. Save the result as `{target}`.",
    "I need `{target}`, a repaired copy of the Excel file `{source}`. Repaired means: sheet "
    "`Ledger` keeps all rows in their order but its Amount cells are numeric; a second sheet "
    "`Totals` (columns Account, Total) sums them per account, accounts in order of appearance.",
)


def make(rng: random.Random, trap: bool) -> Chore:
    """One ledger of 18 to 40 rows; with ``trap``, about a quarter of them are in parentheses."""
    accounts = rng.sample(rng.choice(_ACCOUNTS), rng.randint(3, 5))
    dates = days(rng, rng.randint(18, 40))
    currency = rng.choice(("", "", "$", "EUR "))
    rows: list[list[Cell]] = []
    records: list[dict[str, Any]] = []
    for number, day in enumerate(dates):
        cents = money(rng)
        style = "parentheses" if trap and (number % 5 == 2 or rng.random() < 0.1) else "plain"
        if style == "plain" and rng.random() < 0.12:
            style = "minus"
        written = f"{currency}{cents / 100:,.2f}"
        written = {"parentheses": f"({written})", "minus": f"-{written}"}.get(style, written)
        value = cents / 100 if style == "plain" else -cents / 100
        left = [day.isoformat(), rng.choice(accounts), f"{rng.choice(CUSTOMERS)} #{number + 101}"]
        rows.append([*left, written])
        records.append({"row": left, "style": style, "value": value})
    source = f"{rng.choice(_STEMS)}-{dates[0]:%Y-%m}.xlsx"
    target = source.replace(".xlsx", rng.choice(("-fixed.xlsx", "-clean.xlsx", "-numeric.xlsx")))
    header = ["Date", "Account", "Description", "Amount"]
    totals: dict[str, float] = {}
    for record in records:
        account = record["row"][1]
        totals[account] = round(totals.get(account, 0) + record["value"], 2)
    summary: list[list[Cell]] = [["Account", "Total"]]
    summary += [[account, total] for account, total in totals.items()]
    fixed = [[*record["row"], record["value"]] for record in records]
    return Chore(
        title="Fix the amounts of a ledger",
        instruction=rng.choice(_WORDINGS).format(source=source, target=target),
        files={source: xlsx_bytes({"Ledger": [header, *rows]})},
        data={"target": target, "header": header, "records": records},
        solution={target: xlsx_bytes({"Ledger": [header, *fixed], "Totals": summary})},
    )
