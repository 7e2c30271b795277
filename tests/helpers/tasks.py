"""Folders of tasks, written by hand."""

from __future__ import annotations

from pathlib import Path


def question(folder: Path, answer: str = "food\n") -> Path:
    for name, text in {
        "task.toml": 'schema_version = "1.4"\n',
        "instruction.md": "Input: bread\nOutput:\n",
        "tests/answer.txt": answer,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def make_task(folder: Path, verify: str, timeout: float = 60) -> Path:
    for name, text in {
        "task.toml": f'schema_version = "1.4"\n[agent]\ntimeout_sec = {timeout}\n'
        "[verifier]\ntimeout_sec = 30.0\n[environment]\nmemory_mb = 1536\nstorage_mb = 64\n",
        "instruction.md": "Do it.\n",
        "environment/Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /app\n",
        "tests/test.sh": verify,
        "tests/secret.txt": "expected-answer-4711\n",
        "solution/solve.sh": "echo expected-answer-4711\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
