"""Trajectories, built from what went over the wire."""
