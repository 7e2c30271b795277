"""Training: the loop, its plan, and starting or resuming a run."""
