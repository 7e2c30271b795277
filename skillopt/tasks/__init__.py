"""Tasks: reading Harbor's task folders, their environments and verifiers; the quickstart set."""
