"""What came of a run, for people to look at: one page, as a file or live on loopback."""
