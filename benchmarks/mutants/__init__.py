"""``make mutants``: which small wrongs in the code the fast tests do not notice.

The mutants are made by the operators of cosmic-ray and four of our own; what is tried on each are
the tests that run its line, in a process forked from one that has all modules loaded.
"""
