"""Drafts of tasks from people's sessions with agents, and their review."""
