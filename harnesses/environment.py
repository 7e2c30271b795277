"""The environment of helper processes that need none of the trainer's keys."""

from __future__ import annotations

import os

_KEPT = (
    "PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "LANG",
    "LC_ALL", "TZ",
)  # fmt: skip
"""What starting Python and its libraries can depend on."""


def without_keys(**more: str) -> dict[str, str]:
    """The variables of this process by which programs are found and text is read, and no others.

    Args:
        more: variables that are added, or that replace those.
    """
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | more
