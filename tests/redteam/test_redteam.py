"""The red-team set: hostile rollouts in real containers, each with its expected outcome."""

from __future__ import annotations

import pytest

from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.redteam.attempt import Case, attempt
from tests.redteam.gateway import GATEWAY
from tests.redteam.judging import JUDGING
from tests.redteam.leaving import LEAVING, RUNNING, TAMPERING
from tests.redteam.reading import CHANGING, KERNEL, READING
from tests.redteam.remains import REMAINS
from tests.redteam.rooted import ROOTED

CASES = [
    *READING, *CHANGING, *KERNEL, *GATEWAY, *LEAVING, *TAMPERING, *RUNNING, *JUDGING, *REMAINS,
    *ROOTED,
]  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.area}: {case.name}")
def test_the_attack_has_its_expected_outcome(case: Case, lab: MakeLab) -> None:
    model = ScriptedAgentModel([])
    case.check(attempt(case, lab(model), model))


def test_the_set_is_whole() -> None:
    """At least ninety cases, each named once and with its outcome in words."""
    assert len({case.name for case in CASES}) == len(CASES) >= 90
    assert all(case.expected for case in CASES)
