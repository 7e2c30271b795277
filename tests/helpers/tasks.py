"""Folders of tasks, written by hand."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from openpyxl import Workbook

from skillopt.tasks.literals import Literals, literals_of
from tests.helpers.values import a_task


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


def a_book(*rows: list[object]) -> bytes:
    """A workbook of one sheet."""
    book = Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def literals_in(
    folder: Path,
    files: Mapping[str, str | bytes],
    instruction: str = "Do it.",
    name: str = "chore-1",
) -> Literals:
    """The literals of a task with the given files, by path in its folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return literals_of(replace(a_task(name, instruction), folder=folder))
