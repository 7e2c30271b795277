"""Rollouts: what identifies one, where and how it runs, and where it is stored."""
