"""Setting up a training: what is found, and what is written."""
