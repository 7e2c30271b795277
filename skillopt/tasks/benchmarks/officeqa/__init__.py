"""OfficeQA: questions about the tables of U.S. Treasury Bulletins (Databricks 2025)."""

from skillopt.tasks.benchmarks.officeqa.benchmark import BENCHMARK

__all__ = ["BENCHMARK"]
