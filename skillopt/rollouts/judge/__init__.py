"""Judges by a model what a task says in words about its result.

It is here and not with the tests of tasks because it reads trajectories and asks a model through
the gateway, which tasks know nothing of.
"""
