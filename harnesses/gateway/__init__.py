"""The model gateway: the only thing an agent can reach, and the recorder of what it says."""
