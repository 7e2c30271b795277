"""The project's own data folders, in a clone and in an installed package alike."""

from __future__ import annotations

from pathlib import Path


def resource(name: str) -> Path:
    """The path of the folder ``configs`` or ``dockerfiles``."""
    here = Path(__file__).parent.parent
    packaged = here / "_data" / name
    return packaged if packaged.is_dir() else here.parent / name
