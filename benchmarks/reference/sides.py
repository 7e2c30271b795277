"""The two implementations: how each is configured, started and read, with equal settings.

What they leave on disk becomes an :class:`Outcome`; how they are run and compared is
:mod:`benchmarks.reference.run`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from benchmarks.reference.server import OPTIMIZER, TARGET

VERSION = "0.2.0"
SKILL = "# Answering questions\n\n- Answer from the passages of the context.\n"
_ENV = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@dataclass(frozen=True)
class Settings:
    """What is the same on both sides."""

    epochs: int = 2
    batch: int = 10
    minibatch: int = 5
    seed: int = 42
    workers: int = 4
    slow: bool = True
    """Slow update and meta skill."""
    slow_tasks: int = 20


@dataclass(frozen=True)
class Scores:
    """Exact match of the initial and the best skill; None where a run did not get that far."""

    selection_initial: float | None = None
    selection_best: float | None = None
    test_initial: float | None = None
    test_best: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Args:
        scores: of its skills.
        actions: the gate's decision in each step.
        skills: SHA-256 of its skills by file name.
        unanswered: rollouts in its records that the model service failed, and not the target.
    """

    scores: Scores
    actions: list[str]
    skills: dict[str, str]
    unanswered: int


class Side(Protocol):
    """One implementation. ``prepare`` is called once for each run, before its first start."""

    @property
    def name(self) -> str: ...

    @property
    def arms(self) -> int:
        """Skills that are scored on the test split at the end."""

    def prepare(self, folder: Path, url: str, settings: Settings) -> list[str]:
        """Write the config of a run; returns the command that starts it."""

    def env(self) -> dict[str, str]:
        """Added to the command's environment."""

    def outcome(self, folder: Path) -> Outcome:
        """Read what a run left."""


@dataclass(frozen=True)
class Reference:
    """Microsoft's implementation, by its own command ``skillopt-train``.

    Args:
        python: of the environment that it is installed in.
        data: folder with the split folders.
    """

    python: Path
    data: Path
    name: str = "reference"
    arms: int = 2

    def prepare(self, folder: Path, url: str, settings: Settings) -> list[str]:
        (folder / "skill.md").write_text(SKILL, encoding="utf-8")
        config: dict[str, Any] = {
            "model": {
                "backend": "azure_openai",
                "optimizer_backend": "openai_chat",
                "target_backend": "openai_chat",
                "azure_openai_endpoint": f"{url}/v1",
                "azure_openai_auth_mode": "openai_compatible",
                "azure_openai_api_key": "none",
                "optimizer": OPTIMIZER,
                "target": TARGET,
            },
            "train": {
                "num_epochs": settings.epochs,
                "batch_size": settings.batch,
                "accumulation": 1,
                "seed": settings.seed,
            },
            "gradient": {
                "minibatch_size": settings.minibatch,
                "merge_batch_size": 8,
                "analyst_workers": settings.workers,
            },
            "optimizer": {
                "learning_rate": 4,
                "min_learning_rate": 2,
                "lr_scheduler": "cosine",
                "use_slow_update": settings.slow,
                "slow_update_samples": settings.slow_tasks,
                "use_meta_skill": settings.slow,
            },
            "evaluation": {
                "use_gate": True,
                "gate_metric": "hard",
                "sel_env_num": 0,
                "test_env_num": 0,
                "eval_test": True,
            },
            "env": {
                "name": "searchqa",
                "skill_init": str(folder / "skill.md"),
                "split_mode": "split_dir",
                "split_dir": str(self.data),
                "workers": settings.workers,
                "out_root": str(folder / "run"),
            },
        }
        _write_yaml(folder / "config.yaml", config)
        command = self.python.parent / "skillopt-train"
        return [str(command), "--config", str(folder / "config.yaml")]

    def env(self) -> dict[str, str]:
        # Its package has the name of ours, which must not be found in its place.
        return {**_ENV, "PYTHONPATH": "", "PYTHONUNBUFFERED": "1"}

    def outcome(self, folder: Path) -> Outcome:
        run = folder / "run"
        summary = _read_json(run / "summary.json", {})
        scores = Scores(
            summary.get("baseline_selection_hard"),
            summary.get("best_selection_hard"),
            summary.get("baseline_test_hard"),
            summary.get("test_hard"),
        )
        history = _read_json(run / "history.json", [])
        rows = [row for file in run.rglob("results.jsonl") for row in _rows(file)]
        unanswered = sum(row.get("agent_ok") is False for row in rows)
        return Outcome(scores, [row["action"] for row in history], _digests(run), unanswered)


