"""Runs a project's tests on the agent's work, in the verifier's sandbox, and writes the reward.

The tests, and the files that decide how they run, are put back as the commit has them. They run as
another user. Runs alone, with any Python from 3.8.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

TESTS = Path(__file__).resolve().parent
WORKSPACE = Path.cwd()
LOGS = Path(os.environ.get("VERIFIER_LOGS", "/logs/verifier"))
KEPT = ("PATH", "UNTRUSTED_FOLDER", "LANG")
OUTPUT_MB = 64
SHOWN = 2000
KILLED = (-9, 137)
"""Exit codes of what timeout, or a limit on memory, has killed."""


def main() -> None:
    """Run the tests; the reward is 1 if all that must pass do."""
    given = json.loads((TESTS / "tests.json").read_text("utf-8"))
    settle(given["settings"])
    found, said = run(given)
    wanted = given["fail_to_pass"] + given["pass_to_pass"]
    if not wanted:  # Asked only how each test ends.
        write(0.0, {name: float(passed) for name, passed in found.items()}, said)
        return
    bad = [name for name in wanted if not found.get(name)]
    fixed = [name for name in given["fail_to_pass"] if found.get(name)]
    lines = [("failed: " if name in found else "did not run: ") + name for name in bad[:20]]
    if len(bad) > len(lines):
        lines.append("and " + str(len(bad) - len(lines)) + " more")
    if bad:
        lines.append(said[-SHOWN:])
    counts = {"tests": len(wanted), "tests_passed": len(wanted) - len(bad), "fixed": len(fixed)}
    write(float(not bad), counts, "\n".join(lines))


def write(reward: float, metrics: dict[str, Any], said: str) -> None:
    """Write the verdict."""
    (LOGS / "feedback.txt").write_text(said, "utf-8")
    (LOGS / "reward.json").write_text(json.dumps(dict(metrics, reward=reward)), "utf-8")


def settle(settings: str) -> None:
    """Put the tests back, and remove files of the agent's that would decide how they run."""
    source, pattern = TESTS / "files", re.compile(settings)
    for folder, _, names in os.walk(str(WORKSPACE)):
        for name in names:
            path = Path(folder) / name
            if pattern.fullmatch(name) and not (source / path.relative_to(WORKSPACE)).exists():
                path.unlink()
    for folder, _, names in os.walk(str(source)):
        for name in names:
            path = Path(folder) / name
            target = WORKSPACE / path.relative_to(source)
            make_folder(target.parent)
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(str(target))
            elif target.exists() or target.is_symlink():
                target.unlink()
            shutil.copy(str(path), str(target))


def make_folder(folder: Path) -> None:
    """Make a folder below the workspace, whatever the agent left at its place or above it."""
    for part in [*reversed(folder.relative_to(WORKSPACE).parents), folder.relative_to(WORKSPACE)]:
        place = WORKSPACE / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(exist_ok=True)


def run(given: dict[str, Any]) -> tuple[dict[str, bool], str]:
    """Run the tests; how each ended by name, and the end of what they printed."""
    folder = Path(tempfile.mkdtemp())
    report, project = folder / "report", folder / "project"
    shutil.copytree(str(WORKSPACE), str(project), symlinks=True)
    subprocess.check_call(["chmod", "-R", "a+rwX", str(folder)])  # Tests may write beside them.

    def placed(text: str) -> str:
        return text.replace("{report}", str(report)).replace("{project}", str(project))

    argv = [placed(part) for part in given["command"]]
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    told = dict(given["env"], HOME=str(folder))  # Another user's programs get no variables of ours.
    limited = ["timeout", "-s", "KILL", str(given["timeout_s"]), "env"]
    limited += [name + "=" + placed(value) for name, value in told.items()]
    limited += ["bash", "-c", f'ulimit -f {OUTPUT_MB * 1024}; exec "$@"', "-", *argv]
    argv = [os.environ.get("UNTRUSTED", "env"), *limited]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = subprocess.call(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=str(project)
        )
        texts = [text_of(file) for file in (out, err)]
    try:
        with report.open("rb") as opened:
            texts.append(text_of(opened))
    except OSError:
        texts.append("")
    shutil.rmtree(str(folder), ignore_errors=True)
    found = READERS[given["report"]](texts[0], texts[2], code)
    texts[2] = f"killed, as after {given['timeout_s']} s" if code in KILLED else ""
    return found, "\n".join(text.strip()[-SHOWN:] for text in texts).strip()


def text_of(file: Any) -> str:
    """The text of an output, up to its largest size."""
    file.seek(0)
    return str(file.read(OUTPUT_MB << 20).decode("utf-8", "replace"))


def junit(out: str, report: str, code: int) -> dict[str, bool]:
    """JUnit's XML, as pytest writes it."""
    if "<!DOCTYPE" in report:  # Entities can grow without bounds.
        return {}
    try:
        root = ElementTree.fromstring(report)
    except ElementTree.ParseError:
        return {}
    found = {}
    for case in root.iter("testcase"):
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        parts = {child.tag for child in case}
        if "skipped" not in parts:
            found[name] = not parts & {"failure", "error"}
    return found


def jest(out: str, report: str, code: int) -> dict[str, bool]:
    """The JSON of jest and vitest."""
    found = {}
    for file in loaded(report).get("testResults", []):
        for case in file.get("assertionResults", []):
            if case.get("status") in ("passed", "failed"):
                found[case.get("fullName", "")] = case["status"] == "passed"
    return found


def mocha(out: str, report: str, code: int) -> dict[str, bool]:
    """The JSON that mocha prints."""
    said = loaded(out[out.find("{") :])
    found = {case.get("fullTitle", ""): True for case in said.get("passes", [])}
    return {**found, **{case.get("fullTitle", ""): False for case in said.get("failures", [])}}


def loaded(text: str) -> dict[str, Any]:
    """An object in JSON; an empty one if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def tap(out: str, report: str, code: int) -> dict[str, bool]:
    """Node's TAP: names of subtests after those around them."""
    found, above = {}, list[str]()
    for line in out.splitlines():
        match = re.match(r"( *)# Subtest: (.*)", line)
        if match:
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
        match = re.match(r"( *)(not )?ok \d+ - (.*?)(?: # (SKIP|TODO).*)?$", line)
        if match and not match[4]:
            name = " > ".join([*above[: len(match[1]) // 4], match[3]])
            if not name.endswith((".js", ".mjs", ".cjs", ".ts")):  # A file is no test.
                found[name] = not match[2]
    return found


def go(out: str, report: str, code: int) -> dict[str, bool]:
    """The events of 'go test -json'."""
    found = {}
    for line in out.splitlines():
        event = loaded(line)
        if event.get("Test") and event.get("Action") in ("pass", "fail"):
            found[event.get("Package", "") + "." + event["Test"]] = event["Action"] == "pass"
    return found


def cargo(out: str, report: str, code: int) -> dict[str, bool]:
    """What cargo's test programs print."""
    return {
        match[1]: match[2] == "ok"
        for match in re.finditer(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED)$", out, re.M)
    }


def exit_code(out: str, report: str, code: int) -> dict[str, bool]:
    """All tests together: whether the command ended with 0."""
    return {"all tests": code == 0}


READERS = {
    "junit": junit, "jest": jest, "mocha": mocha, "tap": tap, "go": go, "cargo": cargo,
    "code": exit_code,
}  # fmt: skip

if __name__ == "__main__":
    main()
