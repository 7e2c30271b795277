"""The tables of docs/gates.md are those of what was measured, and reach what was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import candidates
from benchmarks.gate_runs import quickstart_table, table
from benchmarks.gates import POOLS, SIZES, _ratio, document, drawing
from skillopt.gates.auto import LARGE
from tests.helpers.documents import ROOT

TEXT = (ROOT / "docs" / "gates.md").read_text("utf-8")


@pytest.fixture(scope="module")
def results() -> Any:
    return json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8"))


def test_the_tables_are_those_of_the_last_run(results: Any) -> None:
    for name, text in document(results["gates"]).items():
        assert text in TEXT, name
    assert table(results["gate_runs"]) in TEXT
    assert quickstart_table(results["gate_runs"]) in TEXT
    for name, text in candidates.document(results["candidates"]).items():
        assert text in TEXT, name
    shown = (ROOT / "docs" / "images" / "gates.svg").read_text("utf-8")
    assert shown == drawing(results["gates"]["hard"])


def test_the_projects_gate_reaches_its_figures(results: Any) -> None:
    """Those of the sizes for which it is the default; for larger ones the strict gate decides."""
    least = {17: (1.35, 1.4), 40: (1.35, 1.2)}
    assert {size for size in SIZES if size < LARGE} == set(least)
    for size, (gain, equal_gain) in least.items():
        found = [_ratio(results["gates"]["hard"], size, pool) for pool in POOLS]
        same, rollouts, equal = (sum(column) / len(found) for column in zip(*found, strict=True))
        assert same >= gain and rollouts <= 1.5 and equal >= equal_gain
        assert min(one[2] for one in found) >= 0.95
