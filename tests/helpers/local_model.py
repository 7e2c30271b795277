"""What training SmolLM2 by itself must have come to.

Thresholds, not scores: another processor may round otherwise.
"""

from __future__ import annotations

from pathlib import Path

from skillopt.cli.local_demo import train_and_compare
from skillopt.config.inputs import read_config


def has_learnt(folder: Path) -> None:
    """Look at what ``skillopt demo --local-model`` has left in a folder; `test_docs` has run it."""
    config = read_config("quickstart/smollm2", {"runs": str(folder / "runs")})
    stored = set((folder / "runs" / "store").rglob("result.json"))
    result, rows = train_and_compare(config)  # It takes all that it needs from there.
    assert set((folder / "runs" / "store").rglob("result.json")) == stored
    assert [row.skill for row in rows][::3] == ["none", "trained"]
    none, hand, random, trained = (row.score for row in rows)
    assert trained.value >= none.value + 0.4 and trained.value >= hand.value + 0.4
    assert trained.low > none.high
    # The control does about as well: what this shows is the loop, not a clever optimizer.
    assert random.value >= none.value + 0.2
    actions = [row.get("action") for row in result.history]
    assert "accept" in actions and "reject" in actions
    # All of it came from the model: every edit stands in a recorded reply.
    added = result.best.body.removeprefix(result.initial.body).strip().split("\n\n")
    said = "".join(path.read_text() for path in result.folder.rglob("wire.jsonl"))
    assert added and all(part.split("\n")[0].removeprefix("Input: ") in said for part in added)
    assert len(stored) > 200
