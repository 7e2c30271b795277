"""A training that takes half a second: three tasks a split, an agent of the user's own that writes
one file, a verifier that looks at it, and an optimizer's stage that adds one rule.

Only public names are used, so that the same tests show what an older state of the project does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from skillopt.cli import main

ROOT = Path(__file__).parents[2]
OWN = '''\
from harnesses.base import Outcome, Status, Usage
from skillopt.optimizer.model import StageResult

try:
    from skillopt.core.types import Edit, Patch, Reward
except ImportError:
    from skillopt.types import Edit, Patch, Reward


class Writer:
    """An agent that writes down what its skill says."""

    name = "writer"

    def version(self):
        return "1"

    def run(self, request, site):
        said = (request.skill / "SKILL.md").read_text() if request.skill else ""
        if request.workspace:
            (request.workspace / "said.txt").write_text(said)
        return Outcome(Status.COMPLETED, "", "said", None, Usage(), True, "1", 0.0)


def reflect(rollouts, briefing, *, minibatch, batch=""):
    """One rule more, as long as there are fewer than three."""
    rule = f"- rule {briefing.skill.body.count('- rule')}"
    edits = (Edit("append", "", rule),) if rule != "- rule 3" else ()
    return StageResult((Patch(edits, "", "failure"),))


def judge(task, workspace, answer):
    """As the tests of the tasks, without starting a shell."""
    said = (workspace / "said.txt").read_text()
    return Reward(float(f"- rule {task.name[-1]}" in said))
'''
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""Much faster where PyYAML was built with libyaml; the same text."""
SKILL = "---\nname: my-skill\ndescription: Use it.\n---\n\n# Rules\n"
TASK = 'schema_version = "1.4"\n[environment]\nmemory_mb = 64\nstorage_mb = 64\n'
SOLVED = 'echo 1 > "$VERIFIER_LOGS/reward.txt"\n'
BROKEN = "echo no such module: numpy >&2; exit 3\n"


def wants(rule: int) -> str:
    """Tests that are passed by a skill that has a rule of that number."""
    return f'grep -q "^- rule {rule}" said.txt; echo $((! $?)) > "$VERIFIER_LOGS/reward.txt"\n'


@dataclass
class Tiny:
    """A folder with tasks, a skill, a config, and a module ``own`` of the user's.

    Attributes:
        folder: the current one; it is on the path of modules, also for processes.
        settings: of the config, as :meth:`write` writes it.
    """

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "tiny.yaml"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / self.settings["name"]

    @property
    def store(self) -> Path:
        return self.folder / "runs" / "store"

    def begin(self) -> None:
        for split in ("train", "val", "test"):
            for number in range(3):
                self.task(split, f"{split}-{number}", wants(number))
        self.put("my-skill/SKILL.md", SKILL)
        self.own()
        self.settings = {
            "name": "tiny",
            "workers": 2,
            "tasks": {"source": "tasks"},
            "skill": {"init": "my-skill"},
            "harness": {"name": "own:Writer"},
            "sandbox": {"kind": "local"},
            "target": {"upstream": "sim", "name": "sim-1"},
            "optimizer": {"upstream": "sim", "name": "sim-1"},
            "upstreams": {"sim": {"kind": "sim"}},
            "train": {
                "epochs": 2,
                "batch_size": 3,
                "slow_update": False,
                "meta_skill": False,
                "stages": {"reflect": "own:reflect"},
            },
            "verifier": "own:judge",
            "rollout_tries": 1,
            "patience": {"total": 2},
        }
        self.write()

    def put(self, name: str, content: str | bytes) -> Path:
        """Write a file below the folder."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def task(self, split: str, name: str, test: str) -> Path:
        """Write a task; ``test`` is its test.sh."""
        at = f"tasks/{split}/{name}"
        self.put(f"{at}/task.toml", TASK)
        self.put(f"{at}/instruction.md", f"Do {name}.\n")
        self.put(f"{at}/environment/Dockerfile", "FROM skillopt/agent-base:1\nWORKDIR /app\n")
        return self.put(f"{at}/tests/test.sh", test)

    def own(self, code: str = "") -> None:
        """Write the user's module, with more at its end."""
        self.put("own.py", f"{OWN}\n\n{code}")
        sys.modules.pop("own", None)

    def write(self, **settings: Any) -> Path:
        """Write the config; keys may be dotted, as ``train__epochs``."""
        for dotted, value in settings.items():
            *sections, key = dotted.split("__")
            at = self.settings
            for section in sections:
                at = at.setdefault(section, {})
            at[key] = value
        return self.put("tiny.yaml", yaml.dump(self.settings, Dumper=DUMPER, sort_keys=False))

    def train(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        return command("train", self.config, *argv)

    def events(self, kind: str, run: Path | None = None) -> list[dict[str, Any]]:
        """The records of a kind in a run's event log."""
        log = ((run or self.run) / "events.jsonl").read_text().splitlines()
        return [record for line in log if (record := json.loads(line))["kind"] == kind]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "summary.json").read_text())
        return found


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiny]:
    """A training in a folder of its own, which is the current one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # A module may change within a second.
    made = Tiny(folder)
    made.begin()
    yield made
    sys.modules.pop("own", None)


def command(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """``skillopt …`` in this process: what it prints and its exit code, as a process has them."""
    words = list(map(str, argv))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        done = CliRunner().invoke(main, words, prog_name="skillopt")
    finally:
        signal.signal(signal.SIGTERM, handler)
    stderr = done.stderr
    if done.exc_info and not isinstance(done.exception, SystemExit | None):
        stderr += "".join(traceback.format_exception(*done.exc_info))
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, stderr)


def program(*argv: str | Path, before: list[str] | None = None) -> subprocess.Popen[str]:
    """The same as a process of its own, which takes a second to start.

    Args:
        argv: of ``skillopt``.
        before: a command that starts it.
    """
    words = [*(before or []), sys.executable, "-m", "skillopt", *map(str, argv)]
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refused(done: subprocess.CompletedProcess[str], *parts: str, code: int = 2) -> None:
    """Check that a command was refused with a message, and not with a traceback."""
    shown = f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, shown
    assert done.returncode == code, shown
    for part in parts:
        assert part in done.stderr, f"{part!r} is not in:\n{shown}"


def refused_as_json(done: subprocess.CompletedProcess[str], code: int = 2) -> Mapping[str, Any]:
    """Check that it was refused, with the error as JSON where the result would have been."""
    refused(done, code=code)
    found: Mapping[str, Any] = json.loads(done.stdout)["error"]
    assert found["exit_code"] == code and found["message"] in done.stderr
    return found
