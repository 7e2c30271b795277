"""A side-by-side of the reference implementation (PyPI ``skillopt``) and this project.

Both run on the same scripted model endpoint and the same items: it compares the machinery. It is
not about what a language model learns.
"""
