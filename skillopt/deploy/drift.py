"""Reporting when a deployed skill differs from what was deployed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from skillopt.core.changes import settled, watching
from skillopt.deploy.actions import Standing, list_standing
from skillopt.deploy.ledger import Ledger


def watch_deployed(
    report: Callable[[Standing], None], stop: threading.Event, ledger_root: Path | None = None
) -> None:
    """Report each deployed skill whose files differ from what was deployed.

    Args:
        report: called with each deployment that drifts, and with each that is restored.
        stop: ends the watch.
        ledger_root: folder of the deployments' log; by default the user's own.
    """
    known: dict[str, str] = {}
    changed = threading.Event()
    changed.set()
    with Ledger(ledger_root) as ledger:
        named = [Path(standing.entry.target) for standing in list_standing(ledger)]
    # A link can be replaced, and so can what it leads to.
    targets = [
        *dict.fromkeys(path for name in named for path in (name, Path(os.path.realpath(name))))
    ]
    with watching(targets, changed) as look:
        while settled(changed, stop):
            look()
            with Ledger(ledger_root) as ledger:
                standing = list_standing(ledger)
            for one in standing:
                if known.get(one.entry.target, "unchanged") != one.state:
                    report(one)
                known[one.entry.target] = one.state
