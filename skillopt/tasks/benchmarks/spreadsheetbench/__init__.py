"""SpreadsheetBench: a request to change a workbook; its cells are compared (Ma et al. 2024)."""

from skillopt.tasks.benchmarks.spreadsheetbench.benchmark import BENCHMARK

__all__ = ["BENCHMARK"]
