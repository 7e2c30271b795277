"""Reads the parity tables of the benchmarks' scorers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PARITY = Path(__file__).parents[1] / "tasks" / "benchmarks" / "parity"


def parity(name: str) -> Any:
    """A mark that runs a test once for each row of a table, as its argument ``row``."""
    lines = (PARITY / f"{name}.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return pytest.mark.parametrize("row", rows, ids=[row["id"] for row in rows])