@dataclass(frozen=True)
class Ours:
    """This project: ``skillopt train``, direct chat, with a shell in a local process if the tasks
    are no questions.

    Args:
        tasks: folder of Harbor tasks with the split folders.
        verifier: import path of the verifier; by default the tasks' own tests.
    """

    tasks: Path
    name: str = "ours"
    verifier: str | None = None
    arms: int = 3
    """Also without a skill."""

    def prepare(self, folder: Path, url: str, settings: Settings) -> list[str]:
        skill = folder / "searchqa"
        skill.mkdir()
        front = "---\nname: searchqa\ndescription: How questions are answered here.\n---\n\n"
        (skill / "SKILL.md").write_text(front + SKILL, encoding="utf-8")
        train = {
            "epochs": settings.epochs,
            "batch_size": settings.batch,
            "minibatch": settings.minibatch,
            "learning_rate": {"start": 4, "end": 2, "schedule": "cosine"},
            "slow_update": settings.slow,
            "slow_tasks": settings.slow_tasks,
            "meta_skill": settings.slow,
        }
        model = {"upstream": "scripted", "name": TARGET}
        config = {
            "name": "run",
            "seed": settings.seed,
            "workers": settings.workers,
            "runs": str(folder / "runs"),
            "tasks": {"source": str(self.tasks)},
            "skill": {"init": str(skill)},
            "harness": {"name": "direct"},
            "sandbox": {"kind": "local"},
            "target": model,
            "optimizer": {**model, "name": OPTIMIZER},
            "upstreams": {"scripted": {"kind": "openai-compatible", "base_url": url}},
            "train": train,
            "gate": {"kind": "strict", "metric": "hard"},
            "verifier": self.verifier,
        }
        file = folder / "config.yaml"
        _write_yaml(file, config)
        return [sys.executable, "-m", "skillopt", "train", str(file)]

    def env(self) -> dict[str, str]:
        return dict(_ENV)

    def outcome(self, folder: Path) -> Outcome:
        run = folder / "runs" / "run"
        summary = _read_json(run / "summary.json", {})
        test = summary.get("test", {})
        history = _read_json(run / "history.json", [])
        scores = Scores(
            summary.get("initial_score"),
            summary.get("best_score"),
            test.get("initial", {}).get("hard", {}).get("value"),
            test.get("best", {}).get("hard", {}).get("value"),
        )
        files = [run.glob(f"steps/*/{name}.json") for name in ("rollouts", "selection")]
        rows = [row for found in files for file in found for row in _read_json(file, [])]
        unanswered = sum(row["status"] == "infra_error" for row in rows)
        return Outcome(scores, [row["action"] for row in history], _digests(run), unanswered)


def install_reference(folder: Path) -> Path:
    """A virtual environment with the reference in it; an existing one is taken as it is.

    Returns:
        Its Python.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"skillopt=={VERSION}"], check=True)
    return python


def _digests(run: Path) -> dict[str, str]:
    """SHA-256 of the best skill and of the skill after each step, by file name."""
    files = [run / "best_skill.md", *sorted((run / "skills").glob("*.md"))]
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


def _read_json(file: Path, default: Any) -> Any:
    """A JSON file's value; the default where there is none, or half of one."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return default


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file, without those that a kill cut off."""
    rows = []
    for line in file.read_text("utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def _write_yaml(file: Path, config: Mapping[str, Any]) -> None:
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
