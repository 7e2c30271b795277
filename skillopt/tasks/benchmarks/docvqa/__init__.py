"""DocVQA: a question about the image of a page (Mathew et al. 2021)."""

from skillopt.tasks.benchmarks.docvqa.benchmark import BENCHMARK

__all__ = ["BENCHMARK"]
