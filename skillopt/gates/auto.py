"""The default gate: the project's for small selection splits, the paper's for large ones."""

from __future__ import annotations

from dataclasses import dataclass

from skillopt.config.schema import Metric
from skillopt.core.types import GateDecision
from skillopt.gates.base import Trial
from skillopt.gates.fresh import FreshGate
from skillopt.gates.strict import StrictGate

LARGE = 64
"""Selection tasks from which on the strict gate decides. In so large a sample luck is small, and
rollouts buy more as further steps than as repetitions (docs/gates.md has the table)."""


@dataclass(frozen=True)
class AutoGate:
    """Decides as :class:`FreshGate` for fewer than ``large`` tasks, else as :class:`StrictGate`.

    Args:
        metric: which reward counts.
        mix: weight of the soft reward if the metric is ``mixed``.
        large: tasks from which on the strict gate decides.
    """

    metric: Metric = "hard"
    mix: float = 0.5
    large: int = LARGE

    def decide(self, trial: Trial) -> GateDecision:
        """Decide by the gate for this number of tasks."""
        small = len(trial.tasks) < self.large
        gate = FreshGate(self.metric, self.mix) if small else StrictGate(self.metric, self.mix)
        return gate.decide(trial)
