"""The parts of SciPy, which take a second to load: only where a test compares with them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return import_module(f"scipy.{name}")
