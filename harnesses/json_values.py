"""JSON values: reading them as text that UTF-8 can express, and merging them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile(rb"\\u[dD]")


def loads(raw: str | bytes) -> Any:
    """JSON as a value that can be written as UTF-8: a lone surrogate, which JSON can escape and
    UTF-8 cannot express, becomes a question mark. Raises ValueError for text that is not JSON or is
    nested too deeply."""
    try:
        value = json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    found = _SURROGATE.search(raw) if isinstance(raw, bytes) else "\\ud" in raw or "\\uD" in raw
    if found:
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; if both have a value, that of ``above`` counts."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        found[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return found
