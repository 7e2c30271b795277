"""Tasks out of a repository's history: a commit that changes code and its tests is one."""
