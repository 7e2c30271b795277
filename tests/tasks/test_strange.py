"""What is done with an agent's answer in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.strange import matches, schema_problem


@pytest.mark.parametrize(
    ("pattern", "text", "whole", "ignore_case", "found"),
    [
        ("b+", "abbc", False, False, True),
        ("b+", "abbc", True, False, False),
        ("ab+c", "abbc", True, False, True),
        ("B", "abbc", False, False, False),
        ("B", "abbc", False, True, True),
        ("ABBC", "abbc", True, True, True),
        ("", "", True, False, True),
        ("x", "", False, False, False),
    ],
)
def test_whether_a_pattern_matches(
    pattern: str, text: str, whole: bool, ignore_case: bool, found: bool
) -> None:
    assert matches([pattern, text, whole, ignore_case]) is found


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "integer"}, 3, ""),
        ({}, None, ""),
        ({"type": "integer"}, "3", "$: '3' is not of type 'integer'"),
        ({"properties": {"a": {"type": "null"}}}, {"a": [1]}, "$.a: [1] is not of type 'null'"),
        ({"type": "integer"}, "x" * 600, ("$: '" + "x" * 600)[:500]),
    ],
)
def test_what_is_wrong_with_a_value(schema: Any, value: Any, problem: str) -> None:
    assert schema_problem([schema, value]) == problem


def test_a_schema_reads_no_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps({"type": "integer"}))
    with pytest.raises(Exception, match="Unresolvable"):
        schema_problem([{"$ref": (tmp_path / "schema.json").as_uri()}, "3"])
