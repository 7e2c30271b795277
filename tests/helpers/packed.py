"""Stored rollouts as earlier versions kept them."""

from __future__ import annotations

import shutil
from pathlib import Path

from skillopt.core.packed import unpack


def made_plain(folder: Path) -> Path:
    """Make the folder of a packed rollout one with plain files."""
    whole = folder.parent / f"{folder.name}.plain"
    whole.mkdir()
    unpack(folder, whole)
    shutil.rmtree(folder)
    return whole.rename(folder)
