"""Gates: what decides whether a candidate becomes the current skill. One rule a file."""
