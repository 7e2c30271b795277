"""Words and their kinds: questions that a model of 135 million parameters can learn to answer."""
