"""DocVQA's scorers against the public code's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import named_task
from skillopt.tasks.benchmarks.docvqa.score import Judge, anls, answer_in, golds_of
from tests.helpers.parity import parity


@parity("docvqa")
def test_parity(row: dict[str, Any]) -> None:
    golds, reply, expected = golds_of(row["gold"]), row["input"]["reply"], row["expected"]
    answer = answer_in(reply)
    assert answer == expected["answer"]
    assert anls(answer, golds) == pytest.approx(expected["anls"])
    reward = Judge(tuple(golds), "reference")(named_task("t"), Path(), reply)
    assert (reward.hard, reward.soft) == (expected["hard"], pytest.approx(expected["soft"]))
    public = (row.get("public") or {}).get("lmms_eval_anls")
    if isinstance(public, dict):  # No gold at all: such items are left out of the tasks.
        with pytest.raises(ValueError):
            anls(answer, row["gold"], "public")
    elif public is not None:
        assert anls(answer, row["gold"], "public") == pytest.approx(public)
