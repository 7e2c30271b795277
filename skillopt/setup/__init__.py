"""Setting up a training for a skill: what is found on this machine, and what is written from it."""
