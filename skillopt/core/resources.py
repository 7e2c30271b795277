"""The project's own folders: its data, in a clone and in an installed package, and the user's."""

from __future__ import annotations

import os
from pathlib import Path


def resource(name: str) -> Path:
    """The path of the folder ``configs`` or ``dockerfiles``."""
    here = Path(__file__).parent.parent
    packaged = here / "_data" / name
    return packaged if packaged.is_dir() else here.parent / name


def state_folder() -> Path:
    """The user's folder for what the project remembers: ``$XDG_STATE_HOME/skillopt``."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "skillopt"
