"""What there is of each kind, by the name that a config uses: import paths, loaded when used.

A new gate, method, executor or task source is a file in its room and a line here. One of a user's
own needs no line: its import path stands in the config.
"""

from __future__ import annotations

GATES = {"strict": "skillopt.gates.strict:StrictGate"}
"""For ``gate.kind``."""

METHODS = {"skillopt": "skillopt.training.trainer:SkillOpt"}
"""For ``method.kind``."""

EXECUTORS = {"local": "skillopt.rollouts.executors:LocalExecutor"}
"""For ``executor.kind``."""

TASK_SOURCES = {
    "quickstart": "skillopt.tasks.quickstart.generator:source",
    "words": "skillopt.tasks.words.generator:source",
}
"""For ``tasks.source``; anything else is a folder or an import path."""
