"""Doing something with the rights of an ordinary user, also if root runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

UID = 1000


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of an ordinary user, who can enter all folders above it."""
    # Below pytest's own folder no other user can enter.
    with TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, UID, UID)
        yield folder


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """As root, the whole process is an ordinary user in this context; file rights bind it."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(UID, UID, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
