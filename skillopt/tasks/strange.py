"""What is done with an agent's answer in a process of its own (see ``benchmarks/limited.py``),
because a hostile one may take very long. That process loads this module alone, for each answer."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any


def matches(given: Any) -> bool:
    """Whether a pattern matches, from ``[pattern, text, whole, ignore_case]``."""
    pattern, text, whole, ignore_case = given
    compiled = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    return (compiled.fullmatch if whole else compiled.search)(text) is not None


def schema_problem(given: Any) -> str:
    """What is wrong with a value, from ``[schema, value]``; empty if nothing."""
    jsonschema, referencing = import_module("jsonschema"), import_module("referencing")
    schema, value = given
    kind = jsonschema.validators.validator_for(schema)
    error = jsonschema.exceptions.best_match(
        kind(schema, registry=referencing.Registry()).iter_errors(value)
    )
    return f"{error.json_path}: {error.message}"[:500] if error else ""
