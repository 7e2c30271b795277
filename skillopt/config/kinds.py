"""The project's own parts by the names that a config uses: import paths, loaded when used.

A new gate, method, executor or task source is a file in its room and a line here. A user's own
part needs no line: the config names its import path.
"""

from __future__ import annotations

GATES = {
    "auto": "skillopt.gates.auto:AutoGate",
    "fresh": "skillopt.gates.fresh:FreshGate",
    "strict": "skillopt.gates.strict:StrictGate",
}
"""Values of ``gate.kind``."""

METHODS = {
    "skillopt": "skillopt.training.trainer:SkillOpt",
    "none": "skillopt.methods.given:NoTraining",
    "human": "skillopt.methods.given:Human",
    "one_shot": "skillopt.methods.one_shot:OneShot",
    "gepa": "skillopt.methods.gepa:Gepa",
    "textgrad": "skillopt.methods.textgrad:TextGrad",
    "evoskill": "skillopt.methods.evoskill:EvoSkill",
    "trace2skill": "skillopt.methods.trace2skill:Trace2Skill",
}
"""Values of ``method.kind``."""

METHOD_PACKAGES = {"gepa": "gepa"}
"""Packages that run a method, whose version its result depends on."""

EXECUTORS = {
    "local": "skillopt.rollouts.executors:LocalExecutor",
    "ray": "skillopt.rollouts.cluster.executor:RayExecutor",
}
"""Values of ``executor.kind``."""

BENCHMARKS = {
    "searchqa": "skillopt.tasks.benchmarks.searchqa",
    "docvqa": "skillopt.tasks.benchmarks.docvqa",
    "livemath": "skillopt.tasks.benchmarks.livemath",
    "alfworld": "skillopt.tasks.benchmarks.alfworld",
    "officeqa": "skillopt.tasks.benchmarks.officeqa",
    "spreadsheetbench": "skillopt.tasks.benchmarks.spreadsheetbench.benchmark",
}
"""The benchmarks of ``skillopt data``, which are task sources too."""

TASK_SOURCES = {
    "quickstart": "skillopt.tasks.quickstart.generator:source",
    "words": "skillopt.tasks.words.generator:source",
    **{name: f"{package}:BENCHMARK.source" for name, package in BENCHMARKS.items()},
}
"""Values of ``tasks.source``; anything else is a folder, eval files or an import path."""
