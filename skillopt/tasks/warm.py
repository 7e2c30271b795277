"""What a task's tests fetch is kept for its next verdicts, which begin with what is there then.

After the first verdict for which tests reached a host outside, they are run on the workspace that
the task starts with, and their container and home are kept. Both are used from then on if the tests
give the same verdict there once more. So what one agent's work made the tests leave never reaches
the verdict on another's.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandboxes.base import SandboxError
from sandboxes.trees import entries_below, remove_tree
from skillopt.core.types import Reward

WARM = "skillopt/warm"
"""The repository of the images."""
HOME_BYTES = 1024 * 1024 * 1024
"""The most bytes of a home that is kept."""
UNUSABLE = "-"
"""In place of an image's name: the tests do not judge the same with what they have left."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What tests start with, and what is kept of them.

    Args:
        image: that they run in.
        home: content of their home; None for an empty one.
        keep_as: name of an image that is made of their container; empty for none.
        keep_home: a folder that does not exist yet, for their home as they leave it.
    """

    image: str
    home: Path | None = None
    keep_as: str = ""
    keep_home: Path | None = None


def warm_up(
    cold: str,
    key: str,
    home: Path,
    ask: Callable[[Start], Reward | None],
    discard: Callable[[str], None],
) -> str:
    """Make the image and the home that later verdicts start with.

    Args:
        cold: the image that tests start with otherwise.
        key: of the task, its image and the verifier's settings.
        home: folder to keep the home in.
        ask: runs the tests on the initial workspace; their verdict, None if they give none.
        discard: removes an image, if it is there.

    Returns:
        The image's name, or :data:`UNUSABLE`.
    """
    name = f"{WARM}:{key[:24]}"
    remove_tree(home)
    try:
        first = ask(Start(cold, keep_as=name, keep_home=home))
        if first is not None and home.is_dir() and _size(home) <= HOME_BYTES:
            again = ask(Start(name, home=home))
            if again is not None and again.soft == first.soft:
                return name
    except (SandboxError, OSError) as error:
        _LOG.warning("what the tests fetch is not kept: %s", error)
    remove_tree(home)
    try:
        discard(name)
    except SandboxError as error:
        _LOG.warning("%s", error)
    return UNUSABLE


def copy_home(source: Path, target: Path) -> None:
    """Copy the content of a kept home into a new, empty one; or a home to where it is kept."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def _size(folder: Path) -> int:
    return sum(entry.stat(follow_symlinks=False).st_size for entry in entries_below(folder))
