"""What is said below a table that needs a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from harnesses.base import Status
from skillopt.cli.tables import UNOPENED, print_scores, print_test_scores, print_transfer
from skillopt.core.types import Rollout, named_task
from skillopt.evaluation.scoring import Row
from skillopt.evaluation.transfer import AgentModel, Cell


def printed(console: Console) -> str:
    return console.export_text().replace("\n", " ")


def row(opened: bool | None, first: Row | None = None) -> Row:
    rollout = Rollout(
        key="k",
        task=named_task("t"),
        status=Status.COMPLETED,
        skill_activated=opened,
        folder=Path(),
    )
    return Row("mine", "codex", "m", (rollout,), first)


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200)


@pytest.mark.parametrize(("opened", "hint"), [(False, True), (True, False), (None, False)])
def test_a_skill_that_is_never_opened_has_a_hint(
    opened: bool | None, hint: bool, console: Console
) -> None:
    share = None if opened is None else float(opened)
    hard = {"value": 0.0, "low": 0.0, "high": 0.5}
    print_test_scores(console, {"best": {"hard": hard, "gain": None, "skill_activated": share}})
    assert (UNOPENED in printed(console)) == hint
    print_scores(console, [row(None), row(opened)], "t")
    assert (UNOPENED in printed(console)) == hint
    compared = row(opened, row(None))
    cell = Cell("mine", AgentModel("codex", "m"), "test", compared, "", False, None)
    print_transfer(console, [cell])
    assert (UNOPENED in printed(console)) == hint
