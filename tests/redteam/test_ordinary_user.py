"""What this folder tries must have the same outcomes if an ordinary user runs the project: root can
read everything, an ordinary user must first have the rights."""

from __future__ import annotations

import os
import re

import pytest

from tests.helpers.cells import ALL_CELLS
from tests.helpers.ordinary_user import ordinary_user

TESTS = (
    "tests/redteam/test_redteam.py",
    "tests/sandboxes/test_trees.py",
    "tests/tasks/test_judging.py",
    "tests/tasks/test_links.py",
    "tests/tasks/test_untrusted.py",
)
RIGHTS = "test_trees or cannot or entered or unread or (redteam and (host or root))"
"""The cases in which the rights of the user matter. ``make test-all`` runs the others too."""


FEW = "redteam and (host or root) and not long and not names"
"""The cases that ``make test`` runs where the engine sees nothing of the user's files."""
FAILURES = (
    "tests/integration/test_faults.py",
    "tests/integration/test_isolation.py",
    "tests/run/test_killed.py",
)
SETS = {
    "mounts": (False, TESTS, RIGHTS, (25, 100)),
    "copy": (True, TESTS[:1], FEW, (8, 100)),
    "copy-failures": (True, FAILURES, "", (20, 40)),
}
"""By name: whether files are copied, the tests, those that ``make test`` runs, and the least number
of them and of all."""


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(os.getuid() != 0, reason="all tests are run by an ordinary user already")
@pytest.mark.parametrize("name", SETS)
def test_the_set_has_the_same_outcomes_for_an_ordinary_user(name: str) -> None:
    far, tests, few, (some, all_) = SETS[name]
    if not few and not ALL_CELLS:
        pytest.skip("make test-all runs it")
    try:
        with ordinary_user(far) as user:
            said = user.pytest("-n", "2", *([] if ALL_CELLS else ["-k", few]), *tests)
    except LookupError as error:
        pytest.skip(str(error))
    *_, summary, ended = (line for line in said.splitlines() if line.strip())
    passed = re.search(r"(\d+) passed", summary)
    least = all_ if ALL_CELLS else some
    assert passed and int(passed[1]) > least and "skipped" not in summary, said[-5000:]
    assert ended == "exit code 0", said[-5000:]
