"""Gates: the rules that decide whether a candidate becomes the current skill, one per file.

A new rule is a file with a class like :class:`skillopt.gates.strict.StrictGate`, and a line in
:mod:`skillopt.config.kinds`.
"""

from __future__ import annotations

from skillopt.config.kinds import GATES
from skillopt.config.schema import GateConfig
from skillopt.core.import_path import make
from skillopt.gates.base import Gate


def make_gate(config: GateConfig) -> Gate:
    """The gate that a config names.

    Args:
        config: metric, mix and options become keyword arguments of the gate's class.

    Raises:
        PluginError: an import path leads nowhere, or the class does not take these arguments.
    """
    settings = {"metric": config.metric, "mix": config.mix, **config.options}
    gate: Gate = make(GATES.get(config.kind, config.kind), "gate.kind", "decide", **settings)
    return gate
