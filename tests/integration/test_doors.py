"""Every kind of task file, in a real agent with the simulated model: up to a first rollout, one of
them (all in ``make test-all``) through a whole training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status
from skillopt import evaluate, train
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.skill import read_skill
from tests.helpers.cells import ALL_CELLS, cells
from tests.tasks.rows import write

pytestmark = pytest.mark.engine
FILES = Path(__file__).parents[1] / "tasks" / "evals" / "files"
ROWS = [{"question": f"{n} and {n}?", "answer": n + n} for n in range(6)]
CODE = [{"prompt": f"f(x) gives x + {n}.", "test": f"assert f(1) == {1 + n}"} for n in range(3)]
DOORS: dict[str, dict[str, Any]] = {
    "skill-creator": {"source": "lots/evals/evals.json"},
    "caliper": {"source": FILES / "caliper" / "inbox-triage.eval.yaml"},
    "agent-skill-eval": {"source": FILES / "agent_skill_eval"},
    "skillevaluation": {
        "source": FILES / "skillevaluation" / "commit-conventions" / "eval.yaml",
        "options": {"unjudged": "leave_out"},
    },
    "rows": {"source": "rows.jsonl", "options": {"scorer": "numeric"}},
    "programs": {"source": "code.jsonl", "options": {"scorer": "program"}},
}
TRAINED = "skillevaluation"


def config_of(door: str, harness: str, folder: Path) -> Config:
    write(folder / "rows.jsonl", ROWS)
    write(folder / "code.jsonl", CODE)
    shutil.copytree(FILES / "skill_creator" / "lots", folder / "lots")
    file = folder / "lots" / "evals" / "evals.json"
    lots = json.loads(file.read_text())
    lots["evals"] += [{**one, "id": one["id"] + 1} for one in lots["evals"]]  # It has a single one.
    file.write_text(json.dumps(lots))
    tasks = DOORS[door]
    (folder / "helper").mkdir()
    (folder / "helper" / "SKILL.md").write_text(
        "---\nname: helper\ndescription: Use it for every request.\n---\n# Helper\n\n- Be exact.\n"
    )
    settings = {
        "name": "door",
        "runs": str(folder / "runs"),
        "tasks": {
            "source": str(folder / tasks["source"]), "split": [1, 1, 0],
            "options": tasks.get("options", {"unjudged": "leave_out", "triggers": "leave_out"}),
            "duplicates": "allow",
        },
        "skill": {"init": str(folder / "helper")},
        "harness": {"name": harness},
        "target": {"upstream": "sim", "name": "sim-1"},
        "optimizer": {"upstream": "sim", "name": "sim-1"},
        "judge": {"upstream": "sim", "name": "sim-1"},
        "upstreams": {"sim": {"kind": "sim"}},
        "train": {"epochs": 1, "batch_size": 1},
        "gate": {"kind": "strict"},
        "final": {"arms": []},
    }  # fmt: skip
    (folder / "c.yaml").write_text(json.dumps(settings))
    return load_config(folder / "c.yaml", Config)


@pytest.mark.parametrize(("door", "harness"), cells([*DOORS], ["codex", "claude-code"]))
def test_a_door_leads_to_scores(door: str, harness: str, tmp_path: Path) -> None:
    config = config_of(door, harness, tmp_path)
    if door == TRAINED or ALL_CELLS:
        assert train(config).done
    (row,) = evaluate(config, {"helper": read_skill(tmp_path / "helper")}, split="val")
    assert row.rollouts and all(r.status is Status.COMPLETED for r in row.rollouts)
    assert all(0 <= r.reward.soft <= 1 for r in row.rollouts)
