"""SearchQA: a question with search snippets; a short answer (Dunn et al. 2017)."""

from skillopt.tasks.benchmarks.searchqa.benchmark import BENCHMARK

__all__ = ["BENCHMARK"]
