"""The results of a run for people: one page, as a file or live on loopback."""
