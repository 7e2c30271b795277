"""Rollouts: what identifies one, where it runs, how it is run, and where it is kept."""
