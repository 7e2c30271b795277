"""Runs the checks of one task in the verifier's sandbox and writes the reward.

Runs alone, with any Python from 3.8. The workspace is the agent's and may contain anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
WORKSPACE = Path.cwd()
LOGS = Path(os.environ.get("VERIFIER_LOGS", "/logs/verifier"))
READ_BYTES = 20000000
SHOWN = 300
ENV_CHARS = 64000
"""An environment variable has a size limit."""


def main() -> None:
    """Run all checks and write the share of those that passed."""
    given = json.loads((TESTS / "checks.json").read_text("utf-8"))
    place_graders()
    answer = content(given["answer"]) if given["answer"] else ""
    problems = []
    for check in given["checks"]:
        problem = CHECKS[check["kind"]](check, answer)
        if problem:
            problems.append(check["label"] + ": " + problem)
    total = len(given["checks"])
    passed = total - len(problems)
    reward = {"reward": passed / total, "checks": total, "checks_passed": passed}
    (LOGS / "feedback.txt").write_text("\n".join(problems), "utf-8")
    (LOGS / "reward.json").write_text(json.dumps(reward), "utf-8")


def place_graders() -> None:
    """Copy the files of the graders over what the agent left at their places."""
    source = TESTS / "files"
    if not source.is_dir():
        return
    for entry in source.iterdir():
        target = WORKSPACE / entry.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(str(target))
        elif target.exists() or target.is_symlink():
            target.unlink()
        if entry.is_dir():
            shutil.copytree(str(entry), str(target))
        else:
            shutil.copyfile(str(entry), str(target))


def content(path: str) -> str | None:
    """The text of a file of the workspace; None if there is none that can be read."""
    try:
        with (WORKSPACE / path).open("rb") as file:
            return file.read(READ_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def check_file(check: dict[str, Any], answer: str | None) -> str:
    """Whether a path is there."""
    if check["anywhere"]:
        there = any(True for _ in WORKSPACE.rglob(check["path"]))
    else:
        there = (WORKSPACE / check["path"]).exists()
    if there == check["wanted"]:
        return ""
    return str(check["path"]) + (" exists" if there else " does not exist")


def check_text(check: dict[str, Any], answer: str | None) -> str:
    """Whether a text occurs."""
    text = content(check["path"]) if check["path"] else answer
    where = check["path"] or "the answer"
    if text is None:
        return where + " is not there"
    there = any(wanted.lower() in text.lower() for wanted in check["texts"])
    if there == check["wanted"]:
        return ""
    shown = " or ".join(repr(wanted) for wanted in check["texts"])
    return where + (" contains " if there else " does not contain ") + shown


def check_same(check: dict[str, Any], answer: str | None) -> str:
    """Whether a file is unchanged."""
    try:
        found = hashlib.sha256((WORKSPACE / check["path"]).read_bytes()).hexdigest()
    except OSError:
        return f"{check['path']} is not there"
    return "" if found == check["sha256"] else f"{check['path']} has changed"


def check_json(check: dict[str, Any], answer: str | None) -> str:
    """Whether JSON has a value at a place."""
    text = content(check["path"]) if check["path"] else answer
    where = check["path"] or "the answer"
    if text is None:
        return where + " is not there"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return where + " is not JSON"
    for key in check["keys"]:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.lstrip("-").isdigit():
            if not -len(value) <= int(key) < len(value):
                return missing(check, where, key)
            value = value[int(key)]
        else:
            return missing(check, where, key)
    if not check["wanted"]:
        return where + " has " + ".".join(check["keys"])
    if check["equals"] is not None and not equal(value, check["equals"]):
        return f"{where} has {value!r:.200} there and not {check['equals']!r:.200}"
    return ""


def missing(check: dict[str, Any], where: str, key: str) -> str:
    """The answer of a check if its place is not there."""
    return where + " has no " + repr(key) if check["wanted"] else ""


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; unlike in Python, true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True) or (
        one == other and not isinstance(one, bool) and not isinstance(other, bool)
    )


def check_command(check: dict[str, Any], answer: str | None) -> str:
    """Whether a command ends as wanted."""
    env = dict(os.environ, CHECKS_DIR=str(TESTS), RESPONSE_TEXT=(answer or "")[:ENV_CHARS])
    env["RESPONSE_TEXT"] = env["RESPONSE_TEXT"].replace("\0", "")
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", check["command"]], cwd=str(WORKSPACE), env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=check["timeout_s"],
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"took more than {check['timeout_s']} s"
    if done.returncode == check["code"]:
        return ""
    said = " ".join(done.stdout.decode("utf-8", "replace").split())[-SHOWN:]
    return f"exit code {done.returncode}{': ' + said if said else ''}"


CHECKS = {
    "file": check_file,
    "text": check_text,
    "same": check_same,
    "json": check_json,
    "command": check_command,
}

if __name__ == "__main__":
    main()
