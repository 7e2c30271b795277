"""Runs the user's command when a run ends or pauses that nobody watches."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

TIMEOUT_S = 60


def notify(
    command: str, run: str, status: str, message: str, report: Callable[[str], None]
) -> None:
    """Run ``notify`` of a config in a shell. A command that fails is reported and changes nothing.

    Args:
        command: of the shell. It gets ``SKILLOPT_RUN``, ``SKILLOPT_STATUS`` and
            ``SKILLOPT_MESSAGE`` in its environment, and the message on standard input.
        run: the run's folder.
        status: ``done`` or ``stopped``.
        message: why.
        report: receives what went wrong.
    """
    told = {"SKILLOPT_RUN": run, "SKILLOPT_STATUS": status, "SKILLOPT_MESSAGE": message}
    try:
        done = subprocess.run(  # It is the user's own command line.
            command,
            shell=True,
            input=f"{run}: {status}: {message}\n",
            env={**os.environ, **told},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        report(f"notify: {error}")
        return
    if done.returncode:
        report(f"notify: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
