"""How much of a table of tests is run: all of it in ``make test-all``."""

import os
from collections.abc import Sequence
from typing import Any

ALL_CELLS = "SKILLOPT_ALL_CELLS" in os.environ


def examples(count: int) -> int:
    """How many examples hypothesis draws where ``make test-all`` draws ``count``."""
    return count if ALL_CELLS else max(10, count // 4)


def cells(rows: Sequence[Any], columns: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The cells of a table: all in ``make test-all``, else of each row and column at least one."""
    if ALL_CELLS:
        return [(row, column) for row in rows for column in columns]
    count = max(len(rows), len(columns))
    return [(rows[i % len(rows)], columns[i % len(columns)]) for i in range(count)]
