"""Rollouts on the nodes of a Ray cluster (``executor.kind: ray``)."""
