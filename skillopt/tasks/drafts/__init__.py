"""Drafts of tasks from people's sessions with agents, and their review."""

MARKER, DRAFT = "drafts.json", "draft.yaml"
"""The files by which a folder of drafts, and that of one draft, are known."""
