"""How much of a table of tests is run: all of it in ``make test-all``."""

import os

ALL_CELLS = "SKILLOPT_ALL_CELLS" in os.environ


def examples(count: int) -> int:
    """How many examples hypothesis draws where ``make test-all`` draws ``count``."""
    return count if ALL_CELLS else max(10, count // 4)
