"""SearchQA's scorer against the public code's tables, and its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from skillopt.tasks.benchmarks.searchqa.benchmark import cut
from skillopt.tasks.benchmarks.searchqa.score import score
from tests.helpers.parity import parity


@parity("searchqa")
def test_parity(row: dict[str, Any]) -> None:
    expected, public = row["expected"], row["public"]
    found = score(row["input"]["reply"], row["gold"])
    assert found.answer == expected["answer"]
    assert (found.em, found.sub_em) == (expected["em"], expected["sub_em"])
    assert found.f1 == pytest.approx(expected["f1"])
    if row["gold"]:  # Tasks without an answer are left out; the public code raises.
        other = score(row["input"]["reply"], row["gold"], "public")
        assert (other.em, other.f1) == (public["mrqa_em"], pytest.approx(public["mrqa_f1"]))


@pytest.mark.parametrize(
    ("context", "chars", "kept"),
    [
        ("[DOC] one [DOC] two", None, "[DOC] one [DOC] two"),
        ("[DOC] one [DOC] two", 19, "[DOC] one [DOC] two"),
        ("[DOC] one [DOC] two", 18, "[DOC] one"),
        ("[DOC] a long first snippet", 10, "[DOC] a lo"),
        ("before [DOC] one", 10, "before"),
    ],
)
def test_a_context_is_cut_between_snippets(context: str, chars: int | None, kept: str) -> None:
    assert cut(context, chars) == kept
