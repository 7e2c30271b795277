"""Putting a skill where an agent finds it, proving it, and taking it back byte for byte."""
