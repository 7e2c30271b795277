"""A run: its records, their log, and what is derived from them."""
