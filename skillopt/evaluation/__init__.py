"""Evaluation: scores with intervals, comparisons, transfer, watching."""
