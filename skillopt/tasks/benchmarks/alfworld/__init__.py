"""ALFWorld: household tasks as a text game (Shridhar et al. 2021)."""

from skillopt.tasks.benchmarks.alfworld.benchmark import BENCHMARK

__all__ = ["BENCHMARK"]
