"""The model gateway: all that an agent can reach, and the recorder of its traffic."""
