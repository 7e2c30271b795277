"""Configuration: its schema, reading it, and what its names refer to."""
