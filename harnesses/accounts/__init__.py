"""Sign-ins of the person who runs this: their tokens, where they are kept, how they are renewed."""
