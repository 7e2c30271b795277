"""The agents: one file each, and what command-line agents share."""
