"""The fenced blocks of README, CONTRIBUTING and docs/, and how each kind is run: see test_docs.

A block with ``title="…"`` is a file of that name, or part of one of the project's; others are
run, or read as what they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from skillopt.config.loading import load_config
from skillopt.config.schema import Config

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r'^( *)```(\w*)(?: title="([^"]+)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
PREAMBLE = """\
set -euo pipefail
exec < <(yes)
told() {
    local said=$1 log; log=$(mktemp); shift
    "$@" > "$log" 2>&1 &
    for _ in $(seq 600); do grep -q "$said" "$log" && break; sleep 0.1; done
    kill -TERM $!
    wait $! || [ $? = 130 ]
    cat "$log"
}
"""
"""``told TEXT COMMAND``: a command that goes on until it is interrupted, here once it says so."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line} ({self.language})"


@dataclass(frozen=True)
class Substitution:
    """What stands in a document for what only its reader has, and what is put in its place."""

    document: str
    text: str
    by: str
    why: str


def documents() -> list[str]:
    """All documents, by their path in the project."""
    docs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *docs]


def blocks(document: str) -> Iterator[Block]:
    """The blocks of one document, in order; their indentation is taken away."""
    text = (ROOT / document).read_text("utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        body = textwrap.dedent(found[4])
        yield Block(document, line, found[2], found[3] or "", body)


def run(block: Block, text: str, folder: Path, env: dict[str, str]) -> None:
    """Run a block in a folder.

    Args:
        block: for its kind and, in messages, its place.
        text: of it, after substitutions.
        folder: what earlier blocks of the document have left is in it.
        env: of its commands.
    """
    if (ROOT / block.title).is_file():
        whole = _flush((ROOT / block.title).read_text("utf-8"))
        assert _flush(block.text) in whole, f"{block}: is no part of {block.title}"
    elif block.title:
        _write(block, text, folder / block.title)
    else:
        KINDS[block.language](block, text, folder, env)


def _flush(text: str) -> str:
    """Without what lines begin with."""
    return "\n".join(line.strip() for line in text.split("\n"))


def _write(block: Block, text: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    if block.language == "yaml":
        # As it stands in the document, then as it is used here.
        file.with_suffix(".original.yaml").write_text(block.text)
        for written in (file.with_suffix(".original.yaml"), file):
            name = load_config(written, Config).name
        if "name" in yaml.safe_load(text):  # It is another run than the one of that name before.
            shutil.rmtree(file.parent / "runs" / name, ignore_errors=True)
    elif block.language == "python":
        compile(text, str(file), "exec")


def _console(block: Block, text: str, folder: Path, env: dict[str, str]) -> None:
    lines = text.splitlines()
    assert lines[0].startswith("$ "), f"{block}: begins with a command, '$ …'"
    shown = [line for line in lines if not line.startswith(("$ ", "> ")) and line.strip()]
    script = "\n".join(line[2:] for line in lines if line.startswith(("$ ", "> ")))
    said = _call(block, ["bash", "-c", PREAMBLE + script], folder, env)
    at = 0
    for line in shown:
        # Words with any space between them; an ellipsis is whatever stands there in the line.
        words = [re.escape(part.strip()).replace(r"\ ", r"\s+") for part in line.split("…")]
        found = re.compile(r"[^\n]*?".join(words)).search(said, at)
        assert found, f"{block}: {line!r} is not in what is said:\n{said}"
        at = found.end()


def _bash(block: Block, text: str, folder: Path, env: dict[str, str]) -> None:
    _call(block, ["bash", "-c", PREAMBLE + text], folder, env)


def _python(block: Block, text: str, folder: Path, env: dict[str, str]) -> None:
    _call(block, [sys.executable, "-c", text], folder, env)


def _call(block: Block, argv: list[str], folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{block}: exit code {done.returncode}:\n{said}"
    return said


def _yaml(block: Block, text: str, folder: Path, env: dict[str, str]) -> None:
    """Part of a config; lines that give the same key are alternatives."""
    lines = text.splitlines()
    keys = [line.partition(":")[0] for line in lines if re.match(r"\w", line)]
    for part in lines if len(set(keys)) < len(keys) else [text]:
        assert isinstance(yaml.safe_load(part), dict), f"{block}: no keys"
        (folder / "part.yaml").write_text(f"base: my-skill.yaml\n{part}\n")
        load_config(folder / "part.yaml", Config)


KINDS: dict[str, Callable[[Block, str, Path, dict[str, str]], None]] = {
    "console": _console, "bash": _bash, "python": _python, "yaml": _yaml,
}  # fmt: skip
FILES = ("toml", "markdown", "dockerfile", "json", "text", *KINDS)
"""What a block with a title may be written in. Without one, ``text`` is for people alone."""
