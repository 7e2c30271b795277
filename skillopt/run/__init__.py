"""A run: its records, the log that keeps them, and what is derived from them."""
