"""A process that owns something, and can be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CODE = "import sandboxes.owner as o, sys; print(o.current_owner(), flush=True); sys.stdin.read()"


@contextmanager
def owner_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that lives until the block's end if it is not killed before, and its owner's
    identity."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
