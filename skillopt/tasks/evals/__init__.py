"""Eval files of other tools as tasks. A format is a module here and a line in reading.py."""
