"""The agents: one file each, and what agent programs share."""
