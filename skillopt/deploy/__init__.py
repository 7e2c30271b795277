"""Putting a skill where an agent finds it, proving it, and undoing it byte for byte."""
