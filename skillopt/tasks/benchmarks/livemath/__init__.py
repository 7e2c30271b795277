"""LiveMathematicianBench: a recent theorem as a multiple-choice question."""

from skillopt.tasks.benchmarks.livemath.benchmark import BENCHMARK

__all__ = ["BENCHMARK"]
