"""Logs of sessions with the real programs, in ``tests/tasks/drafts/logs``."""

from __future__ import annotations

from pathlib import Path

LOGS = Path(__file__).parents[1] / "tasks" / "drafts" / "logs"
